//! Files of our own, of others, and of nobody's good will.

use alloy_primitives::U256;
use proptest::prelude::*;

use super::*;
use crate::erc8004::Registries;

const REGISTRY: &str = "eip155:8453:0x8004A169FB4a3325136EB29fA0ceB6D2e539a432";

fn agent_of(token: U256) -> AgentId {
    Registries::canonical(8_453).unwrap().agent(token)
}

fn embed() -> Registration {
    Registration {
        name: "embed".to_owned(),
        description: "Sentences to vectors".to_owned(),
        image: Some("https://e.example/e.png".to_owned()),
        services: vec![
            Service {
                name: "MCP".to_owned(),
                endpoint: "https://e.example/mcp".to_owned(),
                version: Some("2025-06-18".to_owned()),
            },
            Service {
                name: "web".to_owned(),
                endpoint: "https://e.example".to_owned(),
                version: None,
            },
        ],
        x402: true,
        active: true,
        registrations: vec![agent_of(U256::from(22))],
        trust: vec!["reputation".to_owned()],
    }
}

fn read(file: &Value) -> Registration {
    Registration::read(file.to_string().as_bytes()).unwrap()
}

#[test]
fn a_file_has_the_form_of_the_standard() {
    let expected = json!({
        "type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1",
        "name": "embed",
        "description": "Sentences to vectors",
        "image": "https://e.example/e.png",
        "services": [
            {"name": "MCP", "endpoint": "https://e.example/mcp", "version": "2025-06-18"},
            {"name": "web", "endpoint": "https://e.example"},
        ],
        "x402Support": true,
        "active": true,
        "registrations": [{"agentId": 22, "agentRegistry": REGISTRY}],
        "supportedTrust": ["reputation"],
    });
    assert_eq!(embed().to_value(), expected);
    assert_eq!(read(&expected), embed());
}

#[test]
fn older_files_are_read() {
    let older = json!({
        "name": "embed", "description": "", "x402support": true,
        "endpoints": [{"name": "A2A", "endpoint": "https://e.example/a2a", "version": "0.3.0"}],
        "registrations": [{"agentId": "22", "agentRegistry": REGISTRY}],
    });
    let found = read(&older);
    assert!(found.x402 && !found.active);
    assert_eq!(found.services[0].name, "A2A");
    assert_eq!(found.registrations, [agent_of(U256::from(22))]);
    // The newer field counts where both are.
    let both = json!({"services": [], "endpoints": [{"name": "A2A", "endpoint": "x"}]});
    assert_eq!(read(&both).services, []);
}

#[test]
fn what_has_another_shape_counts_as_absent() {
    let odd = json!({
        "name": 7, "description": ["x"], "image": {}, "services": "web", "x402Support": "yes",
        "active": 1, "supportedTrust": [1, "reputation", ""],
        "registrations": [
            {"agentId": -1, "agentRegistry": REGISTRY}, {"agentId": 1.5, "agentRegistry": REGISTRY},
            {"agentId": 1}, 7, {"agentId": "0x1", "agentRegistry": REGISTRY},
            {"agentId": 1, "agentRegistry": "solana:1:x"}, {"agentId": "1:2", "agentRegistry": "eip155:1"},
        ],
    });
    let expected = Registration {
        trust: vec!["reputation".to_owned()],
        ..Registration::default()
    };
    assert_eq!(read(&odd), expected);
    let nameless =
        json!({"services": [{"endpoint": "x"}, {"name": "web"}, {"name": "web", "endpoint": 7}]});
    assert_eq!(read(&nameless).services, []);
}

#[test]
fn what_is_too_much_is_left_out() {
    let service = json!({"name": "web", "endpoint": "https://e.example"});
    let registration = json!({"agentId": 1, "agentRegistry": REGISTRY});
    let found = read(&json!({
        "name": "\u{e9}".repeat(WORD_BYTES_MAX),
        "description": "\u{1b}[2Jhello",
        "services": vec![service; SERVICES_MAX + 1],
        "registrations": vec![registration; REGISTRATIONS_MAX + 1],
        "supportedTrust": vec!["reputation"; TRUST_MAX + 1],
    }));
    assert_eq!(found.name.len(), WORD_BYTES_MAX);
    assert_eq!(found.description, "[2Jhello");
    assert_eq!(found.services.len(), SERVICES_MAX);
    assert_eq!(found.registrations.len(), REGISTRATIONS_MAX);
    assert_eq!(found.trust.len(), TRUST_MAX);
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let found = read(&json!({"image": long, "services": [{"name": "web", "endpoint": long}]}));
    assert_eq!(found, Registration::default());
}

#[test]
fn no_file_is_refused_with_a_reason() {
    let read = Registration::read;
    for bytes in [&b""[..], b"[]", b"null", b"{", b"\xff{}"] {
        assert!(matches!(read(bytes), Err(RegistrationError::Form(_))));
    }
    let deep = [b"{\"a\":".repeat(1_000), b"1".to_vec()].concat();
    assert!(matches!(read(&deep), Err(RegistrationError::Form(_))));
    let mut fits = b"{}".to_vec();
    fits.resize(REGISTRATION_BYTES_MAX, b' ');
    assert_eq!(read(&fits), Ok(Registration::default()));
    fits.push(b' ');
    let long = RegistrationError::TooLong(REGISTRATION_BYTES_MAX + 1);
    assert_eq!(read(&fits), Err(long));
}

#[test]
fn files_travel_in_uris() {
    let uri = embed().to_data_uri();
    assert!(uri.starts_with("data:application/json;base64,"));
    assert_eq!(Registration::from_data_uri(&uri), Ok(embed()));
    let with_charset = uri.replace(";base64", ";charset=utf-8;base64");
    assert_eq!(Registration::from_data_uri(&with_charset), Ok(embed()));
    for other in [
        "https://e.example/a.json",
        "data:application/json,{}",
        "data:text/plain;base64,e30=",
        "data:application/jsonx;base64,e30=",
        "data:application/json;base64,e30",
        "data:application/json;base64,***",
        "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9},",
        "",
    ] {
        let found = Registration::from_data_uri(other);
        assert_eq!(found, Err(RegistrationError::DataUri), "{other}");
    }
    let long = format!("{DATA_URI}{}", "A".repeat(2 * REGISTRATION_BYTES_MAX));
    let found = Registration::from_data_uri(&long);
    assert!(matches!(found, Err(RegistrationError::TooLong(_))));
}

proptest! {
    #[test]
    fn every_agent_survives(token: [u8; 32]) {
        let token = U256::from_be_bytes(token);
        for token in [token, token >> 200, token >> 192] {
            let file = Registration { registrations: vec![agent_of(token)], ..embed() };
            prop_assert_eq!(read(&file.to_value()), file);
        }
    }

    #[test]
    fn any_json_is_read_within_bounds(text in "\\PC{0,40}", number: i64, flag: bool) {
        let values = [json!(text), json!(number), json!(flag), json!([text]), json!({"name": text})];
        for value in &values {
            let mut file = Map::new();
            for field in ["name", "description", "image", "services", "endpoints", "x402Support",
                "active", "registrations", "supportedTrust"] {
                file.insert(field.to_owned(), value.clone());
            }
            let found = read(&Value::Object(file));
            prop_assert!(found.name.len() <= WORD_BYTES_MAX);
            prop_assert_eq!(read(&found.to_value()), found);
        }
    }
}
