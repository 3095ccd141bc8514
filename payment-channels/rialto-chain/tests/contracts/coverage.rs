//! No error and no event goes untested: each one of the ABI is named in these tests.

use std::path::Path;

use alloy::json_abi::JsonAbi;
use serde_json::Value;

#[test]
fn every_error_and_event_is_named_in_a_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    for file in std::fs::read_dir(here.join("tests/contracts")).unwrap() {
        tests += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    for contract in [
        "BatchSettlement",
        "Erc3009DepositCollector",
        "Permit2DepositCollector",
        "DevPermit2",
        "RoyaltySplitter",
        "RoyaltySplitterFactory",
        "IdentityRegistry",
        "ReputationRegistry",
        "DevToken",
    ] {
        let path = here.join(format!("../contracts/artifacts/{contract}.json"));
        let artifact: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
        let names = abi
            .errors()
            .map(|e| &e.name)
            .chain(abi.events().map(|e| &e.name));
        for name in names {
            // These pass other contracts' errors on, which are tested there.
            let named = tests.contains(&format!("{contract}::{name} {{"))
                || tests.contains(&format!("errors::{name} {{"))
                || tests.contains(&format!("events::<{contract}::{name}>"));
            let elsewhere = name == "SafeERC20FailedOperation" && contract != "BatchSettlement"
                || name == "ReentrancyGuardReentrantCall" && contract == "RoyaltySplitter";
            assert!(named || elsewhere, "no test names {contract}::{name}");
        }
    }
}
