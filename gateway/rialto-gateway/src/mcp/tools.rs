//! The methods of this host's services as tools, described by their own types and doc comments; and three tools
//! to find and call them by, for agents that would drown in a thousand descriptions.

use rialto_node::Node;
use serde_json::{Value, json};

use super::search::{Texts, Words};
use crate::listing::{MethodRecord, ServiceRecord};
use crate::openapi;

/// Tools of a host.
pub(crate) struct Tools {
    services: Vec<ServiceRecord>,
    token: String,
    payer: Payer,
}

/// One tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool<'a> {
    pub(crate) service: &'a ServiceRecord,
    pub(crate) method: &'a MethodRecord,
}

/// Who pays for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payer {
    /// Whoever asks, by x402.
    Client,
    /// The node that is asked.
    Node,
}

/// Which tools a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All of them if they are few, else those to find them by.
    Fitting,
    /// All of them, page by page.
    All,
    /// Those to find the others by.
    Search,
}

/// One page of a list.
pub(super) struct Page {
    pub(super) tools: Vec<Value>,
    /// What the next page is asked for by.
    pub(super) next: Option<String>,
}

impl Tools {
    /// All tools of a host.
    pub(crate) fn of(node: &Node, payer: Payer) -> Self {
        Self::with(ServiceRecord::all(node), node, payer)
    }

    /// The tools of the one service that a tool's name names, if it is there.
    pub(crate) fn around(name: &str, node: &Node, payer: Payer) -> Self {
        let service = parts(name).and_then(|(service, _)| node.service(service));
        let services = service.iter().map(ServiceRecord::new).collect();
        Self::with(services, node, payer)
    }

    fn with(services: Vec<ServiceRecord>, node: &Node, payer: Payer) -> Self {
        Self {
            services,
            token: node.payee().token_name.clone(),
            payer,
        }
    }

    /// Without the services that this does not hold for.
    pub(crate) fn retain(mut self, keeps: impl Fn(&str) -> bool) -> Self {
        self.services.retain(|service| keeps(&service.name));
        self
    }

    fn all(&self) -> impl Iterator<Item = Tool<'_>> {
        self.services.iter().flat_map(|service| {
            let methods = service.methods.iter();
            methods.map(move |method| Tool { service, method })
        })
    }

    /// The tool of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Tool<'_>> {
        let (service, method) = parts(name)?;
        self.all()
            .find(|tool| tool.service.name == service && tool.method.name == method)
    }

    /// Summaries of the tools that fit the words, with how well.
    pub(crate) fn found(&self, words: &Words) -> Vec<(u32, Value)> {
        let all = self.all();
        all.filter_map(|tool| Some((words.score(&tool.texts())?, tool.summary())))
            .collect()
    }

    /// The page that a cursor asks for; none for a cursor that nobody was given.
    pub(super) fn page(&self, view: View, cursor: Option<&str>) -> Option<Page> {
        let after = match cursor {
            Some(cursor) => cursor.strip_prefix(CURSOR)?.parse().ok()?,
            None => 0_usize,
        };
        let all = self.all().count();
        let shown = match view {
            View::Search => 0,
            View::Fitting if all > LISTED_MAX => 0,
            View::Fitting | View::All => all,
        };
        if after > shown {
            return None;
        }
        let mut tools = Vec::new();
        if after == 0 {
            tools.extend(finders());
        }
        let page = self.all().skip(after).take(PAGE.min(shown - after));
        tools.extend(page.map(|tool| self.describe(tool)));
        let next = after + PAGE;
        Some(Page {
            tools,
            next: (next < shown).then(|| format!("{CURSOR}{next}")),
        })
    }

    /// A tool as the protocol describes it.
    pub(crate) fn describe(&self, tool: Tool<'_>) -> Value {
        let Tool { service, method } = tool;
        let docs = method.docs.as_deref().unwrap_or(&service.description);
        let cost = match method.free {
            true => "Free.".to_owned(),
            false => self.payer.cost(&method.price.summary, &self.token),
        };
        let mut described = described(
            (&service.name, &method.name),
            &format!("{}\n\n{cost}", docs.trim()),
            openapi::parameters(method),
            self.output(method),
        );
        described["_meta"] = json!({ "rialto/price": method.price });
        described
    }

    /// What a tool answers, and instead perhaps what has to be paid for it.
    fn output(&self, method: &MethodRecord) -> Value {
        let answer = in_object(&method.result);
        if method.free || self.payer == Payer::Node {
            return answer;
        }
        let demand = json!({
            "description": "What has to be paid first.",
            "properties": { "x402Version": { "type": "integer" }, "accepts": { "type": "array" } },
            "required": ["x402Version", "accepts"],
        });
        json!({ "type": "object", "anyOf": [answer, demand] })
    }
}

impl Payer {
    /// What a tool costs, in a sentence.
    pub(crate) fn cost(self, price: &str, token: &str) -> String {
        let how = match self {
            Self::Client => "paid by x402",
            Self::Node => "paid from this node's wallet",
        };
        format!("Costs {price} (millionths of a {token}), {how}.")
    }
}

impl<'a> Tool<'a> {
    pub(crate) fn name(self) -> String {
        name_of(&self.service.name, &self.method.name)
    }

    /// Whether its answer is an object; what is none travels in one.
    pub(crate) fn answers_object(self) -> bool {
        is_object(&self.method.result)
    }

    /// A tool in a line.
    fn summary(self) -> Value {
        let Tool { service, method } = self;
        let docs = method.docs.as_deref().unwrap_or(&service.description);
        json!({
            "name": self.name(),
            "description": docs.lines().next().unwrap_or_default(),
            "service": service.description,
            "price": method.price.summary,
        })
    }

    fn texts(self) -> Texts<'a> {
        let Tool { service, method } = self;
        let docs = [&method.docs, &service.docs];
        let params = method.params.iter();
        let params = params.flat_map(|param| [Some(param.name.as_str()), param.docs.as_deref()]);
        Texts {
            names: vec![&service.name, &method.name],
            description: &service.description,
            docs: docs.into_iter().flatten().map(String::as_str).collect(),
            params: params.flatten().collect(),
        }
    }
}

/// A method as the protocol describes a tool.
pub(crate) fn described(
    (service, method): (&str, &str),
    description: &str,
    input: Value,
    output: Value,
) -> Value {
    json!({
        "name": name_of(service, method),
        "title": format!("{service} {method}"),
        "description": description,
        "inputSchema": input,
        "outputSchema": output,
    })
}

/// A tool's name. Service names have no `_` and method names do not begin with one.
pub(crate) fn name_of(service: &str, method: &str) -> String {
    format!("{service}_{method}")
}

/// Service and method of a tool.
pub(crate) fn parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('_')
        .filter(|(_, method)| !method.starts_with('_'))
}

/// Whether a schema is an object's.
pub(crate) fn is_object(schema: &Value) -> bool {
    schema["type"] == "object"
}

/// The schema of an object in any case: an answer that is none travels in one.
pub(crate) fn in_object(schema: &Value) -> Value {
    match is_object(schema) {
        true => schema.clone(),
        false => json!({
            "type": "object",
            "properties": { "result": schema },
            "required": ["result"],
        }),
    }
}

/// The tools to find others by.
fn finders() -> [Value; 3] {
    let name = json!({ "type": "string", "description": "A tool's name, as the search gives it." });
    [
        json!({
            "name": SEARCH,
            "title": "Search tools",
            "description": "Finds tools by words: by what they do, take and answer. Free.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "query": { "type": "string", "description": "Words; none lists all." },
                    "limit": { "type": "integer", "minimum": 1, "maximum": FOUND_MAX, "default": FOUND },
                },
                "additionalProperties": false,
            },
        }),
        json!({
            "name": DESCRIBE,
            "title": "Describe a tool",
            "description": "Says what a tool takes, answers and costs. Free.",
            "inputSchema": {
                "type": "object",
                "properties": { "name": name },
                "required": ["name"],
                "additionalProperties": false,
            },
        }),
        json!({
            "name": CALL,
            "title": "Call a tool",
            "description": "Calls a tool that the search found, whether it is listed or not. Costs what that tool costs.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "name": name,
                    "arguments": { "type": "object", "description": "What that tool takes." },
                },
                "required": ["name"],
                "additionalProperties": false,
            },
        }),
    ]
}

/// Finds tools by words.
pub(super) const SEARCH: &str = "rialto__search";
/// Describes one.
pub(super) const DESCRIBE: &str = "rialto__describe";
/// Calls one.
pub(super) const CALL: &str = "rialto__call";

/// So many tools fit into an agent's head; of more only those to find them by are listed.
const LISTED_MAX: usize = 100;
const PAGE: usize = 100;
const CURSOR: &str = "from-";
/// So many tools a search finds unless it says.
pub(super) const FOUND: usize = 10;
/// So many at most.
pub(super) const FOUND_MAX: usize = 50;
