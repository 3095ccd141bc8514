//! `rialto deploy`, `rollback`, `drain`, `resume`, `remove`, and `rialto services --versions`: what an
//! operator does with the services of a running node, over its desk in the data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rialto_node::{Changed, Closed, Node, Publishing, ServiceStanding, Standing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::{DeployArgs, DrainArgs, RemoveArgs, ResumeArgs, RollbackArgs};
use crate::publish::desk;
use crate::show::{self, line};
use crate::{admin, home, name};

/// What the operator wants done; one line of JSON to the desk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Act {
    Deploy {
        folder: PathBuf,
    },
    /// A service that somebody published, by its name.
    Take {
        name: String,
    },
    PreparePublishing {
        folder: PathBuf,
        publishing: Publishing,
    },
    Publish {
        folder: PathBuf,
        payload: String,
        signature: String,
    },
    /// What the chain says of a name now; what was remembered of it goes.
    Name {
        name: String,
    },
    /// A receipt's bytes, in hexadecimal, that a rating is to rest on.
    Rate {
        document: String,
    },
    Rollback {
        service: String,
        version: Option<String>,
    },
    /// Of all services if none is named.
    Drain {
        service: Option<String>,
        wait_seconds: u64,
    },
    Resume {
        service: Option<String>,
    },
    Remove {
        service: String,
    },
}

impl Act {
    /// Does it, and says what came of it.
    pub(crate) async fn done_by(self, node: &Node) -> Result<Value> {
        Ok(match self {
            Self::Deploy { folder } => changed_json(&node.deploy(&folder).await?),
            Self::Take { name } => desk::take(node, &name).await?,
            Self::PreparePublishing { folder, publishing } => {
                desk::prepare(node, folder, publishing).await?
            }
            Self::Publish {
                folder,
                payload,
                signature,
            } => desk::publish(node, folder, payload, &signature).await?,
            Self::Name { name } => serde_json::to_value(name::look(node, &name).await?)?,
            Self::Rate { document } => {
                let document = alloy_primitives::hex::decode(document)?;
                let to = node.prepare_rating(document).await?;
                json!({ "to": to, "rpc": node.chain().rpc_url })
            }
            Self::Rollback { service, version } => {
                changed_json(&node.roll_back(&service, version.as_deref()).await?)
            }
            Self::Drain {
                service,
                wait_seconds,
            } => {
                match &service {
                    Some(service) => node.drain(service).await?,
                    None => node.drain_all(),
                };
                let wait = Duration::from_secs(wait_seconds.min(DRAIN_SECONDS_MAX));
                json!({ "running": node.quiet(service.as_deref(), wait).await })
            }
            Self::Resume { service } => {
                match &service {
                    Some(service) => node.resume(service).await?,
                    None => node.resume_all(),
                }
                json!({ "resumed": service })
            }
            Self::Remove { service } => json!({ "running": node.remove_service(&service).await? }),
        })
    }
}

/// A folder, or what somebody published, becomes the running version of its service.
pub(crate) async fn deploy(args: DeployArgs) -> Result<()> {
    let wanted = match args.mesh {
        true => Act::Take {
            name: published_name(&args.folder)?,
        },
        false => {
            let folder = std::path::absolute(&args.folder)?;
            check_folder(&folder)?;
            Act::Deploy { folder }
        }
    };
    let answer = act(args.data_dir.as_deref(), &wanted).await?;
    tell_changed(&answer, args.json);
    Ok(())
}

/// The name of a published service, in the folder's place.
fn published_name(folder: &Path) -> Result<String> {
    let text = folder.to_str().context("a service's name is text")?;
    let name: rialto_registry::Name = text
        .parse()
        .with_context(|| format!("`{text}` is no service's name"))?;
    Ok(name.to_string())
}

/// Whether a folder holds a service as far as its files tell.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    // What is wrong with it is better told here, where its author is.
    let manifest = rialto_node::read_manifest(&folder.join("service.toml"))?;
    let component = folder.join("component.wasm");
    let start = std::fs::read(&component).with_context(|| {
        format!(
            "cannot read {}: build the service first, and deploy the folder with both files",
            component.display()
        )
    })?;
    if start.get(..COMPONENT_START.len()) != Some(COMPONENT_START) {
        bail!(
            "{} is no WebAssembly component: build {} for wasm32-wasip2",
            component.display(),
            manifest.name()
        );
    }
    Ok(())
}

/// New calls go to a version that ran before.
pub(crate) async fn rollback(args: RollbackArgs) -> Result<()> {
    let wanted = Act::Rollback {
        service: args.service,
        version: args.version,
    };
    let answer = act(args.data_dir.as_deref(), &wanted).await?;
    tell_changed(&answer, args.json);
    Ok(())
}

/// No new calls.
pub(crate) async fn drain(args: DrainArgs) -> Result<()> {
    let what = args
        .service
        .clone()
        .unwrap_or_else(|| "all services".to_owned());
    let wanted = Act::Drain {
        service: args.service,
        wait_seconds: args.wait,
    };
    let answer = act(args.data_dir.as_deref(), &wanted).await?;
    if args.json {
        show::json(&answer);
        return Ok(());
    }
    match answer.get("running").and_then(Value::as_u64) {
        Some(0) => line(format!("{what}: no new calls, and none runs")),
        Some(running) => line(format!(
            "{what}: no new calls; {running} still run after {} s, each no longer than its limit",
            args.wait
        )),
        None => bail!("the running node is of another version: {answer}"),
    }
    Ok(())
}

/// New calls again.
pub(crate) async fn resume(args: ResumeArgs) -> Result<()> {
    let what = args
        .service
        .clone()
        .unwrap_or_else(|| "all services".to_owned());
    let wanted = Act::Resume {
        service: args.service,
    };
    let answer = act(args.data_dir.as_deref(), &wanted).await?;
    if args.json {
        show::json(&answer);
    } else {
        line(format!("{what}: new calls are taken"));
    }
    Ok(())
}

/// A service goes.
pub(crate) async fn remove(args: RemoveArgs) -> Result<()> {
    let service = args.service.clone();
    let wanted = Act::Remove {
        service: args.service,
    };
    let answer = act(args.data_dir.as_deref(), &wanted).await?;
    if args.json {
        show::json(&answer);
    } else {
        line(format!(
            "{service} is no longer offered; `rialto rollback {service}` brings it back"
        ));
    }
    Ok(())
}

/// Every service with its versions and states.
pub(crate) async fn versions(data_dir: Option<&Path>, json: bool) -> Result<()> {
    let answer = ask(data_dir, "services").await?;
    if json {
        show::json(&answer);
        return Ok(());
    }
    let list = |value: &Value, field: &str| {
        let list = value.get(field).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join("\n")
    };
    let text = |value: &Value, field: &str| match value.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let mut table = show::table(&["service", "version", "state", "code", "running", "kept"]);
    for service in answer
        .get("services")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let code = service.get("code_bytes").and_then(Value::as_u64);
        let ending = list(service, "ending");
        let running = text(service, "running");
        table.add_row([
            text(service, "name"),
            text(service, "version"),
            text(service, "state"),
            code.map_or_else(|| "cold".to_owned(), |bytes| format!("{} KiB", bytes >> 10)),
            if ending.is_empty() {
                running
            } else {
                format!("{running}\n{ending}")
            },
            list(service, "kept"),
        ]);
    }
    line(table.to_string());
    let objects = |field: &str| answer.get(field).and_then(Value::as_object).cloned();
    for (name, _) in objects("removed").into_iter().flatten() {
        line(format!(
            "removed: {name} (`rialto rollback {name}` brings it back)"
        ));
    }
    for (folder, why) in objects("left_out").into_iter().flatten() {
        line(format!(
            "left out: {folder}: {}",
            why.as_str().unwrap_or("?")
        ));
    }
    Ok(())
}

/// What the desk says of all services.
pub(crate) fn standing_json(standing: &Standing) -> Value {
    let services: Vec<Value> = standing.services.iter().map(service_json).collect();
    json!({
        "services": services,
        "removed": standing.removed,
        "left_out": standing.left_out,
    })
}

fn service_json(service: &ServiceStanding) -> Value {
    let state = match service.closed {
        _ if !service.is_seen => "preparing",
        None => "open",
        Some(Closed::Drained) => "drained",
        Some(Closed::Quarantined) => "quarantined",
        Some(_) => "closed",
    };
    let ending = service.ending.iter();
    let ending = ending.map(|(version, running)| format!("{running} on {version}"));
    json!({
        "name": service.name,
        "version": service.version,
        "state": state,
        "code_bytes": service.code_bytes,
        "running": service.running,
        "ending": ending.collect::<Vec<_>>(),
        "kept": service.kept,
    })
}

fn changed_json(changed: &Changed) -> Value {
    json!({
        "service": changed.service,
        "version": changed.version,
        "before": changed.before,
        "ending": changed.ending,
    })
}

fn tell_changed(answer: &Value, json: bool) {
    if json {
        show::json(answer);
        return;
    }
    let text = |field: &str| answer.get(field).and_then(Value::as_str);
    let (service, version) = (
        text("service").unwrap_or("?"),
        text("version").unwrap_or("?"),
    );
    line(format!("{service}: new calls go to {version}"));
    match (text("before"), answer.get("ending").and_then(Value::as_u64)) {
        (Some(before), Some(ending)) if ending > 0 => {
            line(format!("  {ending} calls end on {before}"));
        }
        (Some(before), _) => line(format!(
            "  it was {before}: `rialto rollback {service}` goes back"
        )),
        (None, _) => {}
    }
}

pub(crate) async fn act(data_dir: Option<&Path>, act: &Act) -> Result<Value> {
    ask(data_dir, &serde_json::to_string(act)?).await
}

async fn ask(data_dir: Option<&Path>, question: &str) -> Result<Value> {
    let data_dir = home::data_dir(data_dir)?;
    admin::ask(&data_dir, question).await?.with_context(|| {
        format!(
            "no node runs on {}: start one with `rialto up`, or pass its --data-dir",
            data_dir.display()
        )
    })
}

/// As long as the desk waits for anything.
const DRAIN_SECONDS_MAX: u64 = 300;
/// A component's first bytes: a module's have another version.
const COMPONENT_START: &[u8] = b"\0asm\x0d\0\x01\0";
