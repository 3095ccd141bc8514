//! Services that a component imports by their own types.
//!
//! The interface `any:embed/embed@1.0.0` is the service `embed`'s: each of its functions calls the service's method
//! of the same name. A refusal comes back as the error of the function's `result`; any other failure as well where
//! that error is a text, and else it ends the call. A method that streams returns its resource, whose `next` asks for
//! the next item.

mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, StoreContextMut};

use crate::error::LoadError;
use crate::hires::{Hire, HireError};
use crate::interface::{self, Refusal, Returns, Signature, Ty, TyKind};
use crate::json::{self, EncodeError};
use crate::state::CallState;

/// A function of another service that a component imports.
#[derive(Debug)]
struct Typed {
    service: String,
    method: String,
    signature: Arc<Signature>,
}

/// The service whose interface an import is; none for ours and WASI's.
pub(crate) fn callee(import: &str) -> Option<&str> {
    let path = import.split('@').next().unwrap_or(import);
    let (package, _) = path.split_once('/')?;
    let (namespace, name) = package.split_once(':')?;
    let is_of_hosts = ["rialto", "wasi", "fermyon"].contains(&namespace);
    (!is_of_hosts && !name.is_empty()).then_some(name)
}

/// Defines the interfaces of other services that a component imports.
///
/// # Errors
/// For functions whose types cannot be said in JSON.
pub(crate) fn link(
    linker: &mut Linker<CallState>,
    component: &Component,
    engine: &Engine,
) -> Result<(), LoadError> {
    let ty = component.component_type();
    let mut named = BTreeSet::new();
    for (import, item) in ty.imports(engine) {
        let (Some(service), ComponentItem::ComponentInstance(instance)) =
            (callee(import), &item.ty)
        else {
            continue;
        };
        if !named.insert(import.to_owned()) {
            continue;
        }
        let failed = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let mut defined = linker.instance(import).map_err(failed)?;
        let imported = interface::imported(engine, instance).map_err(|problem| {
            LoadError::Interface(format!(
                "`{import}` cannot be called by its types: {problem}; call it by name (rialto:mesh/calls)"
            ))
        })?;
        for resource in imported.streams {
            streams::define(&mut defined, &resource).map_err(failed)?;
        }
        for (method, signature) in imported.functions {
            let typed = Arc::new(Typed {
                service: service.to_owned(),
                method: method.clone(),
                signature,
            });
            let added = defined.func_new_async(&method, move |store, _, params, results| {
                Box::new(called(Arc::clone(&typed), store, params, results))
            });
            added.map_err(failed)?;
        }
    }
    Ok(())
}

async fn called<'a>(
    typed: Arc<Typed>,
    mut store: StoreContextMut<'a, CallState>,
    params: &'a [Val],
    results: &'a mut [Val],
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let bytes_max = state.shared.limits.transfer_bytes_max;
    let arguments = typed.arguments(params, bytes_max).map_err(|error| {
        let text = match error {
            EncodeError::TooLarge => format!("they have more than {bytes_max} bytes as JSON"),
            EncodeError::Mismatch => "they are not of their types".to_owned(),
        };
        HireError::Invalid(format!("the arguments of `{}`: {text}", typed.method))
    })?;
    let hire = Hire {
        service: typed.service.clone(),
        method: typed.method.clone(),
        arguments,
        price_max: None,
        deadline: state.deadline,
        lends: state.lends,
    };
    let value = match typed.signature.stream() {
        Some(stream) => {
            let opened = streams::open(&typed, store, hire).await?;
            typed.wrapped(&stream.opening, opened)?
        }
        None => {
            let hired = state.hire(hire).await?.map(|hired| hired.body);
            typed.result(hired)?
        }
    };
    if let (Some(slot), Some(value)) = (results.first_mut(), value) {
        *slot = value;
    }
    Ok(())
}

impl Typed {
    /// The arguments as a JSON object.
    fn arguments(&self, params: &[Val], bytes_max: u64) -> Result<Bytes, EncodeError> {
        let mut text = BytesMut::new();
        text.put_u8(b'{');
        for (at, (param, value)) in self.signature.params.iter().zip(params).enumerate() {
            if at > 0 {
                text.put_u8(b',');
            }
            let left = bytes_max.saturating_sub(text.len() as u64);
            let value = json::encode(&param.ty, value, left)?;
            text.put_slice(format!("\"{}\":", param.json).as_bytes());
            text.put_slice(&value);
        }
        text.put_u8(b'}');
        Ok(text.freeze())
    }

    /// What the guest gets; none where the function returns nothing.
    fn result(&self, hired: Result<Bytes, HireError>) -> Result<Option<Val>, HireError> {
        match &self.signature.returns {
            Returns::Nothing => hired.map(|_| None),
            Returns::Value(ty) => self.value(ty, &hired?).map(Some),
            Returns::Result { ok, err } => {
                let hired = match hired {
                    Ok(body) => Ok(self.payload(ok.as_ref(), &body)?),
                    Err(error) => Err(error),
                };
                self.result_of(err.as_ref(), hired).map(Some)
            }
            Returns::Stream(_) => Err(HireError::Failed("it returns a stream".to_owned())),
        }
    }

    /// What a function of a stream gives the guest, where it may refuse in this way.
    fn wrapped(
        &self,
        refusal: &Refusal,
        made: Result<Val, HireError>,
    ) -> Result<Option<Val>, HireError> {
        match refusal {
            Refusal::Never => made.map(Some),
            Refusal::With(err) => {
                let made = made.map(|value| Some(Box::new(value)));
                self.result_of(err.as_ref(), made).map(Some)
            }
        }
    }

    fn result_of(
        &self,
        err: Option<&Ty>,
        made: Result<Option<Box<Val>>, HireError>,
    ) -> Result<Val, HireError> {
        Ok(Val::Result(match made {
            Ok(value) => Ok(value),
            Err(error) => Err(self.refusal(err, error)?),
        }))
    }

    fn refusal(&self, ty: Option<&Ty>, error: HireError) -> Result<Option<Box<Val>>, HireError> {
        match (error, ty) {
            (HireError::Refused(json), ty) => self.payload(ty, json.as_bytes()),
            (error, Some(ty)) if ty.kind == TyKind::String => {
                Ok(Some(Box::new(Val::String(error.to_string()))))
            }
            (error, _) => Err(error),
        }
    }

    fn payload(&self, ty: Option<&Ty>, json: &[u8]) -> Result<Option<Box<Val>>, HireError> {
        ty.map(|ty| self.value(ty, json).map(Box::new)).transpose()
    }

    fn value(&self, ty: &Ty, json: &[u8]) -> Result<Val, HireError> {
        let other = |text: String| {
            let (service, method) = (&self.service, &self.method);
            HireError::Failed(format!(
                "the answer of `{service}` to `{method}` is of another type: {text}"
            ))
        };
        if json::value_cost(ty, json) > VALUE_BYTES_MAX {
            return Err(HireError::Failed(format!(
                "the answer of `{}` is too large to be taken apart",
                self.service
            )));
        }
        json::decode_value(ty, json).map_err(other)
    }
}

/// Host memory that an answer may take while it is turned into values.
const VALUE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_names_the_service() {
        assert_eq!(callee("rialto-service:embed/embed@0.1.0"), Some("embed"));
        assert_eq!(callee("acme:find-faces/api"), Some("find-faces"));
        for own in [
            "rialto:mesh/calls@0.1.0",
            "wasi:io/streams@0.2.6",
            "fermyon:spin/key-value",
            "evil",
            "a/b",
            "a:/b",
        ] {
            assert_eq!(callee(own), None, "{own}");
        }
    }
}
