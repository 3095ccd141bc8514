//! Cells in a stranger's hands: what they say, and what the host makes of it.

use std::io::{BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rialto_testkit::guests;
use serde_json::{Value, json};

use super::values::{Answer, Want};
use super::wire::{self, Call, Frame, Spent, ToCell, ToHost};
use super::{CellConfig, Program};
use crate::model::NoModels;
use crate::service::{Outcome, Usage};
use crate::spec::{Isolation, Limits, ServiceSpec};
use crate::{Arguments, CallContext, CallError, Config, Host, LoadError, Service};

const MODE: &str = "RIALTO_TEST_HOSTILE_CELL";

/// This test program as a cell that has gone over to the other side.
fn program(mode: &str) -> Program {
    Program {
        file: std::env::current_exe().unwrap(),
        arguments: [
            "cell::tests::nonsense_ends_the_cell_and_its_calls",
            "--exact",
        ]
        .map(Into::into)
        .to_vec(),
        environment: vec![(MODE.into(), mode.into())],
    }
}

struct Stranger {
    from: BufReader<UnixStream>,
    to: UnixStream,
}

impl Stranger {
    fn say(&mut self, message: &ToHost, payload: &'static [u8]) {
        let frame = Frame::new(message, vec![Bytes::from_static(payload)]).unwrap();
        frame.write(&mut self.to).unwrap();
    }

    fn hear(&mut self) -> (ToCell, Bytes) {
        match wire::read(&mut self.from, 1 << 30) {
            Ok(heard) => heard,
            Err(_) => std::process::exit(0),
        }
    }

    fn next_call(&mut self) -> Call {
        loop {
            if let (ToCell::Call(call), _) = self.hear() {
                return call;
            }
        }
    }

    /// Asks for something and returns what is said to that.
    fn ask(&mut self, call: u64, want: Want, payload: &'static [u8]) -> Answer {
        let request = 1;
        let want = ToHost::Want {
            request,
            call,
            want,
        };
        self.say(&want, payload);
        loop {
            if let (ToCell::Answer { answer, .. }, _) = self.hear() {
                return answer;
            }
        }
    }
}

fn be_a_cell(mode: &str) -> ! {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let to = UnixStream::from(socket);
    let mut stranger = Stranger {
        from: BufReader::new(to.try_clone().unwrap()),
        to,
    };
    let (ToCell::Setup(setup), _) = stranger.hear() else {
        panic!("a call before a service")
    };
    if mode == "unable" {
        let reason = "not\ntoday".to_owned();
        stranger.say(&ToHost::Unable { reason }, b"");
        std::process::exit(0);
    }
    stranger.say(&ToHost::Ready { confined: vec![] }, b"");
    if setup.trial {
        std::process::exit(0);
    }
    if mode == "busy" {
        loop {
            std::hint::spin_loop();
        }
    }
    loop {
        let call = stranger.next_call().call;
        let done = ToHost::Done {
            call,
            usage: absurd(),
            spent: Spent::default(),
        };
        match mode {
            "garbage" => stranger.to.write_all(&[0xff; 64]).unwrap(),
            "endless" => {
                let mut lengths = 1_u32.to_le_bytes().to_vec();
                lengths.extend(u32::MAX.to_le_bytes());
                stranger.to.write_all(&lengths).unwrap();
            }
            "silent" => {}
            "liar" => stranger.say(&done, b"\"so it is\""),
            "no json" => stranger.say(&done, b"{\"a\": "),
            "twice" => {
                stranger.say(&done, b"1");
                stranger.say(&done, b"2");
            }
            "anew" => stranger.say(&ToHost::Ready { confined: vec![] }, b""),
            "greedy" => {
                let held = asks_for_more(&mut stranger, call);
                stranger.say(&done, if held { b"true" } else { b"false" });
            }
            "insatiable" | "deaf" => loop {
                let name = "other".to_owned();
                let want = ToHost::Want {
                    request: 1,
                    call,
                    want: Want::Open { name },
                };
                stranger.say(&want, b"");
            },
            other => panic!("no mode {other}"),
        }
    }
}

/// Whether all that was not granted is refused.
fn asks_for_more(stranger: &mut Stranger, call: u64) -> bool {
    let open = |name: &str| Want::Open {
        name: name.to_owned(),
    };
    let model = stranger.ask(call, open("other"), b"");
    let send = Want::Send {
        method: "GET".to_owned(),
        url: "http://169.254.169.254/".to_owned(),
        headers: vec![],
        left: Duration::from_secs(1_000),
    };
    let sent = stranger.ask(call, send, b"");
    let body = stranger.ask(call, Want::More { body: 12 }, b"");
    let elsewhere = stranger.ask(call + 1_000, open("other"), b"");
    matches!(model, Answer::NotOpened(_))
        && matches!(sent, Answer::NotSent(crate::OutboundError::Denied(_)))
        && matches!(body, Answer::Piece { last: true })
        && matches!(elsewhere, Answer::NotSent(_))
}

fn absurd() -> Usage {
    Usage {
        guest_time: Duration::MAX,
        device_time: Duration::MAX,
        host_time: Duration::MAX,
        memory_peak: u64::MAX,
        tokens_written: u64::MAX,
        output_bytes: u64::MAX,
        ..Usage::default()
    }
}

struct Lab {
    service: Service,
    _dir: tempfile::TempDir,
}

fn loaded(mode: &str) -> Result<Lab, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.cells = Some(CellConfig::new(program(mode)));
    let spec = ServiceSpec {
        name: mode.to_owned(),
        isolation: Isolation::Process,
        limits: Limits {
            wall_max: Duration::from_secs(20),
            // One that only asks is told so long after its host has nobody to tell.
            host_calls_max: if mode == "deaf" { 100_000 } else { 100 },
            ..Limits::default()
        },
        ..ServiceSpec::default()
    };
    let component = guests::component(guests::HOSTILE).unwrap();
    let host = Host::new(config).unwrap();
    let service = host.load(&component, spec, Arc::new(NoModels))?;
    Ok(Lab { service, _dir: dir })
}

impl Lab {
    async fn call(&self, wall: Duration) -> Result<Outcome, CallError> {
        let body = json!({ "text": "" }).to_string();
        let prepared = self.service.prepare("echo", Arguments::Json(body.into()));
        let context = CallContext {
            call_id: "call-1".to_owned(),
            deadline: Instant::now() + wall,
            payer: String::new(),
            price: 0,
            hirer: std::sync::Arc::new(crate::NoHirer),
            awaited: None,
        };
        self.service.call(prepared.unwrap(), context).await
    }

    async fn ended(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.service.process().is_some() {
            assert!(Instant::now() < end, "not within 30 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const LONG: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_cell_and_its_calls() {
    if let Ok(mode) = std::env::var(MODE) {
        be_a_cell(&mode);
    }
    for mode in ["garbage", "endless", "no json", "anew", "insatiable"] {
        let lab = loaded(mode).unwrap();
        let error = lab.call(LONG).await.unwrap_err();
        assert_eq!(error.wire_code(), "cell_ended", "{mode}: {error}");
        lab.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_is_nonsense_and_the_first_holds() {
    let lab = loaded("twice").unwrap();
    assert_eq!(&lab.call(LONG).await.unwrap().body[..], b"1");
    lab.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_does_not_answer_is_ended() {
    for mode in ["silent", "deaf"] {
        let lab = loaded(mode).unwrap();
        let error = lab.call(Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
        lab.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_works_for_itself_is_ended() {
    let lab = loaded("busy").unwrap();
    // It does not even listen.
    assert!(lab.call(Duration::from_millis(200)).await.is_err());
    lab.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_is_not_what_a_liar_says() {
    let lab = loaded("liar").unwrap();
    let begun = Instant::now();
    let outcome = lab.call(LONG).await.unwrap();
    let usage = &outcome.usage;
    assert!(usage.guest_time <= begun.elapsed(), "{usage:?}");
    assert!(usage.device_time <= begun.elapsed(), "{usage:?}");
    let said: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(said, "so it is");
    assert_eq!(usage.output_bytes, 10);
    assert_eq!(usage.memory_peak, Limits::default().memory_bytes_max);
    assert_eq!(usage.tokens_written, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_gets_no_more_than_its_service_was_granted() {
    let lab = loaded("greedy").unwrap();
    assert_eq!(&lab.call(LONG).await.unwrap().body[..], b"true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_cannot_be_confined_takes_no_service() {
    let Err(error) = loaded("unable") else {
        panic!("it was loaded")
    };
    assert!(matches!(error, LoadError::Isolation(_)), "{error}");
    assert!(error.to_string().ends_with("not today"), "{error}");
}
