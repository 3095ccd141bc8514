//! Compiled components survive a restart, and damage is noticed.

use std::fs;
use std::path::PathBuf;

use super::*;

fn compiled(fixture: &Fixture) -> PathBuf {
    let mut files = fs::read_dir(fixture.dir.path().join("cache")).unwrap();
    let found = files.find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension()
            .is_some_and(|ext| ext == "compiled")
            .then_some(path)
    });
    found.unwrap()
}

fn restart(fixture: &Fixture) -> Host {
    let mut config = Config::new(fixture.dir.path().join("cache"));
    config.cells = Some(cells());
    Host::new(config).unwrap()
}

#[tokio::test]
async fn a_restarted_host_loads_the_compiled_code() {
    let fixture = Fixture::new();
    still_serves(&fixture.load(guests::HOSTILE, Grants::default(), patient())).await;
    let file = compiled(&fixture);
    let written = fs::metadata(&file).unwrap();
    let host = restart(&fixture);
    let component = guests::component(guests::HOSTILE).unwrap();
    let spec = spec(Grants::default(), patient());
    let service = host.load(&component, spec, Arc::new(NoModels)).unwrap();
    still_serves(&service).await;
    // Same file, not written again: a new one would have a new inode.
    let inode = std::os::unix::fs::MetadataExt::ino;
    assert_eq!(inode(&fs::metadata(&file).unwrap()), inode(&written));
}

#[tokio::test]
async fn damaged_code_is_never_run_but_compiled_again() {
    let fixture = Fixture::new();
    drop(fixture.load(guests::HOSTILE, Grants::default(), patient()));
    let file = compiled(&fixture);
    let sound = fs::read(&file).unwrap();
    let mut bad = sound.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    fs::write(&file, &bad).unwrap();
    let host = restart(&fixture);
    let component = guests::component(guests::HOSTILE).unwrap();
    let spec = spec(Grants::default(), patient());
    let service = host.load(&component, spec, Arc::new(NoModels)).unwrap();
    still_serves(&service).await;
    assert_eq!(fs::read(&file).unwrap().len(), sound.len());
    assert_ne!(fs::read(&file).unwrap(), bad);
}

#[test]
fn a_cache_that_cannot_be_written_is_no_reason_to_fail() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.dir.path().join("cache")).unwrap();
    drop(fixture.load(guests::HOSTILE, Grants::default(), patient()));
}

#[tokio::test]
async fn what_a_component_offers_is_known_without_its_code() {
    for text in [guests::HOSTILE, guests::TYPES] {
        let fixture = Fixture::new();
        let service = fixture.load(text, Grants::default(), patient());
        let digest = service.component_sha256();
        let spec = || spec(Grants::default(), patient());
        let host = restart(&fixture);
        assert!(host.describe([0; 32], &spec()).is_none());
        let known = host.describe(digest, &spec()).unwrap();
        let text = |interface: &rialto_host::Interface| format!("{interface:?}");
        assert_eq!(text(known.interface()), text(service.interface()));
        assert_eq!(known.component_sha256(), digest);
        // Changed behind our back, it is no longer known.
        let mut files = fs::read_dir(fixture.dir.path().join("cache")).unwrap();
        let file = files.find_map(|entry| {
            let path = entry.unwrap().path();
            (path.extension()? == "described").then_some(path)
        });
        let file = file.unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(host.describe(digest, &spec()).is_none());
    }
}

#[tokio::test]
async fn arguments_that_were_checked_without_code_run_with_it_and_with_no_other() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let other = fixture.load(guests::TYPES, Grants::default(), patient());
    let spec = spec(Grants::default(), patient());
    let known = fixture.host.describe(service.component_sha256(), &spec);
    let known = known.unwrap();
    let prepare = || {
        let arguments = Arguments::Json(r#"{"text": "hello"}"#.into());
        known.prepare("echo", arguments).unwrap()
    };
    let outcome = service.call(prepare(), context()).await.unwrap();
    assert_eq!(outcome.body, r#""hello""#);
    let error = other.call(prepare(), context()).await.unwrap_err();
    assert!(matches!(error, CallError::Internal(_)), "{error}");
}
