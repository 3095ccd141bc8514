//! Settings, secrets and determinism of a whole node: who is told what, and what receipts say of it.

use std::path::Path;

use bytes::Bytes;
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, Payment, SecretSource, ServiceCallError,
    ServiceSettings,
};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};

use crate::world::World;

const SECRET: &str = "sk-live-0123456789";

fn install(services: &Path, name: &str, before: &str, grants: &str) {
    let dir = services.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let guest = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = guest.join("ambient/component.wasm");
    std::fs::copy(component, dir.join("component.wasm")).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"Looks around.\"\n\
         license = \"Apache-2.0\"\n{before}\n[grants]\nlog = true\ncontext = true\n{grants}\n\
         wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
         [config]\ngreeting = \"hello\"\n\
         [prices.chance]\ncall = \"100\"\n[prices.setting]\ncall = \"100\"\n"
    );
    std::fs::write(dir.join("service.toml"), manifest).unwrap();
}

async fn call(
    world: &World,
    service: &str,
    method: &str,
    arguments: Value,
    nonce: Option<u8>,
) -> Result<CallOutcome, CallError> {
    let payment = match nonce {
        Some(nonce) => Payment::Exact(Box::new(world.transfer(nonce).await)),
        None => Payment::None,
    };
    let request = CallRequest {
        service: service.to_owned(),
        method: method.to_owned(),
        arguments: Arguments::Json(Bytes::from(arguments.to_string())),
        body_digest: rand::random(),
        body_bytes: 20,
        price_max: rialto_channels::Amount::new(u128::MAX),
        payment,
        lineage: rialto_node::Lineage::default(),
    };
    world.node.call(request).await
}

/// The answer of a paid call, and whether its receipt calls it deterministic.
async fn paid(
    world: &World,
    service: &str,
    method: &str,
    arguments: Value,
    nonce: u8,
) -> (Value, bool) {
    let outcome = call(world, service, method, arguments, Some(nonce)).await;
    let outcome = outcome.unwrap();
    let receipt = outcome.receipt.unwrap().receipt;
    let answer = serde_json::from_slice(&outcome.body).unwrap();
    (answer, receipt.deterministic)
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_say_deterministic_where_equal_calls_are_equal() {
    let world = World::start(|config| {
        install(&config.services_dir, "steady", "deterministic = true", "");
        install(&config.services_dir, "open", "", "");
    })
    .await;
    let salt = |salt: u32| json!({ "salt": salt });
    let one = paid(&world, "steady", "chance", salt(1), 1).await;
    assert!(one.1, "{one:?}");
    assert_eq!(one, paid(&world, "steady", "chance", salt(1), 2).await);
    assert_ne!(one.0, paid(&world, "steady", "chance", salt(2), 3).await.0);
    let one = paid(&world, "open", "chance", salt(1), 4).await;
    assert!(!one.1, "{one:?}");
    assert_ne!(one.0, paid(&world, "open", "chance", salt(1), 5).await.0);
    // For the whole host.
    let world = world
        .reconfigured(|config| config.engines.deterministic = true)
        .await;
    let one = paid(&world, "open", "chance", salt(1), 6).await;
    assert_eq!(one, paid(&world, "open", "chance", salt(1), 7).await);
    assert!(one.1, "{one:?}");
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_told_what_its_manifest_names_and_the_operator_sets() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("api-key");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let secrets = "secrets = [\"api-key\"]";
    let world = World::start(|config| {
        install(
            &config.services_dir,
            "told",
            "deterministic = true",
            secrets,
        );
        install(&config.services_dir, "untold", "", secrets);
        let settings = ServiceSettings {
            config: [("greeting".to_owned(), "hi".to_owned())].into(),
            secrets: [("api-key".to_owned(), SecretSource::File(file.clone()))].into(),
            isolation: None,
            calls_max: None,
            queue_max: None,
        };
        config.sandbox.settings.insert("told".to_owned(), settings);
        let shown = config.effective();
        assert!(shown.contains(&file.display().to_string()), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
    })
    .await;
    let named = |name: &str| json!({ "name": name });
    let greeting = paid(&world, "told", "setting", named("greeting"), 1).await;
    assert_eq!(greeting, (json!("hi"), false), "others set something else");
    let secret = paid(&world, "told", "setting", named("api-key"), 2).await;
    assert_eq!(secret.0, SECRET);
    let tell = json!({ "name": "api-key", "how": "refuse" });
    let refused = call(&world, "told", "tell", tell, None).await.unwrap_err();
    let CallError::Service(ServiceCallError::Refused { error }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error, &br#"["it is","[secret]"]"#[..]);
    // Without its secret a service does not run, and the others do.
    let missing = call(&world, "untold", "settings", json!({}), None).await;
    assert!(
        matches!(missing, Err(CallError::UnknownService { .. })),
        "{missing:?}"
    );
    world.node.shutdown().await;
}
