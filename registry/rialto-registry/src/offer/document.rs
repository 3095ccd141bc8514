//! An offer's JSON: fields and their bounds.
//!
//! Unknown fields are passed over, so that later releases may say more.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use rialto_channels::{Amount, Signature};
use serde::{Deserialize, Serialize};

use super::{OFFER_SECS_MAX, Offer, OfferError, Payee};

#[derive(Serialize, Deserialize)]
struct Document {
    service: String,
    manifest: String,
    version: String,
    registry: String,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default)]
    hardware: Vec<String>,
    prices: BTreeMap<String, String>,
    payee: PayeeDocument,
    #[serde(default)]
    gateways: Vec<String>,
    #[serde(default)]
    addresses: Vec<String>,
    capacity: u32,
    load: u16,
    seq: u64,
    issued: u64,
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct PayeeDocument {
    chain_id: u64,
    token: Address,
    payout: Address,
    receiver: Address,
    host: Address,
    /// The host's signature for the peer.
    signature: String,
}

pub(super) fn write(offer: &Offer, host: Signature) -> String {
    let texts = |names: &[crate::Name]| names.iter().map(ToString::to_string).collect();
    let prices = offer.prices.iter();
    let document = Document {
        service: offer.service.to_string(),
        manifest: offer.manifest.to_string(),
        version: offer.version.to_string(),
        registry: offer.registry.to_string(),
        interfaces: offer.interfaces.clone(),
        tags: texts(&offer.tags),
        region: offer.region.as_ref().map(ToString::to_string),
        hardware: texts(&offer.hardware),
        prices: prices
            .map(|(method, price)| (method.to_snake_case(), price.to_string()))
            .collect(),
        payee: PayeeDocument {
            chain_id: offer.payee.chain_id,
            token: offer.payee.token,
            payout: offer.payee.payout,
            receiver: offer.payee.receiver,
            host: offer.payee.host,
            signature: host.to_hex(),
        },
        gateways: offer.gateways.clone(),
        addresses: offer.addresses.clone(),
        capacity: offer.capacity,
        load: offer.load,
        seq: offer.seq,
        issued: offer.issued,
        expires: offer.expires,
    };
    // A structure of texts and numbers is always JSON.
    serde_json::json!(document).to_string()
}

pub(super) fn read(payload: &[u8]) -> Result<(Offer, Signature), OfferError> {
    let document: Document =
        serde_json::from_slice(payload).map_err(|error| OfferError::Form(error.to_string()))?;
    check_times(&document)?;
    let signature = parse("payee", &document.payee.signature)?;
    let offer = Offer {
        service: parse("service", &document.service)?,
        manifest: parse("manifest", &document.manifest)?,
        version: parse("version", &document.version)?,
        registry: parse("registry", &document.registry)?,
        interfaces: texts("interfaces", document.interfaces, LIST_MAX)?,
        tags: names("tags", &document.tags, LIST_MAX)?,
        region: document
            .region
            .map(|region| parse("region", &region))
            .transpose()?,
        hardware: names("hardware", &document.hardware, LIST_MAX)?,
        prices: prices(&document.prices)?,
        payee: payee(&document.payee)?,
        gateways: gateways(document.gateways)?,
        addresses: texts("addresses", document.addresses, LIST_MAX)?,
        capacity: document.capacity,
        load: document.load,
        seq: document.seq,
        issued: document.issued,
        expires: document.expires,
    };
    if offer.gateways.is_empty() && offer.addresses.is_empty() {
        return Err(field("addresses", "is empty, and so is `gateways`"));
    }
    Ok((offer, signature))
}

fn check_times(document: &Document) -> Result<(), OfferError> {
    let lasts = document.expires.checked_sub(document.issued);
    if !lasts.is_some_and(|secs| (1..=OFFER_SECS_MAX).contains(&secs)) {
        let problem = format!("is not 1 to {OFFER_SECS_MAX} seconds after `issued`");
        return Err(field("expires", problem));
    }
    if document.load > LOAD_MAX {
        return Err(field("load", format!("is above {LOAD_MAX}")));
    }
    Ok(())
}

fn payee(document: &PayeeDocument) -> Result<Payee, OfferError> {
    if document.payout.is_zero() || document.host.is_zero() || document.receiver.is_zero() {
        return Err(field("payee", "is nobody"));
    }
    Ok(Payee {
        chain_id: document.chain_id,
        token: document.token,
        payout: document.payout,
        receiver: document.receiver,
        host: document.host,
    })
}

fn prices(
    document: &BTreeMap<String, String>,
) -> Result<BTreeMap<crate::MethodName, Amount>, OfferError> {
    if document.is_empty() {
        return Err(field("prices", "is empty"));
    }
    document
        .iter()
        .map(|(method, price)| Ok((parse("prices", method)?, parse("prices", price)?)))
        .collect()
}

fn gateways(urls: Vec<String>) -> Result<Vec<String>, OfferError> {
    let urls = texts("gateways", urls, GATEWAYS_MAX)?;
    let odd = |url: &&String| {
        let scheme = url.starts_with("https://") || url.starts_with("http://");
        !scheme || url.contains(['?', '#', '@', '\\'])
    };
    match urls.iter().find(odd) {
        Some(url) => Err(field(
            "gateways",
            format!("has {url:?}, no gateway's address"),
        )),
        None => Ok(urls),
    }
}

fn names(name: &'static str, list: &[String], max: usize) -> Result<Vec<crate::Name>, OfferError> {
    if list.len() > max {
        return Err(too_many(name, list.len(), max));
    }
    list.iter().map(|text| parse(name, text)).collect()
}

fn texts(name: &'static str, list: Vec<String>, max: usize) -> Result<Vec<String>, OfferError> {
    if list.len() > max {
        return Err(too_many(name, list.len(), max));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match list
        .iter()
        .find(|text| text.is_empty() || text.contains(odd))
    {
        Some(_) => Err(field(name, "has an entry that is empty or has white space")),
        None => Ok(list),
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    text: &str,
) -> Result<T, OfferError> {
    text.parse()
        .map_err(|error| field(name, format!("= {text:?} {error}")))
}

fn too_many(name: &'static str, found: usize, max: usize) -> OfferError {
    field(name, format!("has {found} entries, more than {max}"))
}

fn field(field: &'static str, problem: impl Into<String>) -> OfferError {
    OfferError::Field {
        field,
        problem: problem.into(),
    }
}

/// The most interfaces, tags, addresses and kinds of hardware.
const LIST_MAX: usize = 8;
const GATEWAYS_MAX: usize = 4;
/// All of the capacity.
const LOAD_MAX: u16 = 1_000;
