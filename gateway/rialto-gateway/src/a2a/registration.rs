//! ERC-8004's registration files of services: where an agent that is found on the chain is reached.

use rialto_registry::AgentId;
use rialto_registry::registration::{Registration, Service};
use serde_json::Value;

use super::card::Host;
use super::version;
use crate::listing::ServiceRecord;

/// The file of a service, which is these agents of registries.
pub(crate) fn of_service(host: &Host<'_>, service: &ServiceRecord, agents: Vec<AgentId>) -> Value {
    let file = Registration {
        name: service.name.clone(),
        description: service.description.clone(),
        services: doors(host, Some(&service.name)),
        x402: true,
        active: service.state == "open",
        registrations: agents,
        trust: vec!["reputation".to_owned()],
        ..Registration::default()
    };
    file.to_value()
}

/// The host's file, which proves that these agents of registries are here.
pub(crate) fn of_host(host: &Host<'_>, agents: Vec<AgentId>) -> Value {
    let file = Registration {
        name: "Rialto".to_owned(),
        description: "A host of AI services that are paid by the call.".to_owned(),
        services: doors(host, None),
        x402: true,
        active: true,
        registrations: agents,
        trust: vec!["reputation".to_owned()],
        ..Registration::default()
    };
    file.to_value()
}

fn doors(host: &Host<'_>, service: Option<&str>) -> Vec<Service> {
    let door = |name: &str, endpoint: String, version: Option<&str>| Service {
        name: name.to_owned(),
        endpoint,
        version: version.map(str::to_owned),
    };
    let web = match service {
        Some(service) => format!("{}/services/{service}", host.url),
        None => host.url.to_owned(),
    };
    // The host's card is where the protocol looks for one.
    let card = match service {
        Some(_) => format!("{}/.well-known/agent-card.json", host.of_agent(service)),
        None => format!("{}/.well-known/agent-card.json", host.url),
    };
    vec![
        door("web", web, None),
        door("A2A", card, Some(version::VERSION)),
        door("MCP", format!("{}/mcp", host.url), Some("2026-07-28")),
    ]
}
