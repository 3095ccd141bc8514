//! Agents' cards: who they are, how they are reached, what they can do and what that costs.

use serde_json::{Value, json};

use super::{payment, skills, version};
use crate::listing::{MethodRecord, ServiceRecord};
use crate::openapi;

/// What all cards of a host share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    /// Where it is.
    pub(crate) url: &'a str,
    /// What it is paid in.
    pub(crate) token: &'a str,
    /// The chain on which, as CAIP-2 names it.
    pub(crate) network: &'a str,
}

impl Host<'_> {
    /// The card of a service's agent.
    pub(crate) fn of_service(&self, service: &ServiceRecord) -> Value {
        let docs = service.docs.as_deref().unwrap_or_default().trim();
        let description = match docs {
            "" => service.description.clone(),
            docs => format!("{}\n\n{docs}", service.description),
        };
        let methods = service.methods.iter();
        let skills = methods.map(|it| self.skill(service, it, it.name.clone()));
        let at = self.of_agent(Some(&service.name));
        let mut card = self.card(&at, &service.name, &description, skills.collect());
        card["version"] = service.version.as_str().into();
        if skills::takes_texts(service) {
            card["defaultInputModes"] = json!([JSON, TEXT]);
        }
        card
    }

    /// The card of the host's own agent, which has the skills of all services.
    pub(crate) fn of_host(&self, services: &[ServiceRecord]) -> Value {
        let skills = services.iter().flat_map(|service| {
            let methods = service.methods.iter();
            methods.map(|method| {
                let id = format!("{}_{}", service.name, method.name);
                self.skill(service, method, id)
            })
        });
        let description = "AI services that this host runs, each paid by the call. A skill's name is its \
             service's and its method's; each service is an agent of its own too.";
        self.card(
            &self.of_agent(None),
            "Rialto",
            description,
            skills.collect(),
        )
    }

    /// Where an agent is.
    pub(crate) fn of_agent(&self, service: Option<&str>) -> String {
        match service {
            Some(service) => format!("{}/a2a/{service}", self.url),
            None => format!("{}/a2a", self.url),
        }
    }

    fn card(&self, at: &str, name: &str, description: &str, skills: Vec<Value>) -> Value {
        let interface = |binding: &str| json!({ "url": at, "protocolBinding": binding, "protocolVersion": version::VERSION });
        json!({
            "name": name,
            "description": description,
            "version": env!("CARGO_PKG_VERSION"),
            "documentationUrl": format!("{}/openapi.json", self.url),
            "supportedInterfaces": [interface("JSONRPC"), interface("HTTP+JSON")],
            "capabilities": {
                "streaming": true,
                "pushNotifications": false,
                "extendedAgentCard": false,
                "extensions": self.extensions(),
            },
            "defaultInputModes": [JSON],
            "defaultOutputModes": [JSON, TEXT],
            "skills": skills,
        })
    }

    /// Payment is not required to be known: some methods are free.
    fn extensions(&self) -> Vec<Value> {
        let uris = [payment::EXTENSION, payment::EXTENSION_BEFORE].into_iter();
        uris.map(|uri| {
            json!({
                "uri": uri,
                "description": "Methods that cost are paid by x402, version 2.",
                "required": false,
                "params": {
                    "x402Version": 2,
                    "network": self.network,
                    "schemes": ["batch-settlement", "exact"],
                },
            })
        })
        .collect()
    }

    fn skill(&self, service: &ServiceRecord, method: &MethodRecord, id: String) -> Value {
        let docs = method.docs.as_deref().unwrap_or(&service.description);
        let (price, token) = (&method.price.summary, self.token);
        let cost = match method.free {
            true => "Free.".to_owned(),
            false => format!("Costs {price} (millionths of a {token}), paid by x402."),
        };
        let example = json!({ "method": id, "arguments": example(method) });
        json!({
            "name": format!("{} {}", service.name, method.name),
            "description": format!(
                "{}\n\n{cost}\n\nArguments: {}",
                docs.trim(),
                openapi::parameters(method),
            ),
            "tags": [service.name, if method.free { "free" } else { "x402" }],
            "examples": [example.to_string()],
            "inputModes": [JSON],
            "outputModes": [if answers_text(method) { TEXT } else { JSON }],
            "id": id,
        })
    }
}

fn answers_text(method: &MethodRecord) -> bool {
    let answer = match method.streams {
        true => &method.result["items"],
        false => &method.result,
    };
    answer["type"] == "string"
}

/// Arguments of the right kinds, to be filled in.
fn example(method: &MethodRecord) -> Value {
    let required = method.params.iter().filter(|param| param.required);
    required
        .map(|param| (param.name.clone(), of_kind(&param.schema)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn of_kind(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("string") => "".into(),
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => json!([]),
        Some("object") => json!({}),
        Some(_) | None => Value::Null,
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
