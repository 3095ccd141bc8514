//! `rialto call`: quote, pay, answer.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind of JSON value is treated alike"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_channels::Amount;
use rialto_gateway::client::mesh::{Ask, DoorDirectory};
use rialto_gateway::client::{Answer, Body, Config, PayingClient, Quote};
use rialto_registry::router::{Abandon, Hedge, Region};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::args::CallArgs;
use crate::exit::Breach;
use crate::heard::Listener;
use crate::policy::Units;
use crate::{pay, show};

/// Shows the price, pays, prints the answer: once, or so often and so many at once as asked.
pub(crate) async fn run(args: CallArgs) -> Result<()> {
    let body = Body::json(&Value::Object(parameters(
        args.parameters.as_deref(),
        &args.files,
    )?));
    if args.mesh.enabled {
        return by_mesh(&args, body).await;
    }
    let client = pay::client_with(&args.payer, |config| limit(&args, config))?;
    let json = args.payer.gateway.json;
    let quote = client.quote(&args.service, &args.method, &body).await?;
    if !json {
        show::note(format!("price     {}", show::money(quote.price)));
    }
    let parallel = args.parallel.unwrap_or(1);
    let times = args.times.max(parallel);
    if times > 1 {
        return many(&client, quote, body, times, parallel, json).await;
    }
    let mut listener = Listener::new(json);
    let answered = client
        .stream(&quote, &body, |part| listener.hear(part))
        .await;
    listener.end();
    let answer = answered?;
    if json {
        show::json(&pay::answer_json(&quote, &answer));
    } else {
        pay::show_cost(&answer);
        if !listener.has_shown() {
            show::line(readable(&answer.body));
        }
    }
    kept_its_word(&answer)?;
    match &answer.broke_off {
        Some(error) => bail!(
            "the answer broke off after {} items: {error}",
            answer.items.unwrap_or(0)
        ),
        None => Ok(()),
    }
}

fn limit(args: &CallArgs, config: &mut Config) {
    if let Some(max_price) = args.max_price {
        config.price_max = max_price.0;
    }
    if let Some(budget) = args.budget {
        config.budget.day_max = Some(budget.0);
    }
}

/// Whoever on the mesh is best answers, and is paid.
async fn by_mesh(args: &CallArgs, body: Body) -> Result<()> {
    let directory = Arc::new(DoorDirectory::new(&args.mesh.door.local));
    let known = Arc::clone(&directory);
    let client = pay::mesh_client(&args.payer, directory, |config| limit(args, config))?;
    let ask = Ask {
        service: args
            .service
            .parse()
            .with_context(|| format!("`{}` is no service's name", args.service))?,
        method: args.method.clone(),
        body,
        idempotent: args.mesh.idempotent,
        time_max: MESH_TIME_MAX,
        price_max: args.max_price.map(|price| price.0),
        region: region(args.mesh.region.as_deref())?,
        abandon: Abandon::Never,
        hedge: match args.mesh.hedge {
            Some(Units(extra_max)) => Hedge::Allowed { extra_max },
            None => Hedge::Never,
        },
        allowance: None,
        order: None,
        leave: None,
    };
    let answered = client.call(&ask).await;
    // This program ends now; the node goes on choosing.
    known.tell().await;
    let answered = answered?;
    let answer = answered.answer;
    if args.payer.gateway.json {
        let mut told = pay::outcome_json(&answer);
        told["provider"] = Value::String(answered.provider.to_string());
        told["attempts"] = answered.attempts.into();
        show::json(&told);
    } else {
        show::note(format!("provider  {}", answered.provider));
        pay::show_cost(&answer);
        show::line(readable(&answer.body));
    }
    kept_its_word(&answer)
}

fn region(text: Option<&str>) -> Result<Option<Region>> {
    let parsed = text.map(|text| {
        let parsed = text.parse();
        parsed.map_err(|error| anyhow::anyhow!("--region `{text}` {error}"))
    });
    parsed.transpose()
}

/// The same call again and again, with a line for each, and what they cost together.
async fn many(
    client: &PayingClient,
    quote: Quote,
    body: Body,
    times: u32,
    parallel: u32,
    json: bool,
) -> Result<()> {
    let quote = Arc::new(quote);
    let mut running = JoinSet::new();
    let mut left = times;
    let mut charged = Amount::ZERO;
    let mut channels = BTreeSet::new();
    let mut failed = None;
    let mut made = 0_u32;
    loop {
        while left > 0 && running.len() < usize::try_from(parallel)? {
            left -= 1;
            let (client, quote, body) = (client.clone(), Arc::clone(&quote), body.clone());
            running.spawn(async move { client.call(&quote, &body).await });
        }
        let Some(answer) = running.join_next().await else {
            break;
        };
        let outcome = match answer? {
            Ok(answer) => {
                made += 1;
                charged = charged.checked_add(answer.charged)?;
                channels.extend(answer.channel.as_ref().map(|channel| channel.id));
                if json {
                    show::json(&pay::answer_json(&quote, &answer));
                } else {
                    show::line(readable(&answer.body));
                }
                kept_its_word(&answer)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            // Calls that are on their way are finished, and no new one begins.
            left = 0;
            failed.get_or_insert(error);
        }
    }
    if !json {
        show::note(format!(
            "charged   {} for {} calls on {} channels",
            show::money(charged),
            made,
            channels.len()
        ));
    }
    failed.map_or(Ok(()), Err)
}

/// A receipt that is no good ends the command with its own exit code; the answer was shown.
fn kept_its_word(answer: &Answer) -> Result<()> {
    match &answer.receipt_fault {
        Some(fault) if fault.is_breach() => {
            let close = match &answer.channel {
                Some(channel) => format!("; next: rialto channel close {} --force", channel.id),
                None => String::new(),
            };
            Err(Breach(format!(
                "the host broke its word: {fault}; nothing more is paid on this channel{close}"
            ))
            .into())
        }
        Some(_) | None => Ok(()),
    }
}

/// The parameters from the command line: a JSON object, there or where it says, and files by field.
fn parameters(text: Option<&str>, files: &[String]) -> Result<Map<String, Value>> {
    let text = text.map(written).transpose()?;
    let mut parameters = match text.as_deref().map(serde_json::from_str).transpose() {
        Ok(None) => Map::new(),
        Ok(Some(Value::Object(object))) => object,
        Ok(Some(other)) => bail!(
            "the parameters must be a JSON object such as {{\"texts\": [\"a\"]}}, found {other}"
        ),
        Err(error) => bail!("the parameters are not valid JSON: {error}"),
    };
    for file in files {
        let (field, path) = file.split_once('=').with_context(|| {
            format!("--file `{file}`: write FIELD=PATH, for example content=picture.png")
        })?;
        let bytes = read(Path::new(path))?;
        if parameters
            .insert(field.to_owned(), Value::String(STANDARD.encode(bytes)))
            .is_some()
        {
            bail!("`{field}` is given twice");
        }
    }
    Ok(parameters)
}

/// JSON itself, or that of `@PATH`, or of standard input for `-`: a command line holds 128 KiB on most systems.
fn written(text: &str) -> Result<Cow<'_, str>> {
    let bytes = match (text, text.strip_prefix('@')) {
        ("-", _) => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .take(FILE_BYTES_MAX.saturating_add(1))
                .read_to_end(&mut bytes)
                .context("cannot read the parameters from standard input")?;
            if u64::try_from(bytes.len())? > FILE_BYTES_MAX {
                bail!(
                    "standard input has more than {FILE_BYTES_MAX} bytes, which is all that a call takes"
                );
            }
            bytes
        }
        (_, Some(path)) => read(Path::new(path))?,
        (_, None) => return Ok(Cow::Borrowed(text)),
    };
    let text = String::from_utf8(bytes).context("the parameters are not valid JSON: not UTF-8")?;
    Ok(Cow::Owned(text))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    if size > FILE_BYTES_MAX {
        bail!(
            "{} has {size} bytes; a call takes at most {FILE_BYTES_MAX}",
            path.display()
        );
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// JSON as a person reads it: objects and lists indented, long lists of numbers cut short.
pub(crate) fn readable(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            let mut text = String::new();
            write_value(&mut text, &value, 0);
            text
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push('\n');
                }
                text.push_str(&format!("{indent}{name:width$}  "));
                if is_nested(field) {
                    text.push('\n');
                    write_value(text, field, depth.saturating_add(1));
                } else {
                    text.push_str(&scalar(field));
                }
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push('\n');
                }
                write_value(text, item, depth);
            }
        }
        other => text.push_str(&format!("{indent}{}", scalar(other))),
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items
            .iter()
            .any(|item| matches!(item, Value::Object(_) | Value::Array(_))),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.4}"),
            _ => number.to_string(),
        },
        Value::Array(items) => {
            let shown: Vec<String> = items.iter().take(LIST_SHOWN).map(scalar).collect();
            let rest = items.len().saturating_sub(shown.len());
            let more = if rest > 0 {
                format!(", … {rest} more")
            } else {
                String::new()
            };
            format!("[{}{more}]", shown.join(", "))
        }
        other => other.to_string(),
    }
}

const MESH_TIME_MAX: Duration = Duration::from_secs(60);
const LIST_SHOWN: usize = 8;
const FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_readable() {
        assert_eq!(
            readable(br#"{"label":"png","score":0.99871}"#),
            "label  png\nscore  0.9987"
        );
        assert_eq!(readable(b"[1,2,3]"), "[1, 2, 3]");
        assert_eq!(
            readable(b"[[1.0,0.5],[0.5,1.0]]"),
            "[1.0000, 0.5000]\n[0.5000, 1.0000]"
        );
        let long = serde_json::to_vec(&vec![1; 20]).unwrap();
        assert!(readable(&long).ends_with("… 12 more]"));
    }

    #[test]
    fn bad_parameters_say_what_to_write() {
        let say = |text, files: &[String]| parameters(text, files).unwrap_err().to_string();
        assert!(say(Some("{"), &[]).contains("not valid JSON"));
        assert!(say(Some("[1]"), &[]).contains("must be a JSON object"));
        assert!(say(None, &["x".to_owned()]).contains("FIELD=PATH"));
        assert!(say(None, &["x=/does/not/exist".to_owned()]).contains("cannot read"));
        assert!(say(Some("@/does/not/exist"), &[]).contains("cannot read"));
    }

    #[test]
    fn parameters_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("request.json");
        std::fs::write(&path, r#"{"texts": ["a"]}"#).unwrap();
        let named = format!("@{}", path.display());
        let found = parameters(Some(&named), &[]).unwrap();
        assert_eq!(found["texts"][0], "a");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(parameters(Some(&named), &[]).is_err());
    }
}
