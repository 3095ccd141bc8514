//! Clients that take their time, on purpose: each is cut, and honest ones are served meanwhile.

use std::time::Duration;

use rialto_gateway::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

use crate::frames::{
    ACK, END_HEADERS, END_STREAM, Frames, GET, GET_LARGE, HEADERS, PING, POST, RESET, encode,
    first_window,
};
use crate::mesh::Mesh;

const PATIENCE: Duration = Duration::from_secs(20);

fn hasty() -> Config {
    Config {
        head_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_secs(3_600),
        body_pause_max: Duration::from_millis(500),
        write_pause_max: Duration::from_millis(500),
        bytes_per_second_min: 1_000,
        ..Config::default()
    }
}

async fn connect(mesh: &Mesh) -> TcpStream {
    let address = mesh.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Sends a byte at a time, never pausing for long, until the server has closed; gives what it said.
async fn trickle(mut stream: TcpStream, byte: u8) -> String {
    let mut clock = interval(Duration::from_millis(20));
    let mut answer = Vec::new();
    let (mut reader, mut writer) = stream.split();
    let ended = timeout(PATIENCE, async {
        tokio::select! {
            read = reader.read_to_end(&mut answer) => drop(read),
            () = async {
                loop {
                    clock.tick().await;
                    if writer.write_all(&[byte]).await.is_err() {
                        // The reader sees it too, and perhaps an answer before.
                        std::future::pending::<()>().await;
                    }
                }
            } => {}
        }
    });
    ended.await.expect("a trickle was taken without end");
    String::from_utf8_lossy(&answer).into_owned()
}

const CALL: &str = "POST /services/types/add HTTP/1.1\r\nhost: h\r\n\
    content-type: application/json\r\ncontent-length: 100000\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_that_trickle_are_cut() {
    let mesh = Mesh::with(hasty()).await;
    let mut head = connect(&mesh).await;
    head.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = trickle(head, b'h').await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let mut body = connect(&mesh).await;
    body.write_all(CALL.as_bytes()).await.unwrap();
    let answer = trickle(body, b' ').await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    mesh.end().await;
}

/// Asks again and again and reads nothing, until the server has had enough.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_answers_is_cut() {
    let mesh = Mesh::with(hasty()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = mesh.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let ask = b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n".repeat(100);
    let cut = timeout(PATIENCE, async {
        while stream.write_all(&ask).await.is_ok() {}
    });
    assert!(cut.await.is_ok(), "answers were kept for ever");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_is_told() {
    let mesh = Mesh::with(Config {
        connections_per_address_max: 3,
        loopback_exempt: false,
        ..Config::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&mesh).await;
        let ask = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut answer = String::new();
    let mut more = connect(&mesh).await;
    let read = timeout(PATIENCE, more.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("retry-after: 1")
            && head.contains(&format!("content-length: {}", body.len()))
    );
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "too_many_connections");
    drop(held);
    let back = timeout(PATIENCE, async {
        // The server notices the ends in its own time.
        while mesh.http.get(mesh.path("/health")).send().await.is_err() {}
    });
    assert!(back.await.is_ok(), "places did not come back");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_http2_is_closed_though_it_answers_pings() {
    let mesh = Mesh::with(hasty()).await;
    let mut frames = Frames::open(&mesh, &[]).await;
    let whole = END_STREAM | END_HEADERS;
    frames.send(HEADERS, whole, 1, GET).await.unwrap();
    assert!(frames.wait_for(HEADERS, END_HEADERS).await);
    frames.closed().await;
    mesh.end().await;
}

/// The socket is well and pings are answered; the answer's bytes are not wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_zero_does_not_hold_an_answer_for_ever() {
    let patient = Config {
        // Only the answer can be what it is cut for.
        head_timeout: Duration::from_secs(3_600),
        ..hasty()
    };
    for request in [GET_LARGE, GET] {
        let mesh = Mesh::with(patient.clone()).await;
        let mut frames = Frames::open(&mesh, &first_window(0)).await;
        let whole = END_STREAM | END_HEADERS;
        frames.send(HEADERS, whole, 1, request).await.unwrap();
        assert!(frames.wait_for(HEADERS, END_HEADERS).await);
        frames.closed().await;
        mesh.end().await;
    }
}

/// CVE-2023-44487: each stream is taken back in the same packet.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let mesh = Mesh::start().await;
    let mut frames = Frames::open(&mesh, &[]).await;
    let cut = timeout(PATIENCE, async {
        for stream in (1_u32..).step_by(2) {
            let whole = END_STREAM | END_HEADERS;
            let asked = frames.send(HEADERS, whole, stream, GET).await;
            let taken_back = frames.send(RESET, 0, stream, &[0, 0, 0, 8]).await;
            if asked.and(taken_back).is_err() {
                return stream / 2;
            }
        }
        0
    });
    let streams = cut.await.expect("resets were taken without end");
    assert!(streams < 100_000, "{streams}");
    mesh.end().await;
}

/// Slow enough for the library underneath: each request has reached us when it is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_again_and_again_end_the_connection() {
    let mesh = Mesh::start().await;
    let mut frames = Frames::open(&mesh, &[]).await;
    let mut asked = 0;
    for stream in (1_u32..2_001).step_by(2) {
        let sent = frames.send(HEADERS, END_HEADERS, stream, POST).await;
        let pinged = frames.send(PING, 0, 0, &[0; 8]).await;
        if sent.and(pinged).is_err() || !frames.wait_for(PING, ACK).await {
            break;
        }
        asked += 1;
        if frames.send(RESET, 0, stream, &[0, 0, 0, 8]).await.is_err() {
            break;
        }
    }
    assert!((50..900).contains(&asked), "{asked}");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_or_settings_ends_the_connection() {
    let mesh = Mesh::start().await;
    for flood in [encode(PING, 0, 0, &[0; 8]), encode(4, 0, 0, &[])] {
        let frames = Frames::open(&mesh, &[]).await;
        let (mut reader, mut writer) = frames.into_stream().into_split();
        let drained = tokio::spawn(async move {
            let mut answers = Vec::new();
            // Reset or closed, both are an end.
            drop(reader.read_to_end(&mut answers).await);
        });
        let flood = flood.repeat(1_000);
        let cut = timeout(PATIENCE, async {
            while writer.write_all(&flood).await.is_ok() {}
        });
        assert!(cut.await.is_ok(), "frames were answered without end");
        drained.await.unwrap();
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_calls_are_served_beside_two_hundred_slow_clients() {
    let mesh = Mesh::with(Config {
        head_timeout: Duration::from_secs(60),
        body_pause_max: Duration::from_secs(60),
        ..Config::default()
    })
    .await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = connect(&mesh).await;
        let said = match number % 4 {
            0 => "",
            1 => "GET / HTTP/1.1\r\nhost: ",
            2 => CALL,
            _ => "GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n",
        };
        stream.write_all(said.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let call = mesh.http.post(mesh.path("/services/types/nothing"));
        let call = call.header("content-type", "application/json").body("{}");
        let answer = timeout(PATIENCE, call.send()).await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
    let silent = slow.iter().filter(|stream| {
        let read = stream.try_read(&mut [0; 1]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(silent.count() >= 150, "they were there all the time");
    drop(slow);
    mesh.end().await;
}
