//! Capabilities: what a guest may import, one module each, linked only when granted.
//!
//! [`check_imports`] compares a component's imports with its grants before anything is linked, so that
//! the author learns every missing line at once; [`link`] then defines exactly the granted interfaces.

pub(crate) mod calls;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod devices;
pub(crate) mod generation;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod log;
pub(crate) mod operations;
pub(crate) mod random;
pub(crate) mod tensor;
pub(crate) mod wasi;
pub(crate) mod wasi_nn;

use std::collections::BTreeSet;

use wasmtime::component::Linker;

use crate::error::{LoadError, MissingGrant};
use crate::spec::{Callees, Grants, WasiGroup};
use crate::state::CallState;

/// Host-side bindings of the `wit/` packages.
pub(crate) mod bindings {
    /// `rialto:tensor`.
    pub(crate) mod tensor {
        wasmtime::component::bindgen!({
            path: "../../wit/tensor",
            world: "imports",
            imports: {
                "rialto:tensor/tensors.[static]tensor.from-bytes": async | trappable,
                "rialto:tensor/tensors.[method]tensor.read": async | trappable,
                "rialto:tensor/operations": async | trappable,
                "rialto:tensor/devices.choose": async | trappable,
                "rialto:tensor/models.[static]model.open": async | trappable,
                "rialto:tensor/models.[method]model.run": async | trappable,
                "rialto:tensor/generation.[method]language-model.tokenise": async | trappable,
                "rialto:tensor/generation.[method]language-model.template": async | trappable,
                "rialto:tensor/generation.[method]session.prefill": async | trappable,
                "rialto:tensor/generation.[method]session.generate": async | trappable,
                "rialto:tensor/generation.[method]session.likeliest": async | trappable,
                default: trappable,
            },
            with: {
                "rialto:tensor/tensors.tensor": crate::capabilities::tensor::HostTensor,
                "rialto:tensor/models.model": crate::capabilities::tensor::HostModel,
                "rialto:tensor/generation.language-model":
                    crate::capabilities::generation::HostLanguageModel,
                "rialto:tensor/generation.session": crate::capabilities::generation::HostSession,
            },
        });
    }

    /// `wasi:nn`.
    pub(crate) mod wasi_nn {
        wasmtime::component::bindgen!({
            path: "../../wit/wasi-nn",
            world: "ml",
            imports: {
                "wasi:nn/tensor.[constructor]tensor": async | trappable,
                "wasi:nn/graph.load": async | trappable,
                "wasi:nn/graph.load-by-name": async | trappable,
                "wasi:nn/inference.[method]graph-execution-context.compute": async | trappable,
                default: trappable,
            },
            with: {
                "wasi:nn/tensor.tensor": crate::capabilities::wasi_nn::NnTensor,
                "wasi:nn/graph.graph": crate::capabilities::wasi_nn::NnGraph,
                "wasi:nn/inference.graph-execution-context": crate::capabilities::wasi_nn::NnContext,
                "wasi:nn/errors.error": crate::capabilities::wasi_nn::NnError,
            },
        });
    }

    /// `wasi:keyvalue`, first draft.
    pub(crate) mod keyvalue_draft {
        wasmtime::component::bindgen!({
            path: "../../wit/wasi-keyvalue/draft",
            world: "imports",
            imports: {
                "wasi:keyvalue/store.open": trappable,
                "wasi:keyvalue/store.[drop]bucket": trappable,
                default: async | trappable,
            },
            with: { "wasi:keyvalue/store.bucket": crate::capabilities::keyvalue::OpenBucket },
        });
    }

    /// `wasi:keyvalue`, second draft.
    pub(crate) mod keyvalue_draft2 {
        wasmtime::component::bindgen!({
            path: "../../wit/wasi-keyvalue/draft2",
            world: "imports",
            imports: {
                "wasi:keyvalue/store.open": trappable,
                "wasi:keyvalue/store.[drop]bucket": trappable,
                "wasi:keyvalue/atomics.[method]cas.current": trappable,
                "wasi:keyvalue/atomics.[drop]cas": trappable,
                default: async | trappable,
            },
            with: {
                "wasi:keyvalue/store.bucket": crate::capabilities::keyvalue::OpenBucket,
                "wasi:keyvalue/atomics.cas": crate::capabilities::keyvalue::Noted,
            },
        });
    }

    /// `fermyon:spin/key-value`.
    pub(crate) mod keyvalue_spin {
        wasmtime::component::bindgen!({
            path: "../../wit/spin-key-value",
            world: "imports",
            imports: {
                "fermyon:spin/key-value.[static]store.open": trappable,
                "fermyon:spin/key-value.[drop]store": trappable,
                default: async | trappable,
            },
            with: { "fermyon:spin/key-value.store": crate::capabilities::keyvalue::OpenBucket },
        });
    }

    /// `rialto:mesh`.
    pub(crate) mod mesh {
        wasmtime::component::bindgen!({
            path: "../../wit/mesh",
            world: "imports",
            imports: {
                "rialto:mesh/calls.budget-left": trappable,
                default: async | trappable,
            },
            with: { "rialto:mesh/calls.items": crate::capabilities::calls::OpenItems },
        });
    }

    /// `rialto:service`.
    pub(crate) mod service {
        wasmtime::component::bindgen!({
            path: "../../wit/service",
            world: "imports",
            imports: { default: trappable },
        });
    }
}

/// Defines the granted interfaces and nothing else.
pub(crate) fn link(linker: &mut Linker<CallState>, grants: &Grants) -> wasmtime::Result<()> {
    if grants.tensor {
        tensor::link(linker)?;
        generation::link(linker)?;
        wasi_nn::link(linker)?;
    }
    if grants.context {
        context::link(linker)?;
    }
    if grants.log {
        log::link(linker)?;
    }
    if grants.http.is_some() {
        http::link(linker)?;
    }
    if grants.calls.is_some() {
        calls::link(linker)?;
    }
    if grants.config {
        config::link(linker)?;
    }
    if grants.key_value {
        keyvalue::link(linker)?;
    }
    for group in &grants.wasi {
        wasi::link(linker, *group)?;
    }
    Ok(())
}

/// Checks that every import is granted.
///
/// # Errors
/// [`LoadError::NeverGranted`] for interfaces that no grant gives, else [`LoadError::NotGranted`] with
/// every missing line.
pub(crate) fn check_imports<'a>(
    imports: impl Iterator<Item = &'a str>,
    grants: &Grants,
) -> Result<(), LoadError> {
    let mut missing = Vec::new();
    let mut wasi_missing = Vec::new();
    for import in imports {
        match needed(import) {
            Needed::Flag(name) if !flag(grants, name) => missing.push(MissingGrant {
                interface: import.to_owned(),
                line: format!("{name} = true"),
            }),
            Needed::Wasi(group) if !grants.wasi.contains(&group) => {
                wasi_missing.push((import, group));
            }
            Needed::Http if grants.http.is_none() => missing.push(MissingGrant {
                interface: import.to_owned(),
                line:
                    "http = [] # and the origins that it may call, such as \"https://example.com\""
                        .to_owned(),
            }),
            Needed::Calls if grants.calls.is_none() => missing.push(MissingGrant {
                interface: import.to_owned(),
                line: "calls = [] # and the services that it may call, or \"*\" for all".to_owned(),
            }),
            Needed::Service(name) if !may_call(grants, name) => missing.push(MissingGrant {
                interface: import.to_owned(),
                line: Callees::line_with(grants.calls.as_ref(), name),
            }),
            Needed::Flag(_)
            | Needed::Wasi(_)
            | Needed::Http
            | Needed::Calls
            | Needed::Service(_) => {}
            Needed::Never(advice) => {
                return Err(LoadError::NeverGranted {
                    interface: import.to_owned(),
                    advice: advice.to_owned(),
                });
            }
        }
    }
    // One line grants all groups: each entry names the whole line that the manifest must hold.
    let mut groups: BTreeSet<WasiGroup> = grants.wasi.clone();
    groups.extend(wasi_missing.iter().map(|(_, group)| *group));
    let line = wasi_line(&groups);
    missing.extend(wasi_missing.into_iter().map(|(import, _)| MissingGrant {
        interface: import.to_owned(),
        line: line.clone(),
    }));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LoadError::NotGranted(missing))
    }
}

/// What a manifest must say before an interface is linked.
enum Needed<'a> {
    /// `calls = […]`.
    Calls,
    /// `calls = […]` with this service.
    Service(&'a str),
    /// `name = true`.
    Flag(&'static str),
    /// A group in `wasi = […]`.
    Wasi(WasiGroup),
    /// `http = […]`.
    Http,
    /// Nothing grants it; the advice for the author.
    Never(&'static str),
}

fn needed(import: &str) -> Needed<'_> {
    let path = import.split('@').next().unwrap_or(import);
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    if let Some(service) = calls::callee(import) {
        return Needed::Service(service);
    }
    match (package, interface) {
        ("rialto:mesh", "calls") => Needed::Calls,
        ("rialto:tensor" | "wasi:nn", _) => Needed::Flag("tensor"),
        ("rialto:service", "context") => Needed::Flag("context"),
        ("rialto:service", "log") => Needed::Flag("log"),
        ("wasi:http", _) => Needed::Http,
        ("wasi:config", "store") => Needed::Flag("config"),
        ("wasi:keyvalue", "store" | "atomics" | "batch") | ("fermyon:spin", "key-value") => {
            Needed::Flag("key_value")
        }
        ("wasi:sockets", _) => Needed::Never("services have no network; remove uses of `std::net`"),
        _ => package
            .strip_prefix("wasi:")
            .and_then(WasiGroup::from_name)
            .map_or(
                Needed::Never("only rialto:*, the WASI groups of the manifest and Spin's key-value exist here"),
                Needed::Wasi,
            ),
    }
}

fn may_call(grants: &Grants, service: &str) -> bool {
    let callees = grants.calls.as_ref();
    callees.is_some_and(|callees| callees.contains(service))
}

fn flag(grants: &Grants, name: &str) -> bool {
    match name {
        "tensor" => grants.tensor,
        "context" => grants.context,
        "log" => grants.log,
        "key_value" => grants.key_value,
        "config" => grants.config,
        _ => false,
    }
}

fn wasi_line(groups: &BTreeSet<WasiGroup>) -> String {
    let names: Vec<String> = groups.iter().map(|group| format!("\"{group}\"")).collect();
    format!("wasi = [{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_line_is_named_at_once() {
        let grants = Grants {
            wasi: BTreeSet::from([WasiGroup::Io]),
            ..Grants::default()
        };
        let imports = [
            "rialto:tensor/models@0.1.0",
            "wasi:io/streams@0.2.6",
            "wasi:clocks/wall-clock@0.2.6",
        ];
        let error = check_imports(imports.into_iter(), &grants).unwrap_err();
        let LoadError::NotGranted(missing) = error else {
            panic!("{error}")
        };
        let lines: Vec<&str> = missing.iter().map(|grant| grant.line.as_str()).collect();
        assert_eq!(lines, ["tensor = true", r#"wasi = ["io", "clocks"]"#]);
    }

    #[test]
    fn sockets_and_strangers_are_never_granted() {
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasi:blobstore/container@0.2.0",
            "fermyon:spin/sqlite@2.0.0",
            "evil",
        ] {
            let error = check_imports([import].into_iter(), &Grants::default()).unwrap_err();
            assert!(matches!(error, LoadError::NeverGranted { .. }), "{error}");
        }
    }
}
