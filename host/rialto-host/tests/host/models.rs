//! Models through the port: runs, refusals, budgets, and an engine that hangs.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use rialto_compute::{Abilities, Element, Model, Port, RunError, Tensor};
use rialto_host::{Models, OpenError};

use super::*;

/// The first byte that makes the model compute for [`SPIN_MS`].
const SPIN: u8 = 0xdd;
const SPIN_MS: u64 = 10;

/// A model that adds one to every byte, or computes for a while, or waits until it is let go, or panics.
#[derive(Debug)]
struct Fake {
    abilities: Abilities,
    outputs: Vec<Port>,
    hang: Option<Mutex<Receiver<()>>>,
}

struct One(Arc<Fake>);

impl Models for One {
    fn open(&self, _name: &str) -> Result<Arc<dyn Model>, OpenError> {
        Ok(Arc::clone(&self.0) as Arc<dyn Model>)
    }
}

impl Model for Fake {
    fn inputs(&self) -> &[Port] {
        &[]
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        assert_eq!(outputs, ["y"]);
        let (name, tensor) = &inputs[0];
        assert_eq!((name.as_str(), tensor.element()), ("x", Element::U8));
        if let Some(hang) = &self.hang {
            // Ends with an error when the test lets go of the sender.
            let _ = hang.lock().unwrap().recv();
        }
        assert_ne!(
            tensor.data().first(),
            Some(&0xee),
            "a panic of the engine's"
        );
        if tensor.data().first() == Some(&SPIN) {
            let end = Instant::now() + Duration::from_millis(SPIN_MS);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        if tensor.data().is_empty() {
            return Err(RunError::MissingInput {
                name: "x".to_owned(),
            });
        }
        let more = tensor.data().iter().map(|byte| byte.wrapping_add(1));
        let more = Tensor::new(Element::U8, tensor.shape().to_vec(), more.collect());
        Ok(vec![more.unwrap()])
    }
}

fn models(hang: bool) -> (Arc<One>, Option<Sender<()>>) {
    let (sender, receiver) = channel();
    let fake = Fake {
        abilities: Abilities {
            engine: "fake".to_owned(),
            device: "cpu".to_owned(),
            deterministic: true,
            fingerprint: "fake".to_owned(),
        },
        outputs: vec![Port {
            name: "y".to_owned(),
            element: Element::U8,
            shape: vec![None],
        }],
        hang: hang.then(|| Mutex::new(receiver)),
    };
    (Arc::new(One(Arc::new(fake))), hang.then_some(sender))
}

fn load(fixture: &Fixture, models: Arc<One>, granted: &[&str], limits: Limits) -> Service {
    let component = guests::component(guests::INFER).unwrap();
    let spec = ServiceSpec {
        grants: Grants {
            tensor: true,
            ..Grants::default()
        },
        models: granted.iter().map(|name| (*name).to_owned()).collect(),
        limits,
        isolation: level(),
        ..ServiceSpec::default()
    };
    fixture.host.load(&component, spec, models).unwrap()
}

async fn infer(service: &Service, content: &[u8]) -> Result<Outcome, CallError> {
    let raw = Arguments::Raw(content.to_vec().into());
    let prepared = service.prepare("infer", raw).unwrap();
    service.call(prepared, context()).await
}

fn refusal(result: Result<Outcome, CallError>) -> String {
    let error = result.unwrap_err();
    let CallError::Refused { error } = error else {
        panic!("{error}")
    };
    serde_json::from_slice(&error).unwrap()
}

#[tokio::test]
async fn a_model_runs_and_its_use_is_counted() {
    let fixture = Fixture::new();
    let service = load(&fixture, models(false).0, &["m"], patient());
    let outcome = infer(&service, &[1, 2, 3]).await.unwrap();
    assert_eq!(&outcome.body[..], b"\"AgME\"");
    assert_eq!(outcome.usage.tensor_runs, 1);
    assert_eq!(outcome.usage.host_calls, 4, "open, from-bytes, run, read");
}

#[tokio::test]
async fn refusals_of_the_host_and_the_engine_reach_the_guest() {
    let fixture = Fixture::new();
    let none = load(&fixture, models(false).0, &["other"], patient());
    assert_eq!(
        refusal(infer(&none, &[1]).await),
        "the manifest grants no model `m`"
    );
    let service = load(&fixture, models(false).0, &["m"], patient());
    assert_eq!(refusal(infer(&service, &[]).await), "input `x` is missing");
    let panicked = refusal(infer(&service, &[0xee]).await);
    assert_eq!(panicked, "the engine failed: it stopped unexpectedly");
    assert!(infer(&service, &[1]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_runs_on_the_guests_thread_are_no_less_confined() {
    let fixture = Fixture::new();
    let service = load(&fixture, models(false).0, &["m"], patient());
    let spinning = Duration::from_millis(SPIN_MS);
    for run in 0..3 {
        // The first goes to the pool, the others are known to be short.
        let outcome = infer(&service, &[SPIN]).await.unwrap();
        assert!(
            outcome.usage.host_time >= spinning,
            "run {run}: {outcome:?}"
        );
        assert!(
            outcome.usage.guest_time < spinning,
            "run {run}: {outcome:?}"
        );
    }
    for _ in 0..3 {
        let panicked = refusal(infer(&service, &[0xee]).await);
        assert_eq!(panicked, "the engine failed: it stopped unexpectedly");
    }
    assert!(infer(&service, &[1]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_engine_ends_no_later_than_the_call() {
    let fixture = Fixture::new();
    let limits = Limits {
        // Waiting is not the guest's time, so only the wall limit can act.
        cpu_max: Duration::from_millis(100),
        wall_max: Duration::from_millis(400),
        ..Limits::default()
    };
    let (hanging, release) = models(true);
    let service = load(&fixture, hanging, &["m"], limits);
    let error = infer(&service, &[1]).await.unwrap_err();
    let CallError::TimedOut { limit_ms, .. } = error else {
        panic!("{error}")
    };
    assert!(limit_ms <= 400, "{limit_ms}");
    let honest = fixture.load(guests::HOSTILE, Grants::default(), patient());
    still_serves(&honest).await;
    drop(release);
}

#[tokio::test]
async fn tensors_and_handles_are_bounded() {
    let fixture = Fixture::new();
    let service = load(&fixture, models(false).0, &["m"], patient());
    let hold = async |size: u32| {
        let body = serde_json::to_vec(&json!({ "size": size })).unwrap();
        let prepared = service
            .prepare("hold", Arguments::Json(body.into()))
            .unwrap();
        service.call(prepared, context()).await
    };
    let told = refusal(hold(200_000).await);
    assert_eq!(told, "a call may hold 67108864 bytes of tensors");
    assert_eq!(hold(1).await.unwrap_err().wire_code(), "handles_exceeded");
}
