//! Messages of this node's own protocols: protobuf after a length, in frames that are bounded before
//! anything is allocated for them.
//!
//! Protobuf, because every libp2p implementation brings it. The messages stand in `docs/protocols.md` of
//! this crate for others to implement.
//!
//! Not here: what the messages ask for.

use std::io;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Asks a peer to register, look up or withdraw.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(oneof = "Ask", tags = "1, 2, 3")]
    pub(crate) ask: Option<Ask>,
}

/// What is asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Ask {
    #[prost(message, tag = "1")]
    Register(Register),
    #[prost(message, tag = "2")]
    Lookup(Lookup),
    #[prost(message, tag = "3")]
    Withdraw(Withdraw),
}

/// Keep this record under this key until it ends.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Register {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) record: Bytes,
}

/// Which records are under this key, and who is closer to it?
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lookup {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(uint32, tag = "2")]
    pub(crate) want: u32,
}

/// Forget what the asking peer registered under this key.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Withdraw {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
}

/// The answer to a [`Request`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reply {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4")]
    pub(crate) answer: Option<Answer>,
}

/// What is answered.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Answer {
    /// It is done.
    #[prost(message, tag = "1")]
    Done(Done),
    #[prost(message, tag = "2")]
    Found(FoundHere),
    /// Come again in so many seconds.
    #[prost(uint32, tag = "3")]
    Later(u32),
    /// No; one of [`code`].
    #[prost(uint32, tag = "4")]
    Refused(u32),
}

/// How many records were registered or withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Done {
    #[prost(uint32, tag = "1")]
    pub(crate) records: u32,
}

/// Records under a key, and peers closer to it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FoundHere {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) records: Vec<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) closer: Vec<Closer>,
}

/// A peer and where it listens.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Closer {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) peer: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) addresses: Vec<Vec<u8>>,
}

/// Asks for part of an artifact.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Part {
    /// SHA-256 of the whole.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) digest: Bytes,
    /// One of [`part`].
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    /// Which chunk, from zero.
    #[prost(uint32, tag = "3")]
    pub(crate) index: u32,
}

/// The answer to a [`Part`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartReply {
    /// One of [`code`].
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    /// Of `LATER`: in how many seconds. Of size and outline: the artifact's length.
    #[prost(uint64, tag = "2")]
    pub(crate) size: u64,
    /// The chunk, or the chunks' digests one after the other. Its tag is [`PART_REPLY_DATA`].
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: Bytes,
}

/// Codes of refusals. Their numbers are part of the protocol.
pub(crate) mod code {
    /// All is well.
    pub(crate) const OK: u32 = 0;
    /// The request or the record cannot be read, or breaks a limit.
    pub(crate) const MALFORMED: u32 = 1;
    /// The record's signature is wrong, or it is not the sender's.
    pub(crate) const FORGED: u32 = 2;
    /// The record has ended.
    pub(crate) const EXPIRED: u32 = 3;
    /// A newer record of the subject is known.
    pub(crate) const STALE: u32 = 4;
    /// The record claims what is not its publisher's.
    pub(crate) const NOT_ENTITLED: u32 = 5;
    /// The record cannot be judged now.
    pub(crate) const UNAVAILABLE: u32 = 6;
    /// There is no such thing here.
    pub(crate) const NOT_HERE: u32 = 7;
    /// Come again later.
    pub(crate) const LATER: u32 = 8;
}

/// Kinds of parts. Their numbers are part of the protocol.
pub(crate) mod part {
    /// The artifact's length.
    pub(crate) const SIZE: u32 = 0;
    /// Length and chunks' digests.
    pub(crate) const OUTLINE: u32 = 1;
    /// One chunk.
    pub(crate) const CHUNK: u32 = 2;
}

/// Writes a message and its length, and flushes.
pub(crate) async fn write<M: Message>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &M,
) -> io::Result<()> {
    stream
        .write_all(&message.encode_length_delimited_to_vec())
        .await?;
    stream.flush().await
}

/// Writes the answer to a question for a part of an artifact, as [`write()`] does; a chunk is not copied for it.
pub(crate) async fn write_part(
    stream: &mut (impl AsyncWrite + Unpin),
    mut reply: PartReply,
) -> io::Result<()> {
    let mut data = std::mem::take(&mut reply.data);
    let mut fields = reply.encode_to_vec();
    if !data.is_empty() {
        // The last field of the message.
        encode_key(PART_REPLY_DATA, WireType::LengthDelimited, &mut fields);
        encode_varint(data.len() as u64, &mut fields);
    }
    let mut first = Vec::with_capacity(FIRST_WRITE);
    encode_varint((fields.len() + data.len()) as u64, &mut first);
    first.extend_from_slice(&fields);
    // With so much of the data that it is worth sending by itself.
    let room = FIRST_WRITE.saturating_sub(first.len()).min(data.len());
    first.extend_from_slice(&data.split_to(room));
    stream.write_all(&first).await?;
    stream.write_all(&data).await?;
    stream.flush().await
}

/// Reads a message of at most `bytes_max`.
///
/// # Errors
/// `InvalidData` for a longer one, of which nothing is read or allocated, or one that is no such message.
pub(crate) async fn read<M: Message + Default>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<M> {
    let length = read_length(stream, bytes_max).await?;
    let mut frame = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let mut rest = stream.take(length as u64);
    // Grows with what arrives, so a promise of much costs nothing.
    rest.read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::decode(Bytes::from(frame)).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<usize> {
    let mut length: usize = 0;
    for shift in 0..LENGTH_BYTES_MAX {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return if length <= bytes_max {
                Ok(length)
            } else {
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the frame is too long",
                ))
            };
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the frame is too long",
    ))
}

/// How many bytes a frame's length may take: 28 bits.
const LENGTH_BYTES_MAX: u32 = 4;
/// What is allocated before a frame's bytes arrive.
const FIRST_ALLOCATION: usize = 8192;
/// As much as goes out in one piece.
const FIRST_WRITE: usize = 60 << 10;
const PART_REPLY_DATA: u32 = 3;

/// The longest [`Request`]: a record and its key.
pub(crate) const REQUEST_BYTES_MAX: usize = crate::judge::RECORD_BYTES_MAX + 256;
/// The longest [`Reply`].
pub(crate) const REPLY_BYTES_MAX: usize = 64 * 1024;
/// The longest [`Part`].
pub(crate) const PART_BYTES_MAX: usize = 128;
/// The longest [`PartReply`]: the outline of the largest artifact.
pub(crate) const PART_REPLY_BYTES_MAX: usize = crate::judge::CHUNKS_MAX * 32 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_comes_back() {
        let request = Request {
            ask: Some(Ask::Lookup(Lookup {
                key: Bytes::from_static(b"key"),
                want: 8,
            })),
        };
        let (mut near, mut far) = tokio::io::duplex(64);
        write(&mut near, &request).await.unwrap();
        assert_eq!(read::<Request>(&mut far, 64).await.unwrap(), request);
    }

    #[tokio::test]
    async fn a_part_is_written_as_any_message_is() {
        for bytes in [0, 1, FIRST_WRITE - 20, FIRST_WRITE, 3 * FIRST_WRITE] {
            let reply = PartReply {
                code: 7,
                size: 300,
                data: vec![5; bytes].into(),
            };
            let (mut part, mut usual) = (Vec::new(), Vec::new());
            write_part(&mut part, reply.clone()).await.unwrap();
            write(&mut usual, &reply).await.unwrap();
            assert!(part == usual, "{bytes}");
        }
    }

    #[tokio::test]
    async fn long_short_and_senseless_frames_are_refused() {
        for (bytes, kind) in [
            (&[0xff, 0xff, 0xff, 0x7f][..], io::ErrorKind::InvalidData),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff][..],
                io::ErrorKind::InvalidData,
            ),
            (&[65][..], io::ErrorKind::InvalidData),
            (&[4, 1, 2][..], io::ErrorKind::UnexpectedEof),
            (&[][..], io::ErrorKind::UnexpectedEof),
            (&[3, 0xff, 0xff, 0xff][..], io::ErrorKind::InvalidData),
        ] {
            let mut reader = bytes;
            let error = read::<Request>(&mut reader, 64).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_by_its_length_alone() {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&[0x80, 0x80, 0x40]).await.unwrap();
        // Nothing follows, and nothing is waited for.
        assert!(read::<Request>(&mut far, REQUEST_BYTES_MAX).await.is_err());
    }
}
