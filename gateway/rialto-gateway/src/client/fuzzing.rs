//! Fuzz targets of the paying client: what a host that means no good may answer. A broken property
//! panics.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rialto_channels::{Amount, SigningKey};
use serde_json::Value;

use super::reading::{self, Correction};
use super::send::Reply;
use super::{Config, PayingClient};
use crate::x402::header::{PAYMENT_REQUIRED, PAYMENT_RESPONSE, decode, encode};
use crate::x402::offer::PaymentRequired;
use crate::x402::settlement::Settlement;

/// The content of a 402: whatever it offers, the client's limits hold, and whatever state it claims,
/// only a whole and proven one is taken up.
pub fn payment_required(data: &[u8]) {
    let Ok(required) = serde_json::from_slice::<PaymentRequired>(data) else {
        drop(decode::<PaymentRequired>(data));
        return;
    };
    if let Ok(quote) = CLIENT.quote_of("service", "method", &required) {
        assert!(quote.price <= Amount::new(PRICE_MAX));
        assert!(quote.price <= quote.ceiling);
        assert!(quote.ceiling <= Amount::new(PRICE_MAX * 100));
        let offer = quote.offer.as_ref();
        assert!(offer.is_some_and(|offer| offer.config.delay_in_range()));
        assert!(offer.is_some_and(|offer| !offer.config.receiver_authorizer.is_zero()));
    }
    let Ok(header) = encode(&required) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(PAYMENT_REQUIRED, header);
    if let Ok(Correction::Resync(corrective, state)) = reading::correction(&reply(headers)) {
        drop(reading::said(&state));
        if let Some(corrective) = corrective {
            let count = reading::cumulative(Some(&state));
            assert_eq!(count.ok().flatten(), Some(corrective.charged));
        }
    }
}

/// A settlement: what is read is what is written again, and a state in it is whole or refused.
pub fn payment_response(data: &[u8]) {
    let Ok(settlement) = serde_json::from_slice::<Settlement>(data) else {
        drop(decode::<Settlement>(data));
        return;
    };
    let again = serde_json::to_value(&settlement).and_then(serde_json::from_value::<Settlement>);
    match again {
        Ok(again) => assert_eq!(again, settlement),
        Err(error) => panic!("our own settlement is refused: {error}"),
    }
    let state = settlement.extra.as_ref();
    let state = state.and_then(|extra| extra.channel_state.as_ref());
    drop(reading::cumulative(state));
    if let Some(view) = state.and_then(|state| reading::said(state).ok()) {
        assert!(view.withdrawal.is_none());
    }
    let Ok(header) = encode(&settlement) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(PAYMENT_RESPONSE, header);
    let reply = reply(headers);
    let read = reading::settlement(&reply);
    let is_whole = serde_json::to_value(&settlement).is_ok_and(|value| is_whole(&value));
    assert!(matches!(read, Ok(Some(read)) if read == settlement || !is_whole));
    drop(reading::receipt(&reply));
}

/// Whether no number in it is a fraction or beyond 64 bits: those are read to the last place but one, and
/// only what others add has any.
fn is_whole(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_whole),
        Value::Object(fields) => fields.values().all(is_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn reply(headers: HeaderMap) -> Reply {
    Reply {
        status: StatusCode::PAYMENT_REQUIRED,
        headers,
        body: Bytes::from(Value::Null.to_string()),
        items: None,
        broke_off: None,
    }
}

static CLIENT: LazyLock<PayingClient> = LazyLock::new(|| {
    let mut config = Config::new("http://127.0.0.1:1/");
    config.price_max = Amount::new(PRICE_MAX);
    let key = SigningKey::from_bytes(&[5; 32]);
    let client = key.map(|key| PayingClient::new(config, key));
    match client {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => panic!("no client: {error}"),
        Err(error) => panic!("no key: {error}"),
    }
});

const PRICE_MAX: u128 = 1_000;
