//! Places, cancelling, panics, batches and quotas, with real threads and work that waits to be let go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use rialto_compute::{Abilities, Model, Port, Tensor};
use rialto_scheduler::Quota;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn device(runs_max: usize) -> Device {
    device_with(DeviceConfig {
        runs_max: NonZeroUsize::new(runs_max).unwrap(),
        ..DeviceConfig::default()
    })
}

fn device_with(config: DeviceConfig) -> Device {
    Device::new(&config)
}

fn load(device: &Device) -> (usize, usize) {
    let load = device.load();
    (load.waiting, load.running)
}

/// Takes a place until the sender is dropped; returns when it has it.
async fn occupy(
    device: &Device,
    tenant: &'static str,
) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let device = device.clone();
    let task = tokio::spawn(async move {
        let work = move || {
            begun.send(()).unwrap();
            // Ends with an error when the test lets go.
            let _ = receiver.recv();
        };
        device.alone(&Tenant::new(tenant), MS, work).await.unwrap();
    });
    has_begun.await.unwrap();
    (sender, task)
}

#[tokio::test]
async fn no_more_runs_than_places() {
    let device = device(2);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..40)
        .map(|index: u32| {
            let (device, now, most) = (device.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    index
                };
                let tenant = Tenant::new(&(index % 3).to_string());
                device.alone(&tenant, MS, work).await.unwrap().result
            })
        })
        .collect();
    for (index, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap(), index);
    }
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(load(&device), (0, 0));
    let jobs: u64 = device
        .load()
        .services
        .iter()
        .map(|(_, used)| used.jobs)
        .sum();
    assert_eq!(jobs, 40);
}

#[tokio::test]
async fn what_has_not_begun_is_taken_back() {
    let device = device(1);
    let (hold, task) = occupy(&device, "ann").await;
    let ran = Arc::new(AtomicUsize::new(0));
    let waiting = {
        let (device, ran) = (device.clone(), Arc::clone(&ran));
        tokio::spawn(async move {
            let work = move || ran.fetch_add(1, Ordering::SeqCst);
            device.alone(&Tenant::new("bob"), MS, work).await
        })
    };
    while load(&device) != (1, 1) {
        tokio::task::yield_now().await;
    }
    assert!(
        device.begin(&Tenant::new("cid"), MS).is_none(),
        "bob is first"
    );
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(load(&device), (0, 1));
    drop(hold);
    task.await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(device.begin(&Tenant::new("cid"), MS).is_some());
}

#[tokio::test]
async fn a_panic_is_an_error_to_one_and_frees_the_place() {
    let device = device(1);
    let ann = Tenant::new("ann");
    let panicked = device.alone(&ann, MS, || panic!("an engine's")).await;
    assert_eq!(
        panicked.map(|done| done.result),
        Err::<(), _>(DeviceError::Stopped)
    );
    // Those who wait learn of a panic before the place is free.
    while load(&device) != (0, 0) {
        tokio::task::yield_now().await;
    }
    let begun = device.begin(&ann, MS).unwrap();
    let panicked = begun.work(|| panic!("an engine's"));
    assert_eq!(
        panicked.map(|done| done.result),
        Err::<(), _>(DeviceError::Stopped)
    );
    assert_eq!(load(&device), (0, 0));
    assert_eq!(device.alone(&ann, MS, || 7).await.unwrap().result, 7);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let device = device_with(DeviceConfig {
        runs_max: NonZeroUsize::MIN,
        waiting_max: 0,
        ..DeviceConfig::default()
    });
    let error = device
        .alone(&Tenant::new("ann"), MS, || ())
        .await
        .unwrap_err();
    assert!(matches!(error, DeviceError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_quota_is_waited_for() {
    let quota = Quota {
        per_second: 500 * MS,
        burst: Duration::from_nanos(1),
    };
    let device = device_with(DeviceConfig {
        shares: BTreeMap::from([(
            "capped".to_owned(),
            Share {
                weight: 1,
                quota: Some(quota),
            },
        )]),
        ..DeviceConfig::default()
    });
    let capped = Tenant::new("capped");
    let first = device.alone(&capped, MS, || ()).await.unwrap();
    let owed = Instant::now();
    // Nothing else happens: only the timer can begin it, when twice the first one's time is over.
    device.alone(&capped, MS, || ()).await.unwrap();
    assert!(owed.elapsed() >= first.took, "{:?}", first.took);
}

#[test]
fn memory_comes_back_when_a_lease_ends() {
    let device = device_with(DeviceConfig {
        memory_bytes_max: 10,
        service_memory_bytes_max: 6,
        ..DeviceConfig::default()
    });
    let (ann, bob) = (Tenant::new("ann"), Tenant::new("bob"));
    let lease = device.hold(&ann, 6).unwrap();
    assert_eq!(device.load().memory_bytes, 6);
    assert!(matches!(
        device.hold(&ann, 1),
        Err(MemoryError::Tenant { .. })
    ));
    assert!(matches!(
        device.hold(&bob, 5),
        Err(MemoryError::Device { .. })
    ));
    drop(lease);
    assert!(device.hold(&bob, 5).is_ok());
}

/// A model that joins all runs, counts what it is asked, and fails on an empty input.
#[derive(Debug)]
struct Joins {
    abilities: Abilities,
    asked: Mutex<Vec<usize>>,
}

impl Model for Joins {
    fn inputs(&self) -> &[Port] {
        &[]
    }

    fn outputs(&self) -> &[Port] {
        &[]
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn run(&self, inputs: Vec<(String, Tensor)>, _: &[String]) -> Result<Vec<Tensor>, RunError> {
        lock(&self.asked).push(1);
        Ok(vec![inputs[0].1.clone()])
    }

    fn joins(&self, inputs: &[(String, Vec<u32>)]) -> Option<Vec<(String, Vec<u32>)>> {
        Some(inputs.to_vec())
    }

    fn run_joined(
        &self,
        runs: Vec<Vec<(String, Tensor)>>,
        _: &[String],
    ) -> Vec<Result<Vec<Tensor>, RunError>> {
        lock(&self.asked).push(runs.len());
        let run = |run: Vec<(String, Tensor)>| match run[0].1.to_f32().unwrap()[0] {
            0.0 => Err(RunError::Engine("nothing".to_owned())),
            _ => Ok(vec![run[0].1.clone()]),
        };
        runs.into_iter().map(run).collect()
    }
}

#[tokio::test]
async fn runs_that_wait_are_joined_across_services_and_each_has_its_own_result() {
    let device = device(1);
    let text = String::new;
    let model = Arc::new(Joins {
        abilities: Abilities {
            engine: text(),
            device: text(),
            deterministic: true,
            fingerprint: text(),
        },
        asked: Mutex::default(),
    });
    let (hold, task) = occupy(&device, "ann").await;
    let tasks: Vec<_> = (0_u8..5)
        .map(|index| {
            let (device, model) = (device.clone(), Arc::clone(&model));
            tokio::spawn(async move {
                let length = if index == 4 { 2 } else { 1 };
                let values = vec![f32::from(index); length];
                let shape = vec![u32::try_from(length).unwrap()];
                let run = Run {
                    model,
                    inputs: vec![("x".to_owned(), Tensor::from_f32(shape, &values).unwrap())],
                    outputs: vec!["y".to_owned()],
                };
                let tenant = Tenant::new(&index.to_string());
                device.run(&tenant, MS, run).await.unwrap().result
            })
        })
        .collect();
    while load(&device) != (5, 1) {
        tokio::task::yield_now().await;
    }
    drop(hold);
    task.await.unwrap();
    for (index, task) in (0_u8..).zip(tasks) {
        match task.await.unwrap() {
            Ok(results) => assert_eq!(results[0].to_f32().unwrap()[0], f32::from(index)),
            Err(error) => assert!(index == 0 && error.to_string().contains("nothing")),
        }
    }
    let mut asked = lock(&model.asked).clone();
    asked.sort_unstable();
    assert_eq!(asked, [1, 4], "another shape is another batch");
}
