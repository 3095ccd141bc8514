//! A Spin application that keeps keys and values, by Spin's own SDK: it knows nothing of this host.
//!
//! The method and the path say what is done: `PUT`, `GET`, `HEAD` and `DELETE` of `/STORE/KEY`, and `GET` of
//! `/STORE` for its keys.
#![expect(unsafe_code, reason = "what the SDK's macro exports")]

use spin_sdk::http::{IntoResponse, Method, Request, Response};
use spin_sdk::http_component;
use spin_sdk::key_value::{Error, Store};

#[http_component]
fn handle(request: Request) -> impl IntoResponse {
    match kept(&request) {
        Ok(Some(bytes)) => Response::new(200, bytes),
        Ok(None) => Response::new(404, ""),
        Err(Error::NoSuchStore) => Response::new(400, "no such store"),
        Err(Error::Other(text)) => Response::new(409, text),
        Err(error) => Response::new(409, format!("{error:?}")),
    }
}

fn kept(request: &Request) -> Result<Option<Vec<u8>>, Error> {
    let path = request.path().trim_matches('/').to_owned();
    let Some((store, key)) = path.split_once('/') else {
        let keys = Store::open(&path)?.get_keys()?;
        return Ok(Some(keys.join("\n").into_bytes()));
    };
    let store = Store::open(store)?;
    match request.method() {
        Method::Put => store.set(key, request.body()).map(|()| Some(Vec::new())),
        Method::Delete => store.delete(key).map(|()| Some(Vec::new())),
        Method::Head => Ok(store.exists(key)?.then(Vec::new)),
        _ => store.get(key),
    }
}
