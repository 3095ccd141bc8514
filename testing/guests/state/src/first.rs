//! `wasi:keyvalue@0.2.0-draft`, as a component for another host uses it.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/wasi-keyvalue/draft",
        world: "wasi:keyvalue/imports",
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store};

fn text(error: store::Error) -> String {
    format!("{error:?}")
}

pub(crate) fn run(keys: u32) -> Result<Vec<String>, String> {
    let bucket = store::open("").map_err(text)?;
    let mut said = Vec::new();
    let names: Vec<String> = (0..keys).map(|number| format!("old-{number:05}")).collect();
    for part in names.chunks(500) {
        let pairs: Vec<_> = part
            .iter()
            .map(|name| (name.clone(), name.clone().into_bytes()))
            .collect();
        batch::set_many(&bucket, &pairs).map_err(text)?;
    }
    let (mut listed, mut cursor) = (0, None);
    loop {
        let page = bucket.list_keys(cursor).map_err(text)?;
        listed += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    said.push(format!("{listed} keys"));
    let asked = [names[0].clone(), "not there".to_owned()];
    let found = batch::get_many(&bucket, &asked).map_err(text)?;
    said.push(format!("{} of 2", found.iter().flatten().count()));
    for part in names.chunks(500) {
        batch::delete_many(&bucket, part).map_err(text)?;
    }
    bucket.set("sum", b"40").map_err(text)?;
    let sum = atomics::increment(&bucket, "sum", 2).map_err(text)?;
    said.push(format!("sum {sum}"));
    let value = bucket.get("sum").map_err(text)?;
    said.push(format!(
        "value {}",
        String::from_utf8_lossy(&value.unwrap_or_default())
    ));
    bucket.set("sum", b"forty").map_err(text)?;
    let error = atomics::increment(&bucket, "sum", 2).map_err(text);
    said.push(format!("{error:?}"));
    bucket.delete("sum").map_err(text)?;
    said.push(format!("exists {}", bucket.exists("sum").map_err(text)?));
    Ok(said)
}
