//! A name for everything that decides a result's bits.
//!
//! Engines choose their kernels by the processor's features when a process starts: with the same
//! engine, model, threads and features, equal inputs give equal bits.

/// Names what `parts` say, the model in `file`, and this processor's instruction set.
pub(crate) fn of(parts: &[&str], file: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rialto 2026 model fingerprint v1");
    let model = blake3::hash(file).to_hex();
    let features = features();
    let common = [std::env::consts::ARCH, &features, model.as_str()];
    for part in parts.iter().chain(&common) {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(target_arch = "x86_64")]
fn features() -> String {
    let known = [
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    join(&known)
}

#[cfg(target_arch = "aarch64")]
fn features() -> String {
    use std::arch::is_aarch64_feature_detected;
    let known = [
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ];
    join(&known)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> String {
    String::new()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn join(known: &[(&str, bool)]) -> String {
    let present: Vec<&str> = known
        .iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| *name)
        .collect();
    present.join("+")
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_model_has_another_fingerprint() {
        let one = super::of(&["engine", "cpu"], b"one");
        assert_eq!(one.len(), 64);
        assert_eq!(one, super::of(&["engine", "cpu"], b"one"));
        assert_ne!(one, super::of(&["engine", "cpu"], b"two"));
    }
}
