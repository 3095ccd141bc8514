//! Receipts and channels by id.

use std::sync::Arc;

use alloy_primitives::B256;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use rialto_channels::ChannelId;
use serde_json::json;

use crate::gateway::Gateway;
use crate::market::Purchase;
use crate::problem::{ErrorCode, Problem};
use crate::record::{ChannelRecord, ReceiptRecord};
use crate::routes::refusal;

pub(crate) async fn receipt(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_in("receipt", &id)?;
    let receipt = gateway.node.receipt(id).await.map_err(refusal::problem)?;
    let receipt = receipt.ok_or_else(|| {
        Problem::new(ErrorCode::ReceiptUnknown, "no receipt has this id")
            .hint("the RIALTO-RECEIPT header of a paid answer has its `id`")
    })?;
    let mut response = Json(ReceiptRecord::from(&receipt)).into_response();
    // A receipt never changes, and its id is not guessed.
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000, immutable"),
    );
    Ok(response)
}

/// `GET /receipts/{id}/below`: the receipts of the calls that this one's service made for it.
pub(crate) async fn below(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_in("receipt", &id)?;
    let below = gateway.node.receipts_below(id).await;
    let below = below.map_err(refusal::problem)?;
    let receipts: Vec<ReceiptRecord> = below.iter().map(ReceiptRecord::from).collect();
    let bought = gateway.node.proof_of_purchase(id).await;
    let bought = bought.map_err(refusal::problem)?;
    let bought = bought.and_then(|proof| serde_json::from_slice::<Purchase>(&proof).ok());
    let mut below = json!({ "parent": id, "receipts": receipts });
    if let Some(bought) = bought {
        below["bought"] = json!(bought);
    }
    let mut response = Json(below).into_response();
    // A call that is still running makes more.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(crate) async fn channel(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_in("channel", &id)?;
    let found = gateway.node.find_channel(ChannelId(id)).await;
    let view = found.map_err(refusal::problem)?.ok_or_else(|| {
        Problem::new(
            ErrorCode::ChannelUnknown,
            "this host knows no channel of this id",
        )
        .hint("a channel is known from its first payment to this host on")
    })?;
    let mut response = Json(ChannelRecord::from(&view)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn id_in(what: &str, text: &str) -> Result<B256, Problem> {
    // `parse` would take a second prefix.
    let digits = text
        .strip_prefix("0x")
        .filter(|digits| !digits.starts_with("0x"))
        .unwrap_or_default();
    digits.parse().map_err(|_| {
        Problem::new(
            ErrorCode::IdMalformed,
            format!("a {what}'s id is 0x and 64 hexadecimal digits"),
        )
        .hint(format!("GET /{what}s/0x…"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_whole_words() {
        let id = format!("0x{}", "ab".repeat(32));
        assert_eq!(id_in("receipt", &id).unwrap(), B256::repeat_byte(0xab));
        let long = format!("{id}00");
        let twice = format!("0x0x{}", "ab".repeat(31));
        for bad in ["", "0x", "ab", "0xzz", &long, &twice, &id[2..]] {
            let code = id_in("receipt", bad).unwrap_err().code();
            assert_eq!(code, ErrorCode::IdMalformed, "{bad}");
        }
    }
}
