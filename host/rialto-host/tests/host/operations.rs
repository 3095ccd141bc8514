//! Tensor operations through the sandbox: right results, limits, usage, cancelling, hostile arguments.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rialto_compute::Tensor;
use rialto_compute::ops::{Cancel, Device, DeviceAbilities, EvalError, Program, Resident};
use rialto_gpu::GpuDevice;
use rialto_host::{Outcome, WasiGroup};
use rialto_tensor::CpuDevice;
use rialto_testkit::mesh::path_from_env;

use super::*;

const MEMORY_BYTES: u64 = 256 << 20;

fn cpu(threads: usize) -> Arc<dyn Device> {
    Arc::new(CpuDevice::new(threads, MEMORY_BYTES))
}

/// A service of the guest `operations`, on a host with these devices.
struct Lab {
    service: Service,
    _fixture: Fixture,
}

impl Lab {
    fn new(computers: Vec<Arc<dyn Device>>, limits: Limits) -> Self {
        Self::at(level(), computers, limits)
    }

    /// With a device that no cell has: other than the processor.
    fn here(computers: Vec<Arc<dyn Device>>, limits: Limits) -> Self {
        Self::at(Isolation::InProcess, computers, limits)
    }

    fn at(isolation: Isolation, computers: Vec<Arc<dyn Device>>, limits: Limits) -> Self {
        let fixture = Fixture::with(|config| config.computers = computers);
        let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let component = std::fs::read(place.join("operations/component.wasm")).unwrap();
        let grants = Grants {
            tensor: true,
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        };
        let spec = ServiceSpec {
            isolation,
            ..spec(grants, limits)
        };
        let service = fixture
            .host
            .load(&component, spec, Arc::new(NoModels))
            .unwrap();
        Self {
            service,
            _fixture: fixture,
        }
    }

    async fn call(&self, method: &str, body: Value) -> Result<Outcome, CallError> {
        call(&self.service, method, body).await
    }

    async fn answer(&self, method: &str, body: Value) -> Value {
        answer(&self.service, method, body).await
    }

    /// What the guest says when it refuses.
    async fn refusal(&self, method: &str, body: Value) -> String {
        match self.call(method, body).await {
            Err(CallError::Refused { error }) => String::from_utf8(error.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Mesa's software Vulkan, the same on every machine.
fn gpu() -> Arc<dyn Device> {
    let config = rialto_gpu::Config {
        adapter: rialto_gpu::Wanted::Named("llvmpipe".to_owned()),
        memory_bytes_max: MEMORY_BYTES,
        ..rialto_gpu::Config::default()
    };
    Arc::new(GpuDevice::open(config, cpu(1)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_agrees_with_numpy() {
    agrees_with_numpy(Lab::new(vec![cpu(2)], patient())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_agrees_with_numpy_on_a_graphics_processor() {
    agrees_with_numpy(Lab::here(vec![gpu()], patient())).await;
}

async fn agrees_with_numpy(lab: Lab) {
    let python = path_from_env("RIALTO_VENV").unwrap().join("bin/python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operations.py");
    let printed = Command::new(python).arg(script).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let cases: Vec<Value> = serde_json::from_slice(&printed.stdout).unwrap();
    assert!(cases.len() > 150);
    for case in cases {
        let body = json!({
            "op": case["op"], "attributes": case["attributes"], "inputs": case["inputs"],
        });
        let found = lab.answer("run", body).await;
        let (found, wanted) = (
            found.as_array().unwrap(),
            case["expected"].as_array().unwrap(),
        );
        assert_eq!(found.len(), wanted.len(), "{case}");
        for (found, wanted) in found.iter().zip(wanted) {
            agree(found, wanted, &case["op"]);
        }
    }
}

/// Floats agree within a few roundings of their type, everything else exactly.
fn agree(found: &Value, wanted: &Value, op: &Value) {
    assert_eq!(found["element"], wanted["element"], "{op}");
    assert_eq!(found["shape"], wanted["shape"], "{op}");
    let element = found["element"].as_str().unwrap();
    let data = STANDARD.decode(found["data"].as_str().unwrap()).unwrap();
    let values = values(element, &data);
    let wanted: Vec<f64> = serde_json::from_value(wanted["values"].clone()).unwrap();
    assert_eq!(values.len(), wanted.len(), "{op}");
    let tolerance = match element {
        "f32" => 4e-6,
        "f16" => 2e-3,
        "bf16" => 8e-3,
        _ => 0.0,
    };
    for (found, wanted) in values.iter().zip(&wanted) {
        let bound = tolerance * wanted.abs().max(1.0);
        assert!(
            (found - wanted).abs() <= bound,
            "{op} {element}: found {found}, NumPy has {wanted}"
        );
    }
}

fn values(element: &str, data: &[u8]) -> Vec<f64> {
    let half = |cell: &[u8; 2]| u32::from(u16::from_le_bytes(*cell));
    match element {
        "f32" => {
            let cells = data.as_chunks().0.iter();
            cells.map(|cell| f32::from_le_bytes(*cell).into()).collect()
        }
        "i64" => {
            let cells = data.as_chunks().0.iter();
            let small = |value| f64::from(i32::try_from(value).unwrap());
            cells.map(|cell| small(i64::from_le_bytes(*cell))).collect()
        }
        "i32" => {
            let cells = data.as_chunks().0.iter();
            cells.map(|cell| i32::from_le_bytes(*cell).into()).collect()
        }
        "bf16" => {
            let cells = data.as_chunks().0.iter();
            cells
                .map(|cell| f32::from_bits(half(cell) << 16).into())
                .collect()
        }
        "f16" => data
            .as_chunks()
            .0
            .iter()
            .map(|cell| f16(half(cell)))
            .collect(),
        "i8" => data
            .iter()
            .map(|byte| f64::from(byte.cast_signed()))
            .collect(),
        _ => data.iter().map(|byte| f64::from(*byte)).collect(),
    }
}

fn f16(bits: u32) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (bits >> 10 & 31, f64::from(bits & 1023));
    let exponent = i32::try_from(exponent).unwrap();
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operands_that_do_not_fit_are_named() {
    let lab = Lab::new(vec![cpu(1)], patient());
    let array = |shape: &[u32]| {
        let elements: u32 = shape.iter().product();
        let data = STANDARD.encode(vec![0_u8; 4 * usize::try_from(elements).unwrap()]);
        json!({ "element": "f32", "shape": shape, "data": data })
    };
    let check = async |op: &str, attributes: Value, inputs: Value, expected: &str| {
        let body = json!({ "op": op, "attributes": attributes, "inputs": inputs });
        let text = lab.refusal("run", body).await;
        assert!(text.contains(expected), "{op}: {text}");
    };
    let pair = json!([array(&[2, 3]), array(&[4, 2])]);
    let named = "matmul: left f32[2, 3] and right f32[4, 2]: 3 columns do not meet 4 rows";
    check("matmul", json!([0, 0, -1]), pair.clone(), named).await;
    check(
        "add",
        json!([]),
        pair.clone(),
        "add: left f32[2, 3] and right f32[4, 2]",
    )
    .await;
    let axis = "softmax: f32[2, 3]: axis -3 is none of 2 axes";
    check("softmax", json!([-3]), json!([array(&[2, 3])]), axis).await;
    let many = json!(vec![20.0; 21]);
    check("reshape", many, json!([array(&[2, 3])]), "20 entries").await;
    let far = json!([array(&[2, 3]), { "element": "i64", "shape": [1], "data": STANDARD.encode(9_i64.to_le_bytes()) }]);
    check(
        "gather",
        json!([0]),
        far,
        "index 9 is outside of 2 elements on axis 0",
    )
    .await;
    let huge = json!([0, 3, 65_536, 65_536, 65_536, 0, 1]);
    check("full", huge, json!([]), "out of budget").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_recordings_run_by_themselves_and_dropped_ones_not_at_all() {
    let limits = Limits {
        host_calls_max: 1_000_000,
        ..patient()
    };
    let lab = Lab::new(vec![cpu(1)], limits);
    let chain = json!({ "length": 5_000, "elements": 10 });
    assert_eq!(lab.answer("chain", chain).await, json!(50_000.0));
    let outcome = lab
        .call("churn", json!({ "times": 100_000 }))
        .await
        .unwrap();
    assert_eq!(outcome.body, "2.0");
    // The one tensor that is read has four elements; no exponential was computed.
    assert_eq!(outcome.usage.multiply_adds, 4);
    assert_eq!(outcome.usage.tensor_runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_holds_what_it_may_computed_or_not() {
    let limits = Limits {
        tensor_bytes_max: 1 << 20,
        ..patient()
    };
    let lab = Lab::new(vec![cpu(1)], limits);
    for computed in [false, true] {
        let body = json!({ "bytes": 100_000, "computed": computed });
        let answer = lab.answer("hoard", body).await;
        assert_eq!(answer[0], "10");
        let text = answer[1].as_str().unwrap();
        assert!(text.contains("a call may hold 1048576 bytes"), "{text}");
    }
    // Large operands that only wait for their sums are set free by computing those.
    let body = json!({ "bytes": 400_000, "times": 40 });
    assert_eq!(lab.answer("sums", body).await, json!(4_000_000.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_metered_and_limited() {
    let limits = Limits {
        multiply_adds_max: 4 * 64 * 64 * 64 + 1_000_000,
        ..patient()
    };
    let lab = Lab::new(vec![cpu(1)], limits);
    let outcome = lab
        .call("products", json!({ "size": 64, "times": 3 }))
        .await;
    let usage = outcome.unwrap().usage;
    let products = 3 * 64 * 64 * 64;
    assert!((products..products + 1_000_000).contains(&usage.multiply_adds));
    // Two matrices, three products, and one sum.
    assert_eq!((usage.tensor_runs, usage.moved_bytes), (5, 4));
    assert!(!usage.device_time.is_zero());
    let text = lab
        .refusal("products", json!({ "size": 64, "times": 9 }))
        .await;
    assert!(text.contains("multiplications with addition"), "{text}");

    let outcome = lab
        .call("round-trip", json!({ "bytes": 65_536, "times": 3 }))
        .await;
    let usage = outcome.unwrap().usage;
    assert_eq!((usage.moved_bytes, usage.multiply_adds), (6 * 65_536, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_work_gives_equal_bits() {
    let body = json!({ "size": 190, "times": 2 });
    let once = Lab::new(vec![cpu(1)], patient())
        .answer("products", body.clone())
        .await;
    for threads in [1, 2, 5] {
        let lab = Lab::new(vec![cpu(threads)], patient());
        assert_eq!(
            lab.answer("products", body.clone()).await,
            once,
            "{threads}"
        );
        assert_eq!(
            lab.answer("products", body.clone()).await,
            once,
            "{threads}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_arguments_are_refused_and_nothing_else_happens() {
    let limits = Limits {
        tensor_bytes_max: 4 << 20,
        ..patient()
    };
    for lab in [
        Lab::new(vec![cpu(2)], limits.clone()),
        Lab::here(vec![gpu()], limits),
    ] {
        for seed in 0..4 {
            let body = json!({ "seed": seed, "calls": 400 });
            let answer = lab.answer("attack", body).await;
            let counts: Vec<u32> = serde_json::from_value(answer).unwrap();
            assert_eq!(counts[0] + counts[1], 400);
            assert!(counts[0] > 20 && counts[1] > 20, "{counts:?}");
        }
    }
}

/// A device that never ends by itself, and tells when it was asked to.
#[derive(Debug)]
struct Endless {
    cpu: CpuDevice,
    asked: mpsc::Sender<()>,
}

impl Device for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn abilities(&self) -> &DeviceAbilities {
        self.cpu.abilities()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.cpu.memory_bytes_max()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        self.cpu.upload(tensor)
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        self.cpu.download(resident)
    }

    fn run(
        &self,
        _: &Program,
        _: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        while !cancel.is_cancelled() {
            thread::yield_now();
        }
        self.asked.send(()).unwrap();
        Err(EvalError::Cancelled)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_late_stops_its_work() {
    let (asked, was_asked) = mpsc::channel();
    let endless = Endless {
        cpu: CpuDevice::new(1, MEMORY_BYTES),
        asked,
    };
    let limits = Limits {
        wall_max: Duration::from_millis(300),
        ..patient()
    };
    let lab = Lab::here(vec![Arc::new(endless)], limits);
    let body = json!({ "length": 3, "elements": 4 });
    let error = lab.call("chain", body).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    was_asked.recv_timeout(Duration::from_secs(60)).unwrap();
}

/// A device whose tensors are nowhere else, so that whatever stays on it is seen to work there.
#[derive(Debug)]
struct Far(CpuDevice);

#[derive(Debug)]
struct FarMemory(Resident);

fn near(resident: &Resident) -> Result<Resident, EvalError> {
    match resident.memory::<FarMemory>() {
        Some(memory) => Ok(memory.0.clone()),
        None => Ok(resident.clone()),
    }
}

fn far(resident: Resident) -> Resident {
    Resident::on_device(resident.spec().clone(), Arc::new(FarMemory(resident)))
}

impl Device for Far {
    fn name(&self) -> &'static str {
        "far"
    }

    fn abilities(&self) -> &DeviceAbilities {
        self.0.abilities()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.0.memory_bytes_max()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        Ok(far(self.0.upload(tensor)?))
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        self.0.download(&near(resident)?)
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        let inputs = inputs.iter().map(near).collect::<Result<Vec<_>, _>>()?;
        let outputs = self.0.run(&program.map_constants(near)?, &inputs, cancel)?;
        Ok(outputs.into_iter().map(far).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_live_on_the_device_that_was_chosen() {
    let other = || Arc::new(Far(CpuDevice::new(1, MEMORY_BYTES)));
    let lab = Lab::here(vec![cpu(1), other()], patient());
    let names = lab.answer("devices", json!({})).await;
    assert_eq!(names, json!(["cpu", "far", "cpu"]));
    assert_eq!(
        lab.answer("travel", json!({ "name": "far" })).await,
        json!(6.0)
    );
    assert_eq!(
        lab.answer("travel", json!({ "name": "cpu" })).await,
        json!(6.0)
    );
    let text = lab.refusal("travel", json!({ "name": "moon" })).await;
    assert!(text.contains("no device `moon`; it has cpu, far"), "{text}");
    // And back from there.
    let lab = Lab::here(vec![other(), cpu(1)], patient());
    assert_eq!(
        lab.answer("travel", json!({ "name": "cpu" })).await,
        json!(6.0)
    );
    let chain = json!({ "length": 5_000, "elements": 10 });
    assert_eq!(lab.answer("chain", chain).await, json!(50_000.0));
    // And with memory that is no guest's to see.
    let lab = Lab::here(vec![gpu(), cpu(1)], patient());
    let names = lab.answer("devices", json!({})).await;
    assert_eq!(names, json!(["gpu", "cpu", "gpu"]));
    let computers = lab.service.computers();
    let prints: Vec<&str> = computers.iter().map(|it| it.fingerprint.as_str()).collect();
    assert!(
        prints.len() == 2 && prints[0].contains("llvmpipe") && prints[1].starts_with("rialto cpu"),
        "{prints:?}"
    );
    for name in ["cpu", "gpu"] {
        let found = lab.answer("travel", json!({ "name": name })).await;
        assert_eq!(found, json!(6.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_device_operations_say_so() {
    let lab = Lab::new(Vec::new(), patient());
    let text = lab
        .refusal("chain", json!({ "length": 1, "elements": 1 }))
        .await;
    assert!(text.contains("offers no device"), "{text}");
    let body = json!({ "bytes": 10, "times": 1 });
    assert_eq!(lab.answer("round-trip", body).await, json!(10));
}
