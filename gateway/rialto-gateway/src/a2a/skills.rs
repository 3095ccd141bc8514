//! Which method a message asks for.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::message::Content;
use super::{Error, Kind};
use crate::listing::{MethodRecord, ServiceRecord};
use crate::openai::models::Model;

/// A call that a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) service: String,
    pub(crate) method: String,
    /// JSON: an object.
    pub(crate) arguments: Bytes,
}

/// What a message comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    /// A call.
    Call(Order),
    /// Nothing yet: this is what to answer.
    Unclear(String),
}

/// Finds what a message asks of these services, which are one for a service's own agent. A text is for the one
/// obvious method that takes one.
///
/// # Errors
/// [`Kind::Params`] for data that name no call.
pub(crate) fn asked(
    services: &[ServiceRecord],
    content: &Content,
    streams: bool,
) -> Result<Asked, Error> {
    if let Some(data) = &content.data {
        return named(services, data).map(Asked::Call);
    }
    let text = content.text.as_deref().unwrap_or_default();
    let of_text = match services {
        [service] if !text.is_empty() => of_text(service, text, streams),
        _ => None,
    };
    Ok(of_text.map_or_else(|| Asked::Unclear(help(services)), Asked::Call))
}

fn named(services: &[ServiceRecord], data: &Value) -> Result<Order, Error> {
    let refuse = |message: String| Err(Error::new(Kind::Params, message));
    let Some(method) = data["method"].as_str() else {
        return refuse(help(services));
    };
    let (service, method) = match (data["service"].as_str(), services) {
        (Some(service), _) => (service, method),
        (None, [only]) => {
            let skill = method
                .strip_prefix(only.name.as_str())
                .and_then(|rest| rest.strip_prefix('_'));
            let skill = skill.filter(|_| !has(only, method));
            (only.name.as_str(), skill.unwrap_or(method))
        }
        // A skill's name, as the host's card has it.
        (None, _) => match method.split_once('_') {
            Some(parts) => parts,
            None => return refuse(help(services)),
        },
    };
    let Some(found) = services.iter().find(|it| it.name == service) else {
        return refuse(format!(
            "there is no service `{service}` here: see the agent's card"
        ));
    };
    if !has(found, method) {
        return refuse(format!(
            "`{service}` has no method `{method}`: see the agent's card"
        ));
    }
    let arguments = match &data["arguments"] {
        Value::Null => "{}".to_owned(),
        arguments if arguments.is_object() => arguments.to_string(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => return refuse("`arguments` has to be an object".to_owned()),
    };
    Ok(Order {
        service: service.to_owned(),
        method: method.to_owned(),
        arguments: arguments.into(),
    })
}

fn has(service: &ServiceRecord, method: &str) -> bool {
    service.methods.iter().any(|it| it.name == method)
}

fn of_text(service: &ServiceRecord, text: &str, streams: bool) -> Option<Order> {
    let model = Model::of(service);
    let (method, arguments) = if model.chats {
        let method = if streams && model.streams {
            "stream"
        } else {
            "chat"
        };
        let said = json!([{ "role": "user", "content": text }]);
        (method, json!({ "messages": said }))
    } else {
        let (method, param) = text_method(service)?;
        let mut arguments = Map::new();
        arguments.insert(param.to_owned(), text.into());
        (method.name.as_str(), Value::Object(arguments))
    };
    Some(Order {
        service: service.name.clone(),
        method: method.to_owned(),
        arguments: arguments.to_string().into(),
    })
}

/// The one method that needs a text and nothing else, and its parameter.
fn text_method(service: &ServiceRecord) -> Option<(&MethodRecord, &str)> {
    let mut found = service.methods.iter().filter_map(|method| {
        let mut required = method.params.iter().filter(|param| param.required);
        let only = required.next().filter(|_| required.next().is_none())?;
        let is_text =
            only.schema["type"] == "string" && only.schema.get("contentEncoding").is_none();
        is_text.then_some((method, only.name.as_str()))
    });
    found.next().filter(|_| found.next().is_none())
}

/// Whether a text is a message to a service's agent.
pub(crate) fn takes_texts(service: &ServiceRecord) -> bool {
    Model::of(service).chats || text_method(service).is_some()
}

fn help(services: &[ServiceRecord]) -> String {
    let names = services.iter().flat_map(|service| {
        let methods = service.methods.iter();
        methods.map(|method| match services.len() {
            1 => method.name.clone(),
            _ => format!("{}_{}", service.name, method.name),
        })
    });
    let all: Vec<String> = names.take(NAMED_MAX).collect();
    format!(
        "send a data part {{\"method\": …, \"arguments\": {{…}}}}; the agent's card describes the methods, \
         such as {}",
        all.join(", ")
    )
}

/// So many methods a help names.
const NAMED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{ParamRecord, PriceRecord};

    fn method(name: &str, params: &[(&str, Value, bool)]) -> MethodRecord {
        MethodRecord {
            name: name.to_owned(),
            path: String::new(),
            docs: None,
            params: params
                .iter()
                .map(|(name, schema, required)| ParamRecord {
                    name: (*name).to_owned(),
                    docs: None,
                    schema: schema.clone(),
                    required: *required,
                })
                .collect(),
            result: json!({}),
            streams: false,
            error: None,
            raw_body: None,
            price: PriceRecord::new(&Default::default()),
            free: true,
        }
    }

    fn service(name: &str, methods: Vec<MethodRecord>) -> ServiceRecord {
        ServiceRecord {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            description: "Does it.".to_owned(),
            license: String::new(),
            component: String::new(),
            models: Vec::new(),
            royalty: None,
            docs: None,
            state: "open",
            loaded: true,
            limits: Default::default(),
            isolation: "in-process",
            calls_max: 1,
            queue_max: 1,
            methods,
        }
    }

    fn text() -> Value {
        json!({"type": "string"})
    }

    fn of_data(services: &[ServiceRecord], data: Value) -> Option<(String, String, Bytes)> {
        let content = Content {
            data: Some(data),
            text: Some("beside it".to_owned()),
        };
        match asked(services, &content, false) {
            Ok(Asked::Call(order)) => Some((order.service, order.method, order.arguments)),
            Ok(Asked::Unclear(_)) | Err(_) => None,
        }
    }

    #[test]
    fn data_name_a_method() {
        let a = service("a", vec![method("x_y", &[])]);
        let b = service("b", vec![method("z", &[("t", text(), true)])]);
        let both = [a.clone(), b];
        let named = |service: &str, method: &str, arguments: &'static str| {
            Some((
                service.to_owned(),
                method.to_owned(),
                Bytes::from(arguments),
            ))
        };
        let one = [a];
        assert_eq!(
            of_data(&one, json!({"method": "x_y"})),
            named("a", "x_y", "{}")
        );
        assert_eq!(
            of_data(&one, json!({"method": "a_x_y"})),
            named("a", "x_y", "{}")
        );
        let whole = json!({"service": "b", "method": "z", "arguments": {"t": "u"}});
        assert_eq!(of_data(&both, whole), named("b", "z", r#"{"t":"u"}"#));
        assert_eq!(
            of_data(&both, json!({"method": "a_x_y"})),
            named("a", "x_y", "{}")
        );
        for wrong in [
            json!({}),
            json!([]),
            json!({"method": 5}),
            json!({"method": "z"}),
            json!({"method": "c_z"}),
            json!({"service": "a", "method": "z"}),
            json!({"service": "b", "method": "z", "arguments": []}),
        ] {
            assert_eq!(of_data(&both, wrong.clone()), None, "{wrong}");
        }
        assert_eq!(of_data(&one, json!({"service": "b", "method": "z"})), None);
    }

    #[test]
    fn a_text_is_for_the_one_obvious_method() {
        let says = |services: &[ServiceRecord]| {
            let content = Content {
                data: None,
                text: Some("hi".to_owned()),
            };
            asked(services, &content, false).unwrap()
        };
        let optional = ("n", json!({"type": "integer"}), false);
        let one = method("say", &[("words", text(), true), optional]);
        let other = method("add", &[("a", json!({"type": "integer"}), true)]);
        let bytes = json!({"type": "string", "contentEncoding": "base64"});
        let of_bytes = method("read", &[("content", bytes, true)]);
        let obvious = service("a", vec![one.clone(), other, of_bytes]);
        let Asked::Call(order) = says(std::slice::from_ref(&obvious)) else {
            panic!("not understood");
        };
        assert_eq!(
            (order.method.as_str(), order.arguments),
            ("say", r#"{"words":"hi"}"#.into())
        );
        assert!(takes_texts(&obvious));
        let two = service(
            "b",
            vec![one.clone(), method("shout", &[("words", text(), true)])],
        );
        assert!(matches!(says(&[two]), Asked::Unclear(help) if help.contains("shout")));
        assert!(matches!(
            says(&[obvious.clone(), obvious]),
            Asked::Unclear(_)
        ));
    }
}
