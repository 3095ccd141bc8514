//! Random numbers: any part alone is the same, and the distributions are what they say.

use super::*;
use crate::ops::{Distribution, Random};

fn make(element: Element, shape: &[u32], distribution: Distribution, seed: u64) -> Tensor {
    let spec = Spec::new(element, shape).unwrap();
    run(
        &Op::Random(Random {
            spec,
            distribution,
            seed,
            stream: 5,
        }),
        &[],
    )
}

const UNIFORM: Distribution = Distribution::Uniform {
    low: -1.0,
    high: 3.0,
};
const NORMAL: Distribution = Distribution::Normal {
    mean: 2.0,
    deviation: 0.5,
};

#[test]
fn moments_are_right() {
    for (distribution, mean, deviation) in
        [(UNIFORM, 1.0, 4.0 / 12.0_f64.sqrt()), (NORMAL, 2.0, 0.5)]
    {
        let values = floats(&make(Element::F32, &[200_000], distribution, 9));
        let n = values.len() as f64;
        let found = values.iter().sum::<f64>() / n;
        let spread = (values.iter().map(|v| (v - found).powi(2)).sum::<f64>() / n).sqrt();
        assert!((found - mean).abs() < 5.0 * deviation / n.sqrt(), "{found}");
        assert!((spread / deviation - 1.0).abs() < 0.01, "{spread}");
    }
    let values = floats(&make(
        Element::F16,
        &[100_000],
        Distribution::Uniform {
            low: 0.0,
            high: 1.0,
        },
        1,
    ));
    assert!(
        values.iter().all(|v| (0.0..=1.0).contains(v)),
        "f16 may round up to the end"
    );
}

#[test]
fn known_numbers() {
    // Philox with key 0 and counter 0 begins 6627e8d5 e169c58d; with stream 5 it differs.
    let spec = Spec::new(Element::F32, [4]).unwrap();
    let distribution = Distribution::Uniform {
        low: 0.0,
        high: 1.0,
    };
    let random = Random {
        spec,
        distribution,
        seed: 0,
        stream: 0,
    };
    let found = floats(&run(&Op::Random(random), &[]));
    let words = [0x6627_e8d5_u32, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
    let want: Vec<f64> = words
        .iter()
        .map(|w| f64::from(w >> 8) / 16_777_216.0)
        .collect();
    assert_eq!(found, want);
    assert_ne!(floats(&make(Element::F32, &[4], distribution, 0)), want);
}

proptest! {
    #[test]
    fn a_longer_tensor_begins_with_a_shorter_one(short in 0..3000_u32, more in 0..3000_u32, seed in any::<u64>()) {
        for distribution in [UNIFORM, NORMAL] {
            let a = make(Element::F32, &[short], distribution, seed);
            let b = make(Element::F32, &[short + more], distribution, seed);
            prop_assert_eq!(a.data(), &b.data().slice(..a.data().len()));
        }
        let Distribution::Uniform { low, high } = UNIFORM else { unreachable!() };
        let values = floats(&make(Element::F32, &[short], UNIFORM, seed));
        prop_assert!(values.iter().all(|v| (f64::from(low)..f64::from(high)).contains(v)));
    }
}
