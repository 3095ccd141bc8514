//! Signed manifests: what signs, what is refused, and that what is signed reads back.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

fn draft() -> Draft {
    Draft {
        manifest: json!({
            "name": "embed",
            "version": "0.1.0",
            "description": "What a text means, as numbers.",
            "license": "Apache-2.0",
            "prices": { "embed": { "call": "120" } },
        }),
        component: Digest::of(b"component"),
        component_bytes: 9,
        component_sources: vec!["https://host.example/embed.wasm".to_owned()],
        interfaces: vec!["rialto:embed/api@0.1.0".to_owned()],
        methods: vec![MethodText {
            name: "embed".to_owned(),
            docs: "Embeds.\n\nMany at once.".to_owned(),
            input: json!({ "type": "object" }),
            output: json!({ "type": "array" }),
        }],
        tags: vec!["text".to_owned()],
        publisher: key().address(),
        registry: "eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e"
            .parse()
            .unwrap(),
    }
}

fn signed(change: impl FnOnce(&mut Draft)) -> Result<SignedManifest, SignedManifestError> {
    let mut draft = draft();
    change(&mut draft);
    SignedManifest::sign(&draft, &key())
}

#[test]
fn what_is_signed_reads_back() {
    let manifest = signed(|_| {}).unwrap();
    let read = SignedManifest::parse(manifest.to_text().as_bytes()).unwrap();
    assert_eq!(read.digest(), manifest.digest());
    assert_eq!(read.digest(), Digest::of(manifest.to_text().as_bytes()));
    assert_eq!(read.name().as_str(), "embed");
    assert_eq!(read.publisher(), key().address());
    assert_eq!(read.component(), Digest::of(b"component"));
    assert_eq!(read.methods(), &draft().methods);
    assert_eq!(read.registry(), draft().registry);
    assert_eq!(read.manifest().prices().len(), 1);
}

#[test]
fn another_signer_and_other_words_are_refused() {
    let refused = |result: Result<SignedManifest, SignedManifestError>| {
        assert!(
            matches!(result, Err(SignedManifestError::Signature { .. })),
            "{result:?}"
        );
    };
    refused(signed(|draft| draft.publisher = Address::repeat_byte(1)));
    let manifest = signed(|_| {}).unwrap();
    let text = manifest.to_text();
    // A text that says the same in other bytes is not the one that is named.
    let spaced = text.replacen(':', ": ", 1);
    let read = SignedManifest::parse(spaced.as_bytes()).unwrap();
    assert_eq!(read.digest(), manifest.digest());
    refused(SignedManifest::parse(text.replace("120", "121").as_bytes()));
    let elsewhere = text.replace("84532", "8453");
    refused(SignedManifest::parse(elsewhere.as_bytes()));
}

#[test]
fn a_wallet_is_asked_for_the_digest_that_typed_data_gives() {
    let payload = draft().payload().unwrap();
    let asked = SignedManifest::to_sign(&payload).unwrap();
    let joined = SignedManifest::check(payload, key().sign(asked.digest)).unwrap();
    assert_eq!(joined.digest(), signed(|_| {}).unwrap().digest());
    assert_eq!(asked.typed_data["message"]["name"], "embed");
    assert_eq!(
        asked.typed_data["message"]["digest"],
        B256::from(Digest::of(draft().payload().unwrap().as_bytes())).to_string()
    );
}

#[test]
fn fields_out_of_their_bounds_are_refused() {
    let check = |field: &str, change: fn(&mut Draft)| {
        let error = signed(change).unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
    };
    check("component.bytes", |d| d.component_bytes = 0);
    check("component.sources", |d| {
        d.component_sources = vec!["file:x".to_owned()]
    });
    check("interfaces", |d| d.interfaces = vec!["a".to_owned(); 33]);
    check("tags", |d| d.tags = vec!["Not A Tag".to_owned()]);
    check("methods", |d| d.methods.clear());
    check("methods", |d| d.methods.push(d.methods[0].clone()));
    check("methods", |d| d.methods[0].docs = "\x1b[2J".to_owned());
    check("lacks `embed`", |d| d.methods[0].name = "other".to_owned());
    check("publisher", |d| d.publisher = Address::ZERO);
    check("version", |d| d.manifest["version"] = json!("one"));
    check("unknown field", |d| d.manifest["more"] = json!(1));
    check("names a file", |d| {
        d.manifest["grants"] = json!({ "tensor": true });
        d.manifest["models"] =
            json!([{ "name": "m", "sha256": "0".repeat(64), "source": { "file": "m.onnx" } }]);
    });
    let long = signed(|d| d.methods[0].input = json!("x".repeat(MANIFEST_BYTES_MAX)));
    assert!(matches!(long, Err(SignedManifestError::TooLong(_))));
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "\\PC{0,200}") {
        prop_assert!(SignedManifest::parse(&bytes).is_err());
        let wire = json!({ "payload": text, "signature": key().sign(B256::ZERO).to_hex() });
        prop_assert!(SignedManifest::parse(wire.to_string().as_bytes()).is_err());
    }
}
