//! The methods of this host's services as tools, described by their own types and doc comments; and three tools
//! to find and call them by, for agents that would drown in a thousand descriptions.

use rialto_node::Node;
use serde_json::{Value, json};

use crate::listing::{MethodRecord, ServiceRecord};
use crate::openapi;

/// All tools of a host.
pub(super) struct Tools {
    services: Vec<ServiceRecord>,
    token: String,
}

/// One tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool<'a> {
    pub(super) service: &'a ServiceRecord,
    pub(super) method: &'a MethodRecord,
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
    pub(super) fn of(node: &Node) -> Self {
        Self {
            services: ServiceRecord::all(node),
            token: node.payee().token_name.clone(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Tool<'_>> {
        self.services.iter().flat_map(|service| {
            let methods = service.methods.iter();
            methods.map(move |method| Tool { service, method })
        })
    }

    /// The tool of this name.
    pub(super) fn get(&self, name: &str) -> Option<Tool<'_>> {
        let (service, method) = parts(name)?;
        self.all()
            .find(|tool| tool.service.name == service && tool.method.name == method)
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
    pub(super) fn describe(&self, tool: Tool<'_>) -> Value {
        let Tool { service, method } = tool;
        let docs = method.docs.as_deref().unwrap_or(&service.description);
        let (price, token) = (&method.price.summary, &self.token);
        let cost = match method.free {
            true => "Free.".to_owned(),
            false => format!("Costs {price} (millionths of a {token}), paid by x402."),
        };
        json!({
            "name": tool.name(),
            "title": format!("{} {}", service.name, method.name),
            "description": format!("{}\n\n{cost}", docs.trim()),
            "inputSchema": openapi::parameters(method),
            "outputSchema": output(method),
            "_meta": { "rialto/price": method.price },
        })
    }

    /// A tool in a line.
    pub(super) fn summarise(tool: Tool<'_>) -> Value {
        let Tool { service, method } = tool;
        let docs = method.docs.as_deref().unwrap_or(&service.description);
        json!({
            "name": tool.name(),
            "description": docs.lines().next().unwrap_or_default(),
            "service": service.description,
            "price": method.price.summary,
        })
    }
}

impl Tool<'_> {
    /// Service names have no `_` and method names do not begin with one.
    pub(super) fn name(self) -> String {
        format!("{}_{}", self.service.name, self.method.name)
    }

    /// Whether its answer is an object; what is none travels in one.
    pub(super) fn answers_object(self) -> bool {
        is_object(self.method)
    }
}

/// Service and method of a tool.
pub(super) fn parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('_')
        .filter(|(_, method)| !method.starts_with('_'))
}

fn is_object(method: &MethodRecord) -> bool {
    method.result["type"] == "object"
}

/// What a tool answers: an object in any case, and instead of the answer perhaps what has to be paid for it.
fn output(method: &MethodRecord) -> Value {
    let answer = match is_object(method) {
        true => method.result.clone(),
        false => json!({
            "type": "object",
            "properties": { "result": method.result },
            "required": ["result"],
        }),
    };
    if method.free {
        return answer;
    }
    let demand = json!({
        "description": "What has to be paid first.",
        "properties": { "x402Version": { "type": "integer" }, "accepts": { "type": "array" } },
        "required": ["x402Version", "accepts"],
    });
    json!({ "type": "object", "anyOf": [answer, demand] })
}

/// The tools to find others by.
fn finders() -> [Value; 3] {
    let name = json!({ "type": "string", "description": "A tool's name, as the search gives it." });
    [
        json!({
            "name": SEARCH,
            "title": "Search tools",
            "description": "Finds tools of this host by words: by what they do, take and answer. Free.",
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
