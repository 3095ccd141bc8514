//! Blocks of every quantised kind and the values that the reference implementation reads from them.

use super::{Element, check};

/// Written by `tests/blocks_oracle.py`.
#[test]
fn every_format_agrees_with_gguf_py() {
    check(Element::Q4_0, [-0.481079, 0.206177, -0.206177, -0.893433]);
    check(Element::Q4_1, [0.991333, 0.510254, 0.716431, 23.131958]);
    check(Element::Q5_0, [0.412354, -0.549805, -1.030884, -3.779907]);
    check(Element::Q5_1, [0.441528, 1.953491, 1.609863, 36.808350]);
    check(Element::Q8_0, [-8.728149, -8.247070, -0.343628, -13.401489]);
    check(Element::Q4K, [9.229980, 8.405273, 21.431396, 2238.991821]);
    check(Element::Q5K, [5.106445, 24.074707, 9.610596, 5683.243286]);
    check(
        Element::Q6K,
        [-78.896973, 138.413330, -0.000000, -3557.305054],
    );
}
