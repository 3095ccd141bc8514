//! What a host and its cells say to each other: frames on a stream socket.
//!
//! A frame is the length of its header and of its payload (four bytes each, little-endian), the header in
//! postcard, and the payload: arguments, a result, tensors one after another.
//!
//! A cell may be in a stranger's hands. Whatever it sends, a reader here returns an error: both lengths
//! have limits, and memory grows with the bytes that arrive, not with those that are announced.
//!
//! Non-goals: versions. Both ends are one program.

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroize as _;

use super::values::{Answer, Failure, Want};
use crate::meters::{Limit, ServiceMeters};
use crate::service::Usage;
use crate::spec::{Limits, ServiceSpec};

/// From the host to a cell.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToCell {
    /// The first: what to be. The compiled component follows; none to try confinement out.
    Setup(Box<Setup>),
    /// A call. Its arguments follow.
    Call(Call),
    /// The next item of a call that streams.
    Next {
        /// Which.
        call: u64,
    },
    /// Nobody waits for a call any more.
    Cancel {
        /// Which.
        call: u64,
    },
    /// What a call asked for. Its bytes follow.
    Answer {
        /// To which [`ToHost::Want`].
        request: u64,
        /// What came of it.
        answer: Answer,
    },
}

/// What a cell is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Setup {
    /// The host's process.
    pub(super) host: u32,
    pub(super) spec: ServiceSpec,
    /// The sha256 of the component.
    pub(super) component: [u8; 32],
    pub(super) limits_max: Limits,
    /// Calls at a time.
    pub(super) calls_max: u32,
    /// The guests' clock, in microseconds.
    pub(super) tick_us: u64,
    /// Memory that can be written on top of what the process starts with, in bytes.
    pub(super) memory_bytes: u64,
    /// Whether it only says what it can give up.
    pub(super) trial: bool,
    /// What tensor operations may take.
    pub(super) computer: ComputerSetup,
}

/// The processor as a device for tensor operations in a cell.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ComputerSetup {
    /// Threads of a run; 0 if the host's operations do not run on the processor.
    pub threads: usize,
    /// Bytes that all tensors of a cell may take.
    pub memory_bytes_max: u64,
}

/// A call, for a cell.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) call: u64,
    pub(super) call_id: String,
    /// Tells payers apart, and not who they are; 0 for nobody.
    pub(super) payer: u64,
    pub(super) method: String,
    /// How its arguments are to be read.
    pub(super) form: Form,
    /// What is left of its time, in microseconds.
    pub(super) left_us: u64,
    /// Whether its answer comes item by item.
    pub(super) streams: bool,
    /// What it may spend on other services.
    pub(super) budget: u128,
}

/// How a call's arguments arrived.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Form {
    /// An object of parameters.
    Json,
    /// The bytes of the only byte list.
    Raw,
    /// Parts by name, with the length of each.
    Parts(Vec<(String, u32)>),
}

/// From a cell to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// Calls may come.
    Ready {
        /// What the process gave up.
        confined: Vec<String>,
    },
    /// It cannot be what it should; the last word.
    Unable {
        /// Why.
        reason: String,
    },
    /// A call's result. Its JSON follows.
    Done {
        /// Which.
        call: u64,
        /// What it used, if the cell is to be believed.
        usage: Usage,
        /// The same for the operator.
        spent: Spent,
    },
    /// A call has returned its stream.
    Opened {
        /// Which.
        call: u64,
        /// What it used so far.
        usage: Usage,
    },
    /// A stream's next item. Its JSON follows.
    Item {
        /// Whose.
        call: u64,
        /// What the call used so far.
        usage: Usage,
    },
    /// A call failed. A refusal's JSON follows.
    Failed {
        /// Which.
        call: u64,
        /// How.
        failure: Failure,
        /// What it used.
        spent: Spent,
    },
    /// A call that was given up has ended.
    Ended {
        /// Which.
        call: u64,
        /// What it used.
        spent: Spent,
    },
    /// What a call wrote: levels from 0 (errors) to 3 (debugging), and lines.
    Lines {
        /// Which.
        call: u64,
        /// The lines.
        lines: Vec<(u8, String)>,
        /// Lines that there was no room for.
        dropped: u64,
    },
    /// A call needs what only the host has. Its bytes follow.
    Want {
        /// For the answer.
        request: u64,
        /// Whose.
        call: u64,
        /// What.
        want: Want,
    },
}

/// What a call used, for its host's counts, however it ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    pub(super) guest_time: Duration,
    /// The most linear memory held, in bytes.
    pub(super) memory_peak: u64,
    /// Limits of which the guest was told, by their place in [`Limit::ALL`], and how often.
    told: Vec<(u8, u64)>,
}

impl Spent {
    /// What `meters` counted of one call.
    pub(super) fn of(meters: &ServiceMeters, guest_time: Duration) -> Self {
        let mut told = Vec::new();
        for (place, limit) in (0_u8..).zip(Limit::ALL) {
            let times = meters.hits(limit);
            if times > 0 {
                told.push((place, times));
            }
        }
        Self {
            guest_time,
            memory_peak: meters.memory_peak(),
            told,
        }
    }

    /// The limits that a guest is told of; the others are a call's end, which the host sees.
    pub(super) fn told(&self) -> impl Iterator<Item = (Limit, u64)> {
        let known = self.told.iter().take(Limit::ALL.len());
        known.filter_map(|(place, times)| {
            let limit = *Limit::ALL.get(usize::from(*place))?;
            is_told(limit).then_some((limit, *times))
        })
    }
}

const fn is_told(limit: Limit) -> bool {
    match limit {
        Limit::Tensors
        | Limit::MultiplyAdds
        | Limit::Sessions
        | Limit::OutboundRequests
        | Limit::LogLines => true,
        Limit::Time
        | Limit::Cpu
        | Limit::Memory
        | Limit::Table
        | Limit::Stack
        | Limit::Handles
        | Limit::Input
        | Limit::Output
        | Limit::HostCalls
        | Limit::HostBytes => false,
    }
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Frame {
    head: Vec<u8>,
    payload: Vec<Bytes>,
    is_wiped: bool,
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.is_wiped {
            self.head.zeroize();
        }
    }
}

impl Frame {
    /// # Errors
    /// A payload of four gibibytes or more.
    pub(super) fn new(message: &impl Serialize, payload: Vec<Bytes>) -> io::Result<Self> {
        let header = postcard::to_allocvec(message).map_err(io::Error::other)?;
        let bytes = payload.iter().map(Bytes::len).sum::<usize>();
        let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        let mut head = Vec::with_capacity(LENGTHS + header.len());
        head.extend(length(header.len())?.to_le_bytes());
        head.extend(length(bytes)?.to_le_bytes());
        head.extend(header);
        // One write for what is small.
        if bytes <= JOINED_MAX {
            payload.iter().for_each(|part| head.extend_from_slice(part));
            return Ok(Self {
                head,
                payload: Vec::new(),
                is_wiped: false,
            });
        }
        Ok(Self {
            head,
            payload,
            is_wiped: false,
        })
    }

    /// The same, overwritten when it is dropped.
    pub(super) fn wiped(mut self) -> Self {
        self.is_wiped = true;
        self
    }

    /// Blocks.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.head)?;
        self.payload.iter().try_for_each(|part| to.write_all(part))
    }

    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        to.write_all(&self.head).await?;
        for part in &self.payload {
            to.write_all(part).await?;
        }
        Ok(())
    }
}

/// Reads a message and its payload, of at most `payload_max` bytes. Blocks.
pub(super) fn read<T: DeserializeOwned>(
    from: &mut impl Read,
    payload_max: u64,
) -> io::Result<(T, Bytes)> {
    let mut lengths = [0; LENGTHS];
    from.read_exact(&mut lengths)?;
    let (header_bytes, payload_bytes) = checked(lengths, payload_max)?;
    let mut take = |bytes: u64| {
        let mut content = Vec::with_capacity(at_first(bytes));
        from.take(bytes).read_to_end(&mut content)?;
        whole(content, bytes)
    };
    let message = parsed(&take(header_bytes)?)?;
    Ok((message, take(payload_bytes)?.into()))
}

/// As [`read`], without blocking. Not cancel-safe: a message that was begun must be read to its end.
pub(super) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    payload_max: u64,
) -> io::Result<(T, Bytes)> {
    let mut lengths = [0; LENGTHS];
    from.read_exact(&mut lengths).await?;
    let (header_bytes, payload_bytes) = checked(lengths, payload_max)?;
    let header = receive_bytes(from, header_bytes).await?;
    let message = parsed(&header)?;
    Ok((message, receive_bytes(from, payload_bytes).await?.into()))
}

async fn receive_bytes(from: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(at_first(bytes));
    from.take(bytes).read_to_end(&mut content).await?;
    whole(content, bytes)
}

fn checked(lengths: [u8; LENGTHS], payload_max: u64) -> io::Result<(u64, u64)> {
    let [a, b, c, d, e, f, g, h] = lengths;
    let header = u64::from(u32::from_le_bytes([a, b, c, d]));
    let payload = u64::from(u32::from_le_bytes([e, f, g, h]));
    if header > HEADER_BYTES_MAX || payload > payload_max {
        return Err(nonsense("a message is too long"));
    }
    Ok((header, payload))
}

fn whole(content: Vec<u8>, bytes: u64) -> io::Result<Vec<u8>> {
    if u64::try_from(content.len()) == Ok(bytes) {
        return Ok(content);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn parsed<T: DeserializeOwned>(header: &[u8]) -> io::Result<T> {
    let (message, rest) = postcard::take_from_bytes(header).map_err(|_| nonsense("a message"))?;
    if rest.is_empty() {
        return Ok(message);
    }
    Err(nonsense("a message goes on after its end"))
}

pub(super) fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The room that is made before a byte has arrived.
fn at_first(bytes: u64) -> usize {
    usize::try_from(bytes.min(FIRST_ROOM)).unwrap_or(0)
}

const LENGTHS: usize = 8;
/// Names, shapes, headers of HTTP and lines of log; everything large is payload.
const HEADER_BYTES_MAX: u64 = 4 << 20;
const JOINED_MAX: usize = 64 << 10;
const FIRST_ROOM: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> ToHost {
        ToHost::Ended {
            call: 7,
            spent: Spent::default(),
        }
    }

    fn written(message: &ToHost, payload: Vec<Bytes>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame::new(message, payload)
            .unwrap()
            .write(&mut bytes)
            .unwrap();
        bytes
    }

    #[tokio::test]
    async fn what_is_written_is_read_either_way() {
        for size in [0, 3, JOINED_MAX + 1] {
            let message = ended();
            let payload = vec![Bytes::from(vec![1; size]), Bytes::from(vec![2; size])];
            let bytes = written(&message, payload.clone());
            let mut sent = Vec::new();
            let frame = Frame::new(&message, payload).unwrap();
            frame.send(&mut sent).await.unwrap();
            assert_eq!(bytes, sent);
            let max = u64::try_from(2 * size).unwrap();
            let (read, first): (ToHost, _) = read(&mut bytes.as_slice(), max).unwrap();
            assert!(matches!(read, ToHost::Ended { call: 7, .. }));
            let (_, second): (ToHost, _) = receive(&mut bytes.as_slice(), max).await.unwrap();
            assert_eq!((first.len(), &first), (2 * size, &second));
        }
    }

    #[test]
    fn lies_are_errors_and_take_no_memory() {
        let sound = written(&ended(), vec![Bytes::from_static(b"abc")]);
        let refused = |bytes: &[u8]| read::<ToHost>(&mut &bytes[..], 3).is_err();
        assert!(!refused(&sound));
        for end in 0..sound.len() {
            assert!(refused(&sound[..end]), "cut at {end}");
        }
        let announced = [[0xff; 4], [0; 4]].concat();
        assert!(refused(&announced), "a header of four gibibytes");
        let announced = [[0; 4], [0xff; 4]].concat();
        assert!(refused(&announced), "a payload of four gibibytes");
        let mut other = sound;
        other[8] = 200;
        assert!(refused(&other), "no such message");
    }
}
