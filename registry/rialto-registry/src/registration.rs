//! Registration files of ERC-8004: what an agent's URI leads to, written and read.
//!
//! Written in the form `registration-v1`. Read from anybody, so tolerantly and within bounds: older names of
//! fields are known, what has another shape counts as absent, and what is too much is left out.
//! Not here: fetching a file, and whether what it says of the agent is true. That the agent is among its
//! [`registrations`](Registration::registrations) is what a host proves by showing the same file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::AgentId;

/// The most bytes of a registration file that is read.
pub const REGISTRATION_BYTES_MAX: usize = 64 << 10;
/// The most services of a file.
pub const SERVICES_MAX: usize = 64;
/// The most registrations that a file names.
pub const REGISTRATIONS_MAX: usize = 64;
/// The most kinds of trust that a file names.
pub const TRUST_MAX: usize = 16;
/// The most bytes of a name, a version or a kind of trust.
pub const WORD_BYTES_MAX: usize = 256;
/// The most bytes of a description, an image or an endpoint.
pub const TEXT_BYTES_MAX: usize = 4 << 10;

/// An agent, as its owner describes it to everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// For people; need not be unique.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where a picture is.
    pub image: Option<String>,
    /// How the agent is reached.
    pub services: Vec<Service>,
    /// Whether it is paid by x402.
    pub x402: bool,
    /// Whether it should be used.
    pub active: bool,
    /// The agents that this file is of.
    pub registrations: Vec<AgentId>,
    /// Why it should be trusted: `reputation`, `crypto-economic`, `tee-attestation`, or others.
    pub trust: Vec<String>,
}

/// One way to reach an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `web`, `MCP`, `A2A` and so on, or a name of one's own.
    pub name: String,
    /// A URL, mostly.
    pub endpoint: String,
    /// Of the protocol.
    pub version: Option<String>,
}

/// Why a registration file is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// More than [`REGISTRATION_BYTES_MAX`].
    #[error("the registration file has {0} bytes, more than {REGISTRATION_BYTES_MAX}")]
    TooLong(usize),
    /// No JSON, or no object.
    #[error("the registration file is no JSON object: {0}")]
    Form(String),
    /// A `data:` URI of another kind than JSON in base64.
    #[error("the URI is not data:application/json;base64,..")]
    DataUri,
}

impl Registration {
    /// The file, as JSON. A service without a version and an agent without an image have no such field.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut file = Map::new();
        file.insert("type".to_owned(), TYPE.into());
        file.insert("name".to_owned(), self.name.as_str().into());
        file.insert("description".to_owned(), self.description.as_str().into());
        if let Some(image) = &self.image {
            file.insert("image".to_owned(), image.as_str().into());
        }
        let services: Vec<_> = self.services.iter().map(Service::to_value).collect();
        file.insert("services".to_owned(), services.into());
        file.insert("x402Support".to_owned(), self.x402.into());
        file.insert("active".to_owned(), self.active.into());
        let registrations: Vec<_> = self.registrations.iter().map(registration).collect();
        file.insert("registrations".to_owned(), registrations.into());
        file.insert("supportedTrust".to_owned(), self.trust.clone().into());
        Value::Object(file)
    }

    /// The whole file in a URI, for agents whose registration needs no server.
    #[must_use]
    pub fn to_data_uri(&self) -> String {
        format!("{DATA_URI}{}", STANDARD.encode(self.to_value().to_string()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`RegistrationError`] if it is too long or no JSON object. Everything else is read as far as it goes.
    pub fn read(bytes: &[u8]) -> Result<Self, RegistrationError> {
        if bytes.len() > REGISTRATION_BYTES_MAX {
            return Err(RegistrationError::TooLong(bytes.len()));
        }
        let file: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|error| RegistrationError::Form(error.to_string()))?;
        let either = |one: &str, other: &str| file.get(one).or_else(|| file.get(other));
        let services = list(&file, "services").or_else(|| list(&file, "endpoints"));
        let trust = list(&file, "supportedTrust").unwrap_or(&[]);
        let registrations = list(&file, "registrations").unwrap_or(&[]);
        Ok(Self {
            name: shown(&file, "name", WORD_BYTES_MAX),
            description: shown(&file, "description", TEXT_BYTES_MAX),
            image: text(file.get("image"), TEXT_BYTES_MAX),
            services: services
                .unwrap_or(&[])
                .iter()
                .filter_map(Service::read)
                .take(SERVICES_MAX)
                .collect(),
            x402: either("x402Support", "x402support") == Some(&Value::Bool(true)),
            active: file.get("active") == Some(&Value::Bool(true)),
            registrations: registrations
                .iter()
                .filter_map(agent)
                .take(REGISTRATIONS_MAX)
                .collect(),
            trust: trust
                .iter()
                .filter_map(|kind| text(Some(kind), WORD_BYTES_MAX))
                .take(TRUST_MAX)
                .collect(),
        })
    }

    /// Reads a file out of a `data:` URI. Parameters before `;base64` are passed over.
    ///
    /// # Errors
    /// [`RegistrationError`]; [`RegistrationError::DataUri`] for every other URI.
    pub fn from_data_uri(uri: &str) -> Result<Self, RegistrationError> {
        let (head, data) = uri.split_once(',').ok_or(RegistrationError::DataUri)?;
        let is_json = head
            .get(..DATA_TYPE.len())
            .is_some_and(|kind| kind.eq_ignore_ascii_case(DATA_TYPE));
        let parameters = head.get(DATA_TYPE.len()..).unwrap_or_default();
        if !is_json || !parameters.starts_with(';') || !parameters.ends_with(";base64") {
            return Err(RegistrationError::DataUri);
        }
        // Base64 is a third longer than what it says.
        if data.len() / 4 > REGISTRATION_BYTES_MAX / 3 {
            return Err(RegistrationError::TooLong(data.len()));
        }
        let bytes = STANDARD.decode(data);
        Self::read(&bytes.map_err(|_| RegistrationError::DataUri)?)
    }
}

impl Service {
    fn to_value(&self) -> Value {
        let mut service = Map::new();
        service.insert("name".to_owned(), self.name.as_str().into());
        service.insert("endpoint".to_owned(), self.endpoint.as_str().into());
        if let Some(version) = &self.version {
            service.insert("version".to_owned(), version.as_str().into());
        }
        Value::Object(service)
    }

    /// A service has a name and an endpoint; cut short, an endpoint would be another one.
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: text(value.get("name"), WORD_BYTES_MAX)?,
            endpoint: text(value.get("endpoint"), TEXT_BYTES_MAX)?,
            version: text(value.get("version"), WORD_BYTES_MAX),
        })
    }
}

/// Numbers that JSON readers keep exactly are numbers; larger ones are texts.
fn registration(agent: &AgentId) -> Value {
    let id = match u64::try_from(agent.token) {
        Ok(number) if number <= EXACT_MAX => Value::from(number),
        Ok(_) | Err(_) => agent.token.to_string().into(),
    };
    json!({ "agentId": id, "agentRegistry": agent.registry.to_string() })
}

fn agent(value: &Value) -> Option<AgentId> {
    let registry = value.get("agentRegistry")?.as_str()?;
    let id = value.get("agentId")?;
    let token = match id.as_u64() {
        Some(number) => number.to_string(),
        None => id.as_str()?.to_owned(),
    };
    format!("{registry}:{token}").parse().ok()
}

fn list<'f>(file: &'f Map<String, Value>, field: &str) -> Option<&'f [Value]> {
    file.get(field)?.as_array().map(Vec::as_slice)
}

/// A text that is not empty, has no control characters and is no longer than `max` bytes.
fn text(value: Option<&Value>, max: usize) -> Option<String> {
    let text = value?.as_str()?;
    let good = !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
}

/// A text for people: cut rather than left out, and without control characters, which terminals obey.
fn shown(file: &Map<String, Value>, field: &str, max: usize) -> String {
    let text = file.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut text: String = text
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect();
    text.truncate(text.floor_char_boundary(max));
    text
}

const TYPE: &str = "https://eips.ethereum.org/EIPS/eip-8004#registration-v1";
const DATA_TYPE: &str = "data:application/json";
const DATA_URI: &str = "data:application/json;base64,";
/// 2^53 - 1.
const EXACT_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests;
