//! Paths below `/a2a`: whose agent is meant, and what is asked of it.
//!
//! The host's agent is at `/a2a` itself, a service's at `/a2a/{service}`. At the agent's own path is JSON-RPC, below it
//! the protocol's HTTP binding and the agent's card.

use http::Method;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The service whose agent it is; none for the host's.
    pub(crate) service: Option<String>,
    pub(crate) target: Target,
}

/// What is asked of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Its card.
    Card,
    /// Something by JSON-RPC.
    Rpc,
    /// To take a message.
    Send,
    /// To take a message, and tell what becomes of it.
    Stream,
    /// Tasks.
    List,
    /// A task.
    Get(String),
    /// To cancel a task.
    Cancel(String),
    /// To tell what becomes of a task.
    Subscribe(String),
    /// Anything about notifications by push.
    Push,
    /// A card for those who are known.
    ExtendedCard,
}

/// Reads what follows `/a2a`.
pub(crate) fn place(method: &Method, path: &str) -> Option<Place> {
    let path = path.trim_matches('/');
    let segments: Vec<&str> = match path {
        "" => Vec::new(),
        path => path.split('/').collect(),
    };
    let of_host = |target| Place {
        service: None,
        target,
    };
    if !is_of_service_tasks(&segments)
        && let Some(target) = target(method, &segments)
    {
        return Some(of_host(target));
    }
    let (service, rest) = segments.split_first()?;
    Some(Place {
        service: Some((*service).to_owned()),
        target: target(method, rest)?,
    })
}

/// A service may be called `tasks`.
fn is_of_service_tasks(segments: &[&str]) -> bool {
    let below = ["message:send", "message:stream", "tasks", CARD[0]];
    matches!(segments, ["tasks", next, ..] if below.contains(next) || *next == EXTENDED_CARD)
}

fn target(method: &Method, segments: &[&str]) -> Option<Target> {
    let (get, post) = (
        matches!(*method, Method::GET | Method::HEAD),
        *method == Method::POST,
    );
    match *segments {
        [] if post => Some(Target::Rpc),
        [first, second] if get && [first, second] == CARD => Some(Target::Card),
        ["message:send"] if post => Some(Target::Send),
        ["message:stream"] if post => Some(Target::Stream),
        ["tasks"] if get => Some(Target::List),
        ["tasks", id] => match id.rsplit_once(':') {
            None if get => Some(Target::Get(id.to_owned())),
            Some((id, "cancel")) if post => Some(Target::Cancel(id.to_owned())),
            Some((id, "subscribe")) if get || post => Some(Target::Subscribe(id.to_owned())),
            None | Some(_) => None,
        },
        ["tasks", _, "pushNotificationConfigs"] | ["tasks", _, "pushNotificationConfigs", _] => {
            Some(Target::Push)
        }
        [EXTENDED_CARD] if get => Some(Target::ExtendedCard),
        _ => None,
    }
}

const CARD: [&str; 2] = [".well-known", "agent-card.json"];
const EXTENDED_CARD: &str = "extendedAgentCard";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_agent_and_what_is_asked_of_it() {
        let id = || "0f".repeat(16);
        let (got, canceled) = (
            format!("/tasks/{}", id()),
            format!("/tasks/{}:cancel", id()),
        );
        let watched = format!("/a/tasks/{}:subscribe", id());
        let types = Some("types");
        let check = |method: Method, path: &str, service: Option<&str>, target: Target| {
            let found = place(&method, path).unwrap();
            assert_eq!(found.service.as_deref(), service, "{path}");
            assert_eq!(found.target, target, "{path}");
        };
        check(Method::POST, "", None, Target::Rpc);
        check(Method::POST, "/", None, Target::Rpc);
        check(Method::POST, "/types", types, Target::Rpc);
        check(Method::POST, "/types/", types, Target::Rpc);
        check(Method::POST, "/tasks", Some("tasks"), Target::Rpc);
        check(Method::GET, "/tasks", None, Target::List);
        check(Method::GET, "/tasks/tasks", Some("tasks"), Target::List);
        check(Method::GET, "/types/tasks", types, Target::List);
        check(Method::POST, "/message:send", None, Target::Send);
        check(Method::POST, "/types/message:send", types, Target::Send);
        check(
            Method::POST,
            "/tasks/message:stream",
            Some("tasks"),
            Target::Stream,
        );
        check(Method::GET, &got, None, Target::Get(id()));
        check(Method::POST, &canceled, None, Target::Cancel(id()));
        check(Method::POST, &watched, Some("a"), Target::Subscribe(id()));
        check(Method::GET, &watched, Some("a"), Target::Subscribe(id()));
        let push = "/types/tasks/x/pushNotificationConfigs/y";
        check(Method::DELETE, push, types, Target::Push);
        check(
            Method::GET,
            "/.well-known/agent-card.json",
            None,
            Target::Card,
        );
        check(
            Method::HEAD,
            "/types/.well-known/agent-card.json",
            types,
            Target::Card,
        );
        check(
            Method::GET,
            "/types/extendedAgentCard",
            types,
            Target::ExtendedCard,
        );
    }

    #[test]
    fn other_paths_are_none() {
        for (method, path) in [
            (Method::GET, ""),
            (Method::GET, "/types"),
            (Method::PUT, "/types"),
            (Method::GET, "/types/message:send"),
            (Method::POST, "/types/tasks/x"),
            (Method::POST, "/types/tasks/x:y"),
            (Method::POST, "/a/b/c/d/e"),
        ] {
            assert_eq!(place(&method, path), None, "{method} {path}");
        }
    }
}
