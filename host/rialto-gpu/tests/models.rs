//! Models on a graphics processor: real ones, on Mesa's software Vulkan, beside the embedded engine.

use std::{path::PathBuf, sync::Arc};

use rialto_gpu::{Config, GpuDevice, INSTALL, Wanted};
use rialto_tensor::{
    CpuDevice, Engine, Model, Tensor,
    engines::{self, Choice, Engines, seeded_inputs},
};

/// File type (embedding, layer norm, a convolution, dense layers) and page orientation (depthwise and
/// plain convolutions, squeeze and excitation).
const MODELS: [&str; 2] = [
    "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
];

fn file(digest: &str) -> Vec<u8> {
    let folder = std::env::var_os("RIALTO_ARTIFACTS").expect(
        "RIALTO_ARTIFACTS names the folder of fetched models; `cargo xtask test` fills and sets it",
    );
    std::fs::read(PathBuf::from(folder).join(digest))
        .expect("`cargo xtask test` fetches the models")
}

fn gpu() -> Arc<GpuDevice> {
    let config = Config {
        adapter: Wanted::Named("llvmpipe".to_owned()),
        ..Config::default()
    };
    let cpu = Arc::new(CpuDevice::new(1, 1 << 30));
    let opened = GpuDevice::open(config, cpu);
    Arc::new(opened.unwrap_or_else(|error| panic!("{error}; {INSTALL}")))
}

fn config() -> engines::Config {
    engines::Config {
        choice: Choice::Embedded,
        ..engines::Config::default()
    }
}

fn run(model: &dyn Model) -> Vec<Tensor> {
    let inputs = seeded_inputs(model, |_, _| 1).expect("the inputs are small");
    let names: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    model.run(inputs, &names).expect("the model runs")
}

#[test]
fn real_models_agree_with_the_embedded_engine() {
    let gpu = gpu();
    let on_gpu = engines::Config {
        choice: Choice::Gpu,
        // An error, where it would else run on the processor.
        deterministic: true,
        accelerator: Some(Arc::<GpuDevice>::clone(&gpu)),
        ..config()
    };
    let on_gpu = Engines::new(on_gpu).unwrap();
    let embedded = Engines::new(config()).unwrap();
    for digest in MODELS {
        let model = on_gpu.load(file(digest).into(), digest).unwrap();
        assert_ne!(model.abilities().device, "cpu");
        let reference = embedded.load(file(digest).into(), digest).unwrap();
        let expected = run(reference.as_ref());
        for _ in 0..2 {
            for (found, expected) in run(model.as_ref()).iter().zip(&expected) {
                assert_eq!(found.shape(), expected.shape());
                let pairs = found
                    .to_f32()
                    .unwrap()
                    .into_iter()
                    .zip(expected.to_f32().unwrap());
                for (found, expected) in pairs {
                    assert!(
                        (found - expected).abs() < 2e-3,
                        "{digest}: {found} instead of {expected}"
                    );
                }
            }
        }
    }
    drop(on_gpu);
    assert!(gpu.memory_bytes_peak() > 0);
    assert_eq!(gpu.memory_bytes_used(), 0, "weights go with their models");
}
