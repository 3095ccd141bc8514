//! `wasi:keyvalue@0.2.0-draft2`, as a component for another host uses it.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/wasi-keyvalue/draft2",
        world: "wasi:keyvalue/imports",
    });
}

use bindings::wasi::keyvalue::{atomics, store};

fn text(error: store::Error) -> String {
    format!("{error:?}")
}

pub(crate) fn open(name: &str) -> Result<(), String> {
    store::open(name).map(drop).map_err(text)
}

pub(crate) fn swap_late(key: &str) -> Result<String, String> {
    let bucket = store::open("default").map_err(text)?;
    let noted = atomics::Cas::new(&bucket, key).map_err(text)?;
    bucket.set(key, b"first").map_err(text)?;
    let before = noted.current().map_err(text)?;
    let now = match atomics::swap(noted, b"late") {
        Ok(()) => return Err("it was swapped".to_owned()),
        Err(atomics::CasError::StoreError(error)) => return Err(text(error)),
        Err(atomics::CasError::CasFailed(now)) => now,
    };
    let held = now.current().map_err(text)?.unwrap_or_default();
    atomics::swap(now, b"second").map_err(|_| "it was not swapped")?;
    let after = bucket.get(key).map_err(text)?.unwrap_or_default();
    let [held, after] = [held, after].map(|it| String::from_utf8_lossy(&it).into_owned());
    Ok(format!("{before:?} {held} {after}"))
}

pub(crate) fn hold(key: &str) -> Result<(u32, String), String> {
    let bucket = store::open("default").map_err(text)?;
    let mut notes = Vec::new();
    loop {
        match atomics::Cas::new(&bucket, key) {
            Ok(note) => notes.push(note),
            Err(error) => {
                let count = u32::try_from(notes.len()).unwrap_or(u32::MAX);
                return Ok((count, text(error)));
            }
        }
    }
}
