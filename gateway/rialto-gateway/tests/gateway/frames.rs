//! HTTP/2 by hand, for clients that no library would let one write.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mesh::Mesh;

/// A connection that sends what it is told and answers pings.
pub(crate) struct Frames {
    stream: TcpStream,
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `GET http://h/` in indices of the static table.
pub(crate) const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];
/// `GET http://h/openapi.json`, likewise.
pub(crate) const GET_LARGE: &[u8] = b"\x82\x86\x04\x0d/openapi.json\x41\x01h";
/// `POST http://h/services/types/add`, likewise: it waits for its body.
pub(crate) const POST: &[u8] = b"\x83\x86\x04\x13/services/types/add\x41\x01h";
/// The window that streams begin with, of so many bytes.
pub(crate) fn first_window(bytes: u32) -> Vec<u8> {
    [&[0, 4][..], &bytes.to_be_bytes()].concat()
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Frames {
    /// Connects and says what settings it has.
    pub(crate) async fn open(mesh: &Mesh, settings: &[u8]) -> Self {
        let address = mesh.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(preface).await.unwrap();
        let mut frames = Self { stream };
        frames.send(SETTINGS, 0, 0, settings).await.unwrap();
        frames
    }

    pub(crate) async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let frame = encode(kind, flags, stream, payload);
        self.stream.write_all(&frame).await
    }

    /// The next frame; none when the server has closed. Pings are answered.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let next = timeout(PATIENCE, self.read());
        next.await.expect("neither a frame nor an end")
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = head;
        let length = u32::from_be_bytes([0, l2, l1, l0]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        if kind == PING && flags & ACK == 0 {
            // The end shows at the next read.
            self.send(PING, ACK, 0, &payload).await.ok();
        }
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s3, s2, s1, s0]),
        })
    }

    /// Waits for a frame of this kind with these flags; false when the server closes before.
    pub(crate) async fn wait_for(&mut self, kind: u8, flags: u8) -> bool {
        while let Some(frame) = self.next().await {
            if frame.kind == kind && frame.flags & flags == flags {
                return true;
            }
        }
        false
    }

    /// Reads until the server closes; pings are no reason to go on for ever.
    pub(crate) async fn closed(mut self) {
        let closed = timeout(PATIENCE, async { while self.next().await.is_some() {} });
        closed.await.expect("the connection was kept");
    }

    /// Both directions by themselves.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

pub(crate) fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}
