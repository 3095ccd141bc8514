//! An answer item by item: a message on its progress for each, and at last the result.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::result::value;
use super::{Era, Told, as_text};
use crate::routes::json_rpc;
use crate::routes::openai::feed::{COMMENT, KEEP_ALIVE};
use crate::routes::streams::{as_events, event};

/// Whoever goes away cancels the call. Comments keep the connection alive while the service thinks.
pub(super) fn events(
    told: BoxStream<'static, Told>,
    token: Value,
    id: Value,
    era: Era,
) -> Response {
    let state = Some((told, 0_u64));
    let messages = stream::unfold(state, move |state| {
        let (token, id) = (token.clone(), id.clone());
        async move {
            let (mut told, items) = state?;
            let Ok(part) = timeout(KEEP_ALIVE, told.next()).await else {
                return Some((Bytes::from_static(COMMENT), Some((told, items))));
            };
            Some(match part? {
                Told::Item(item) => {
                    let items = items.saturating_add(1);
                    (progress(&token, items, &item), Some((told, items)))
                }
                Told::Result(result) => {
                    let result = json_rpc::result(&id, &era.complete(result));
                    (event("message", result.to_string().as_bytes()), None)
                }
            })
        }
    });
    as_events(Body::from_stream(messages.map(Ok::<Bytes, Infallible>)))
}

fn progress(token: &Value, items: u64, item: &[u8]) -> Bytes {
    let message = json!({
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": { "progressToken": token, "progress": items, "message": as_text(&value(item)) },
    });
    event("message", message.to_string().as_bytes())
}
