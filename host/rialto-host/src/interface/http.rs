//! Handlers of `wasi:http` as a service's interface: one method, `handle`, whose parameters are a request
//! and whose result is a response.
//!
//! So a handler has a price, a schema and receipts like every other service, and a gateway may take
//! requests for it as they are.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::ty::{Int, Named, Ty, TyKind};
use super::walk::{Export, Walked, method};
use super::{Interface, Method, Returns, Signature};

/// The method's name.
pub(crate) const HANDLE: &str = "handle";

/// What a handler exports, whatever the version's last number.
const EXPORT: &str = "wasi:http/incoming-handler@0.2.";

/// The interface of a component that handles requests.
pub(super) fn walk(engine: &Engine, component: &Component) -> Option<Walked> {
    let ty = component.component_type();
    let name = ty.exports(engine).find_map(|(name, item)| {
        let is_instance = matches!(item.ty, ComponentItem::ComponentInstance(_));
        (is_instance && name.starts_with(EXPORT)).then(|| name.to_owned())
    })?;
    let parent = component.get_export_index(None, name.as_str())?;
    let export = component.get_export_index(Some(&parent), HANDLE)?;
    let interface = Interface {
        name,
        docs: Some("Handles HTTP requests.".to_owned()),
        methods: vec![handle()],
    };
    let exports = vec![Export {
        method: export,
        next: None,
    }];
    Some(Walked { interface, exports })
}

fn handle() -> Method {
    let params = vec![
        named(
            "method",
            optional(TyKind::String, "The request's method; `POST` if not given."),
        ),
        named(
            "path",
            optional(TyKind::String, "Path and query; `/` if not given."),
        ),
        named(
            "headers",
            optional(
                headers(),
                "The request's headers, as pairs of name and value.",
            ),
        ),
        named("body", ty(TyKind::Bytes, "The request's body.")),
    ];
    let response = || {
        let record = TyKind::Record(vec![
            named("status", ty(TyKind::Int(Int::U16), "The status code.")),
            named(
                "headers",
                ty(headers(), "The headers, as pairs of name and value."),
            ),
            named("body", ty(TyKind::Bytes, "The body.")),
        ]);
        Some(ty(record, "An HTTP response."))
    };
    let signature = Signature {
        params,
        // A status of 500 or more is a failure, for which nobody pays.
        returns: Returns::Result {
            ok: response(),
            err: response(),
        },
        is_handler: true,
    };
    let docs = "Handles one HTTP request. A response whose status is 500 or more is a refusal.";
    method(HANDLE.to_owned(), Some(docs.to_owned()), signature)
}

fn headers() -> TyKind {
    let text = || plain(TyKind::String);
    TyKind::List(Box::new(plain(TyKind::Tuple(vec![text(), text()]))))
}

fn optional(kind: TyKind, docs: &str) -> Ty {
    ty(TyKind::Option(Box::new(plain(kind))), docs)
}

fn ty(kind: TyKind, docs: &str) -> Ty {
    Ty {
        docs: Some(docs.to_owned()),
        ..plain(kind)
    }
}

fn plain(kind: TyKind) -> Ty {
    Ty {
        kind,
        name: None,
        docs: None,
    }
}

fn named(name: &str, ty: Ty) -> Named {
    Named {
        json: name.to_owned(),
        wit: name.to_owned(),
        docs: ty.docs.clone(),
        ty,
    }
}
