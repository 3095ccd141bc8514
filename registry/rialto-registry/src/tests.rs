//! Manifests as authors write them, right and wrong.

use proptest::prelude::*;
use rialto_channels::Amount;

use crate::{Callees, Grants, Limits, Manifest, ManifestErrors, RawManifest, Source, WasiGroup};

const DIGEST: &str = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c";

const GOOD: &str = r#"
name = "filetype"
version = "0.1.0"
description = "What kind of file are these bytes?"
license = "Apache-2.0"
[grants]
tensor = true
log = true
wasi = ["cli", "io"]
[[models]]
name = "magika"
sha256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
source = { wheel = "magika==1.0.3", path = "magika/models/standard_v3_3/model.onnx" }
[limits]
time_ms_max = 500
[prices.identify]
call = "100"
per_input_kib = 1
[prices.explain_all]
call = "340282366920938463463374607431768211455"
"#;

fn parse(text: &str) -> Result<Manifest, ManifestErrors> {
    Manifest::try_from(toml::from_str::<RawManifest>(text).expect("decodes"))
}

fn fields(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .0
        .into_iter()
        .map(|problem| problem.field)
        .collect()
}

#[test]
fn settings_and_secrets_grant_what_reads_them() {
    let grants = |rest: &str| {
        let text = format!("{}\n{rest}", GOOD.replace("log = true", ""));
        let manifest = parse(&text).unwrap();
        (manifest.grants().config, manifest.config().len())
    };
    assert_eq!(grants(""), (false, 0));
    assert_eq!(grants("[config]"), (true, 0));
    assert_eq!(grants("[config]\ngreeting = \"hello\""), (true, 1));
    let secret = GOOD.replace("log = true", "secrets = [\"api-key\"]");
    let manifest = parse(&secret).unwrap();
    assert!(manifest.grants().config && manifest.grants().secrets.contains("api-key"));
    assert!(!manifest.deterministic());
    let both = format!("{secret}\n[config]\napi-key = \"shown to everybody\"");
    assert_eq!(fields(&both), ["grants.secrets[0]"]);
    let text = GOOD.replace("[grants]", "deterministic = true\n[grants]");
    assert!(parse(&text).unwrap().deterministic());
}

#[test]
fn a_good_manifest_is_understood() {
    let manifest = parse(GOOD).unwrap();
    assert_eq!(manifest.name().as_str(), "filetype");
    assert_eq!(manifest.version().to_string(), "0.1.0");
    assert_eq!(
        *manifest.grants(),
        Grants {
            tensor: true,
            context: false,
            log: true,
            http: None,
            key_value: false,
            config: false,
            secrets: [].into(),
            calls: None,
            wasi: [WasiGroup::Cli, WasiGroup::Io].into(),
        }
    );
    assert_eq!(
        *manifest.limits(),
        Limits {
            time_ms_max: 500,
            ..Limits::DEFAULT
        }
    );
    let model = manifest.model("magika").unwrap();
    assert_eq!(model.digest.to_string(), DIGEST);
    assert!(matches!(&model.source, Some(Source::Wheel(w)) if w.requirement() == "magika==1.0.3"));
    assert!(manifest.model("other").is_none());
    let price = manifest.price(&"identify".parse().unwrap()).unwrap();
    assert_eq!(
        (price.call, price.per_input_kib),
        (Amount::new(100), Amount::new(1))
    );
    let price = manifest.price(&"explain-all".parse().unwrap()).unwrap();
    assert_eq!(
        (price.call, price.per_input_kib),
        (Amount::new(u128::MAX), Amount::ZERO)
    );
    assert!(manifest.price(&"free".parse().unwrap()).is_none());
}

#[test]
fn a_model_may_come_from_anywhere_or_from_peers() {
    let wheel = r#"{ wheel = "magika==1.0.3", path = "magika/models/standard_v3_3/model.onnx" }"#;
    let source = |text: &str| {
        parse(&GOOD.replace(wheel, text)).unwrap().models()[0]
            .source
            .clone()
    };
    for (text, expected) in [
        (
            r#"{ oci = "registry.example/team/m:1" }"#,
            "oci://registry.example/team/m:1",
        ),
        (r#"{ url = "s3://models/m.onnx" }"#, "s3://models/m.onnx"),
        (
            r#"{ url = "hf://owner/name@v1/m.onnx" }"#,
            "hf://owner/name@v1/m.onnx",
        ),
        (
            r#"{ url = "https://models.example/m" }"#,
            "https://models.example/m",
        ),
    ] {
        assert_eq!(source(text).unwrap().to_string(), expected);
    }
    let without = GOOD.replace(&format!("source = {wheel}"), "");
    assert_eq!(parse(&without).unwrap().models()[0].source, None);
    for bad in [
        r#"{ oci = "registry.example/team/m" }"#,
        r#"{ oci = "registry.example/m:1", url = "https://models.example/m" }"#,
        r#"{ url = "s3://models" }"#,
        r#"{ url = "file:///etc/passwd" }"#,
        "{ }",
    ] {
        assert_eq!(
            fields(&GOOD.replace(wheel, bad)),
            ["models[0].source"],
            "{bad}"
        );
    }
}

#[test]
fn origins_are_checked_one_by_one() {
    let http = |list: &str| GOOD.replace("tensor = true", &format!("tensor = true\nhttp = {list}"));
    let granted = |list: &str| parse(&http(list)).unwrap().grants().http.clone().unwrap();
    assert!(granted("[]").is_empty());
    let origins = granted(r#"["https://a.example", "http://*.b.example:8080"]"#);
    let texts: Vec<String> = origins.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["https://a.example", "http://*.b.example:8080"]);
    let bad = http(r#"["a.example", "https://b.example/path", "https://c.example"]"#);
    assert_eq!(fields(&bad), ["grants.http[0]", "grants.http[1]"]);
}

#[test]
fn texts_that_people_read_hide_nothing() {
    for hidden in ["\\u001b[31m", "\\u0000", "\\u0085", "\\u202e", "\\u2066"] {
        let text = GOOD.replace("these bytes?", &format!("these {hidden} bytes?"));
        assert_eq!(fields(&text), ["description"], "{hidden}");
        let text = GOOD.replace("Apache-2.0", &format!("MIT{hidden}X"));
        assert_eq!(fields(&text), ["license"], "{hidden}");
    }
    let visible = GOOD.replace("What kind", "Welche Art \u{00fc} \u{6587}\u{4ef6} \u{0645}");
    assert!(parse(&visible).is_ok());
}

#[test]
fn calls_of_other_services_are_granted_by_name_and_kept_money_for() {
    let granted = |line: &str| GOOD.replace("[grants]", &format!("[grants]\n{line}"));
    let spending = |text: &str| text.replace("per_input_kib = 1\n", "spend_max = \"500\"\n");
    let some = parse(&spending(&granted("calls = [\"embed\", \"ocr\"]"))).unwrap();
    let callees = some.grants().calls.clone().unwrap();
    assert!(callees.contains(&"embed".parse().unwrap()));
    assert!(!callees.contains(&"chat".parse().unwrap()));
    let price = some.price(&"identify".parse().unwrap()).unwrap();
    assert_eq!(price.spend_max, Amount::new(500));
    let all = parse(&granted("calls = [\"*\"]")).unwrap();
    assert_eq!(all.grants().calls, Some(Callees::All));
    assert_eq!(
        fields(&granted("calls = [\"No Name\"]")),
        ["grants.calls[0]"]
    );
    assert_eq!(fields(&spending(GOOD)), ["grants.calls"]);
}

#[test]
fn a_metered_price_list_is_understood() {
    let priced = GOOD.replace(
        "per_input_kib = 1\n",
        "per_output_kib = 2\nper_guest_ms = \"3\"\nper_host_ms = 4\nper_tensor_run = 5\nper_device_ms = 6\n\
         per_giga_multiply_adds = 7\nper_moved_mib = 8\nper_token_read = 9\nper_token_written = 10\n\
         max = 9000\n",
    );
    let manifest = parse(&priced).unwrap();
    let price = manifest.price(&"identify".parse().unwrap()).unwrap();
    let parts = [
        price.per_input_kib,
        price.per_output_kib,
        price.per_guest_ms,
        price.per_host_ms,
        price.per_tensor_run,
        price.per_device_ms,
        price.per_giga_multiply_adds,
        price.per_moved_mib,
        price.per_token_read,
        price.per_token_written,
    ];
    assert_eq!(parts.map(Amount::get), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(price.max, Some(Amount::new(9000)));
    assert_eq!(
        price.ceiling(0, &manifest.limits().bounds()),
        Ok(Amount::new(9000))
    );
}

#[test]
fn a_price_that_nothing_bounds_needs_a_maximum() {
    let check = |list: &str, expected: &[&str]| {
        let text = GOOD.replace("call = \"100\"\nper_input_kib = 1\n", list);
        let found = parse(&text).map_or_else(
            |errors| errors.0.into_iter().map(|problem| problem.field).collect(),
            |_| Vec::new(),
        );
        assert_eq!(found, expected, "{list}");
    };
    check("call = 1\nper_tensor_run = 5\n", &["prices.identify.max"]);
    check("call = 1\nper_tensor_run = 5\nmax = 9\n", &[]);
    check(
        "call = 1\nper_token_written = 5\n",
        &["prices.identify.max"],
    );
    check("call = 1\nper_device_ms = 5\n", &[]);
    check("call = 10\nmax = 9\n", &["prices.identify.max"]);
    check(
        "call = 0\nper_guest_ms = 1\nmax = 0\n",
        &["prices.identify.max"],
    );
    check(
        "call = 0\nper_input_kib = \"340282366920938463463374607431768211455\"\n",
        &["prices.identify.max"],
    );
    check(
        "call = 0\nper_guest_ms = -1\nper_host_ms = \"x\"\nmax = \"1.5\"\n",
        &[
            "prices.identify.per_guest_ms",
            "prices.identify.per_host_ms",
            "prices.identify.max",
        ],
    );
}

#[test]
fn an_empty_manifest_names_every_missing_field() {
    assert_eq!(fields(""), ["name", "version", "description", "license"]);
}

#[test]
fn every_problem_is_reported_at_once() {
    let bad = r#"
        name = "File Type"
        version = "1"
        description = "  "
        license = "Apache-2.0"
        [grants]
        wasi = ["io", "sockets"]
        [[models]]
        name = "m"
        sha256 = "12"
        source = { file = "m.onnx", url = "https://x.example/m" }
        [[models]]
        sha256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
        source = { wheel = "magika", path = "m.onnx" }
        [[models]]
        name = "ok"
        sha256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
        source = { file = "a" }
        [[models]]
        name = "ok"
        sha256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
        source = { url = "https://x.example/m" }
        [limits]
        memory_bytes_max = 0
        time_ms_max = -1
        output_bytes_max = 1099511627776
        outputs_max = 1
        [prices.Identify]
        call = -1
        [prices.a]
        per_input_kib = "1.5"
        [prices.a-b]
        call = 1
        [prices.a_b]
        call = 2
    "#;
    assert_eq!(
        fields(bad),
        [
            "name",
            "version",
            "description",
            "models[0].sha256",
            "models[0].source",
            "models[1].name",
            "models[1].source",
            "models[3].name",
            "grants.tensor",
            "grants.wasi[1]",
            "limits.memory_bytes_max",
            "limits.output_bytes_max",
            "limits.outputs_max",
            "limits.time_ms_max",
            "prices.Identify",
            "prices.Identify.call",
            "prices.a.call",
            "prices.a.per_input_kib",
            "prices.a_b",
        ]
    );
    let text = parse(bad).unwrap_err().to_string();
    assert!(
        text.starts_with("19 problems:\n  - `name` = \"File Type\": starts with 'F'"),
        "{text}"
    );
    assert!(
        text.contains("; write a semantic version such as `0.1.0`"),
        "{text}"
    );
}

#[test]
fn a_royalty_names_an_account_and_a_share() {
    assert_eq!(parse(GOOD).unwrap().royalty(), None);
    let table = |account: &str, share: &str| {
        format!("{GOOD}[royalty]\naccount = \"{account}\"\nshare = \"{share}\"\n")
    };
    let account = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let royalty = *parse(&table(account, "2.5%")).unwrap().royalty().unwrap();
    assert_eq!(royalty.publisher.to_checksum(None), account);
    assert_eq!(royalty.share.bps(), 250);
    for (text, expected) in [
        (
            table("0x12", "60%"),
            vec!["royalty.account", "royalty.share"],
        ),
        (table(account, "500"), vec!["royalty.share"]),
        (table(account, "0%"), vec!["royalty.share"]),
        (
            format!("{GOOD}[royalty]\n"),
            vec!["royalty.account", "royalty.share"],
        ),
    ] {
        assert_eq!(fields(&text), expected, "{text}");
    }
    let error = parse(&table(account, "51%")).unwrap_err().to_string();
    assert_eq!(
        error,
        "`royalty.share` = \"51%\": is not within 0.01% to 50%; write its share of what the \
         service earns, 0.01% to 50%, such as `5%`"
    );
}

#[test]
fn one_problem_reads_as_a_sentence() {
    let error = parse(&GOOD.replace("tensor = true", ""))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "`grants.tensor` is not granted, yet models are listed; write `tensor = true`"
    );
}

#[test]
fn unknown_keys_are_refused() {
    for (good, bad) in [
        ("license =", "licence ="),
        ("tensor =", "tensors ="),
        ("sha256 =", "sha512 ="),
        ("path =", "file_path ="),
        ("per_input_kib =", "per_kib ="),
        ("[prices.identify]", "[royalties]\n[prices.identify]"),
    ] {
        let text = GOOD.replace(good, bad);
        let error = toml::from_str::<RawManifest>(&text)
            .expect_err(bad)
            .to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
    let unknown = GOOD.replace("time_ms_max =", "time_max =");
    let error = parse(&unknown).unwrap_err().to_string();
    assert!(error.contains("`limits.time_max` is no limit"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_a_manifest_or_an_error(
        name in "\\PC{0,12}", version in "\\PC{0,12}", sha256 in "\\PC{0,70}",
        wheel in "\\PC{0,20}", path in "\\PC{0,20}", limit: i64, price in "\\PC{0,40}",
    ) {
        let mut raw: RawManifest = toml::from_str(GOOD).unwrap();
        raw.name = Some(name);
        raw.version = Some(version);
        raw.models[0].sha256 = Some(sha256);
        raw.models[0].source = Some(crate::raw::RawSource {
            wheel: Some(wheel), path: Some(path), ..Default::default()
        });
        raw.limits.0.insert("memory_bytes_max".to_owned(), limit);
        raw.prices.get_mut("identify").unwrap().call = Some(crate::raw::RawAmount::Text(price));
        if let Err(errors) = Manifest::try_from(raw) {
            prop_assert!(!errors.0.is_empty());
        }
    }
}
