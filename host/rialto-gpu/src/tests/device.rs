//! Memory, errors, loss, and what a device says of itself.

use std::time::Duration;

use rialto_compute::ops::{
    Attention, Binary, DeviceAbilities, Matmul, Program, Resident, Unary, Value,
};

use super::*;
use crate::OpenError;

fn own(memory_bytes_max: u64) -> GpuDevice {
    let config = Config {
        memory_bytes_max,
        ..config()
    };
    GpuDevice::open_unchecked(config, cpu()).unwrap()
}

fn ramp(shape: &[u32]) -> Tensor {
    let count: u32 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| at as f32 / 64.0).collect();
    Tensor::from_f32(shape.to_vec(), &values).unwrap()
}

fn chain(length: usize, shape: &[u32]) -> (Recording, Value) {
    let mut recording = Recording::new(Limits::default());
    let mut x = recording
        .input(Spec::new(Element::F32, shape).unwrap())
        .unwrap();
    for _ in 0..length {
        x = recording.one(Op::Softmax { axis: 0 }, &[x]).unwrap();
    }
    (recording, x)
}

#[test]
fn a_good_device_agrees() {
    let device = GpuDevice::open(config(), cpu()).unwrap();
    assert_eq!(
        device.fallback().said(),
        [""; 0],
        "all is computed on the device"
    );
    assert!(device.abilities().fingerprint.contains("llvmpipe"));
}

/// A processor whose results are all zero: to it, every graphics processor is wrong.
#[derive(Debug)]
struct Zeros(CpuDevice);

impl Device for Zeros {
    fn name(&self) -> &'static str {
        "zeros"
    }

    fn abilities(&self) -> &DeviceAbilities {
        self.0.abilities()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.0.memory_bytes_max()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        self.0.upload(tensor)
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        self.0.download(resident)
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        let made = self.0.run(program, inputs, cancel)?;
        let zeros = made.iter().map(|resident| {
            let spec = resident.spec();
            let data = vec![0; spec.bytes()].into();
            let tensor = Tensor::new(spec.element(), spec.shape().to_vec(), data).unwrap();
            Ok(Resident::host(tensor)?)
        });
        zeros.collect()
    }
}

#[test]
fn a_device_that_disagrees_is_refused() {
    let zeros = Zeros(CpuDevice::new(1, 1 << 28));
    let error = GpuDevice::open(config(), Arc::new(zeros)).unwrap_err();
    assert!(matches!(error, OpenError::Disagrees { .. }), "{error}");
    for part in ["llvmpipe", "add: element 0 is", "instead of 0"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

/// With eight buffers a kernel and 16 KiB of a workgroup's memory, as the least adapters have.
#[test]
fn the_least_adapter_is_enough() {
    let config = Config {
        least: true,
        ..config()
    };
    let device = GpuDevice::open(config, cpu()).unwrap();
    let mut draw = Draw(31);
    let agrees = |op: &Op, operands: &[&Tensor]| {
        let found = run_on(&device, op, operands).unwrap();
        let want = run_on(&*cpu(), op, operands).unwrap();
        close(&format!("{op:?}"), &found[0], &want[0], 64.0, 4.0);
    };
    let parts: Vec<Tensor> = (0..30)
        .map(|_| draw.tensor(Element::F16, &[3, 5], false))
        .collect();
    let parts: Vec<&Tensor> = parts.iter().collect();
    agrees(&Op::Concat { axis: 1 }, &parts);
    for depth in [64, 256] {
        let of = |draw: &mut Draw, rows| draw.tensor(Element::F32, &[1, 2, rows, depth], false);
        let (q, k, v) = (of(&mut draw, 30), of(&mut draw, 40), of(&mut draw, 40));
        let mask = draw.tensor(Element::F32, &[30, 40], false);
        let op = Op::Attention(Attention {
            mask: true,
            ..Attention::default()
        });
        agrees(&op, &[&q, &k, &v, &mask]);
    }
    // A chain of more operands than a kernel has buffers.
    let mut recording = Recording::new(Limits::default());
    let tensors: Vec<Tensor> = (0..12)
        .map(|_| draw.tensor(Element::F32, &[7, 9], false))
        .collect();
    let values: Vec<Value> = tensors
        .iter()
        .map(|tensor| recording.input(Spec::of(tensor).unwrap()).unwrap())
        .collect();
    let mut sum = values[0];
    for value in &values[1..] {
        sum = recording
            .one(Op::Binary(Binary::Add), &[sum, *value])
            .unwrap();
    }
    let program = recording.program(&[sum]).unwrap();
    let found = device.run_on_host(&program, &tensors, &Cancel::new());
    let want = cpu().run_on_host(&program, &tensors, &Cancel::new());
    close("chain", &found.unwrap()[0], &want.unwrap()[0], 12.0, 1.0);
    let said = device.fallback().said();
    assert!(said.iter().all(|op| *op == "attention"), "{said:?}");
}

#[test]
fn an_absent_adapter_is_named() {
    let config = Config {
        adapter: Wanted::Named("GeForce 9".to_owned()),
        ..config()
    };
    let error = GpuDevice::open(config, cpu()).unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }));
    for part in ["GeForce 9", "llvmpipe", "install"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn tensors_stay_and_memory_comes_back() {
    let device = own(1 << 20);
    let x = ramp(&[64, 64]);
    let resident = device.upload(x.clone()).unwrap();
    assert!(resident.tensor().is_none());
    assert_eq!(device.memory_bytes_used(), 16384);
    assert_eq!(device.download(&resident).unwrap(), x);
    let (recording, y) = chain(3, &[64, 64]);
    let program = recording.program(&[y]).unwrap();
    let first = device
        .run(&program, std::slice::from_ref(&resident), &Cancel::new())
        .unwrap();
    let second = device.run(&program, &first, &Cancel::new()).unwrap();
    assert_eq!(device.memory_bytes_used(), 3 * 16384);
    drop((first, second, resident));
    assert_eq!(device.memory_bytes_used(), 0);
}

#[test]
fn memory_is_limited() {
    let device = own(100 << 10);
    let error = device.upload(ramp(&[200, 200])).unwrap_err();
    assert!(matches!(error, EvalError::Memory { .. }), "{error}");
    assert_eq!(device.memory_bytes_used(), 0);
    // Much more than fits at a time, but never at a time.
    let (recording, y) = chain(200, &[4096]);
    let program = recording.program(&[y]).unwrap();
    let made = device.run_on_host(&program, &[ramp(&[4096])], &Cancel::new());
    assert!(made.is_ok(), "{made:?}");
    assert_eq!(device.memory_bytes_used(), 0);
    assert!(device.memory_bytes_peak() <= 100 << 10);
}

#[test]
fn runs_are_cancelled_and_late() {
    let (recording, y) = chain(20, &[4096]);
    let program = recording.program(&[y]).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(
        gpu().run_on_host(&program, &[ramp(&[4096])], &cancel),
        Err(EvalError::Cancelled)
    );
    let config = Config {
        run_time_max: Duration::ZERO,
        ..config()
    };
    let device = GpuDevice::open_unchecked(config, cpu()).unwrap();
    let mut recording = Recording::new(Limits::default());
    let x = recording
        .input(Spec::new(Element::F32, [512, 512]).unwrap())
        .unwrap();
    let y = recording
        .one(Op::Matmul(Matmul::default()), &[x, x])
        .unwrap();
    let program = recording.program(&[y]).unwrap();
    let error = device
        .run_on_host(&program, &[ramp(&[512, 512])], &Cancel::new())
        .unwrap_err();
    assert!(
        error.to_string().contains("longer than the limit"),
        "{error}"
    );
    // What was handed over is done before the run ends: it is in nobody's way.
    let left = device.link().unwrap().device.poll(wgpu::PollType::Poll);
    assert!(matches!(left, Ok(wgpu::PollStatus::QueueEmpty)), "{left:?}");
}

/// After it was lost in some way: whoever has tensors on it gets an error, and everybody else goes on.
fn goes_on_after(lose: impl FnOnce(&GpuDevice)) {
    let device = own(1 << 20);
    let (recording, y) = chain(2, &[8]);
    let program = recording.program(&[y]).unwrap();
    let resident = device.upload(ramp(&[8])).unwrap();
    let inputs = std::slice::from_ref(&resident);
    let run = |inputs: &[Resident]| {
        let made = device.run(&program, inputs, &Cancel::new())?;
        device.download(&made[0])
    };
    let before = run(inputs).unwrap();
    lose(&device);
    for error in [
        device.download(&resident).unwrap_err(),
        run(inputs).unwrap_err(),
    ] {
        assert!(error.to_string().contains("lost"), "{error}");
    }
    let again = device.upload(ramp(&[8])).unwrap();
    assert_eq!(run(&[again]), Ok(before));
    drop(resident);
    assert_eq!(device.memory_bytes_used(), 0);
}

#[test]
fn a_lost_device_is_opened_again() {
    goes_on_after(GpuDevice::lose);
}

#[test]
fn a_panic_below_is_an_error_of_one_run() {
    goes_on_after(|device| {
        let made: Result<(), _> = device.contained("run", |_| panic!("a driver's bug"));
        let error = made.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    });
}

#[test]
fn threads_share_a_device_and_see_their_own() {
    let device = own(1 << 20);
    let (recording, y) = chain(3, &[40, 40]);
    let program = recording.program(&[y]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u16 {
            let (device, program) = (&device, &program);
            scope.spawn(move || {
                let values = |factor: f32| {
                    let values: Vec<f32> =
                        (0..1600).map(|at| at as f32 * factor / 1600.0).collect();
                    Tensor::from_f32(vec![40, 40], &values).unwrap()
                };
                for round in 0..20 {
                    let x = values(f32::from(thread) + round as f32);
                    let found =
                        device.run_on_host(program, std::slice::from_ref(&x), &Cancel::new());
                    let want = cpu().run_on_host(program, &[x], &Cancel::new()).unwrap();
                    close("softmax", &found.unwrap()[0], &want[0], 32.0, 0.1);
                }
            });
        }
    });
    assert_eq!(device.memory_bytes_used(), 0);
}

/// What is uploaded and dropped before anything runs leaves no copies behind.
#[test]
#[cfg(target_os = "linux")]
fn uploads_that_nobody_uses_do_not_pile_up() {
    let resident_mib = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096 / (1 << 20)
    };
    let device = own(64 << 20);
    let x = ramp(&[1024, 2048]);
    device.upload(x.clone()).unwrap();
    let before = resident_mib();
    for _ in 0..160 {
        device.upload(x.clone()).unwrap();
    }
    let more = resident_mib().saturating_sub(before);
    assert!(more < 512, "{more} MiB after 1280 MiB of uploads");
}

#[test]
fn tensors_of_other_devices_are_refused() {
    let (one, other) = (own(1 << 20), own(1 << 20));
    let resident = one.upload(ramp(&[8])).unwrap();
    let error = other.download(&resident).unwrap_err();
    assert!(
        error.to_string().contains("another graphics processor"),
        "{error}"
    );
    let strange = Resident::on_device(Spec::new(Element::F32, [1]).unwrap(), Arc::new(7_u8));
    assert!(one.download(&strange).is_err());
}

#[test]
fn kernels_serve_all_sizes_and_are_few() {
    let config = Config {
        pipelines_max: 4,
        ..config()
    };
    let device = GpuDevice::open_unchecked(config, cpu()).unwrap();
    for size in 1..20 {
        let op = Op::Unary(Unary::Exp);
        run_on(&device, &op, &[&ramp(&[size])]).unwrap();
    }
    assert_eq!(device.link().unwrap().pipelines.count(), 1);
    for unary in [
        Unary::Exp,
        Unary::Ln,
        Unary::Abs,
        Unary::Sin,
        Unary::Cos,
        Unary::Neg,
    ] {
        run_on(&device, &Op::Unary(unary), &[&ramp(&[3])]).unwrap();
    }
    assert_eq!(device.link().unwrap().pipelines.count(), 4);
}

#[test]
fn equal_runs_give_equal_bits() {
    let mut draw = Draw(23);
    let (a, b) = (
        draw.tensor(Element::F32, &[70, 300], false),
        draw.tensor(Element::F32, &[300, 90], false),
    );
    let first = run_on(gpu(), &Op::Matmul(Matmul::default()), &[&a, &b]).unwrap();
    for _ in 0..5 {
        let again = run_on(gpu(), &Op::Matmul(Matmul::default()), &[&a, &b]).unwrap();
        assert_eq!(first, again);
    }
}

#[test]
fn parts_are_views_where_bindings_may_start() {
    let mut recording = Recording::new(Limits::default());
    let x = recording
        .input(Spec::new(Element::F32, [8, 64]).unwrap())
        .unwrap();
    let range = rialto_compute::ops::Range {
        start: 4,
        end: None,
        step: 1,
    };
    let part = recording
        .one(
            Op::Slice(vec![range, rialto_compute::ops::Range::default()]),
            &[x],
        )
        .unwrap();
    let y = recording.one(Op::Unary(Unary::Neg), &[part]).unwrap();
    let program = recording.program(&[part, y]).unwrap();
    let device = own(1 << 20);
    let resident = device.upload(ramp(&[8, 64])).unwrap();
    let made = device.run(&program, &[resident], &Cancel::new()).unwrap();
    let [part, negative] =
        [&made[0], &made[1]].map(|resident| device.download(resident).unwrap().to_f32().unwrap());
    assert_eq!((part[0], negative[0], part.len()), (4.0, -4.0, 256));
}
