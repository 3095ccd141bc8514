//! Walks a component's exported types into an [`Interface`].
//!
//! Bounded in depth and size: types are a graph, and a small hostile component can describe a tree of
//! exponential size.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds that cannot be served are refused together; docs that do not match are ignored"
)]

mod leaves;
mod method;

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::types::{
    ComponentFunc, ComponentInstance, ComponentItem, ResourceType, Type,
};
use wasmtime::component::{Component, ComponentExportIndex};
use wit_parser::{Type as WitType, TypeDef, TypeDefKind};

use super::docs::{Docs, InterfaceDocs, text_of};
use super::stream::{self, Refusal, Resource, Stream};
use super::ty::{Case, Named, Ty, TyKind, snake};
use super::{Interface, Method, Returns, Signature};
use crate::error::LoadError;
use leaves::scalar;
pub(super) use method::method;

/// Types nested in types.
const DEPTH_MAX: usize = 32;
/// Methods, types and cases in the whole interface, counted where they are used.
const NODES_MAX: usize = 10_000;
/// Names and documentation in the whole interface, in bytes, counted where they are used: one long
/// comment on a type that is used often would fill the host's memory. Names beyond it are refused,
/// documentation is left out.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Resources that the interface exports.
const RESOURCES_MAX: usize = 64;
const TOO_LARGE: &str = "its types are nested too deeply or too large";

/// An interface, and where the component exports each of its methods.
pub(crate) struct Walked {
    pub(crate) interface: Interface,
    /// In the order of the methods.
    pub(crate) exports: Vec<Export>,
}

/// Where the component exports a method.
#[derive(Clone, Copy)]
pub(crate) struct Export {
    pub(crate) method: ComponentExportIndex,
    /// The function that gives the next item of the stream that the method returns.
    pub(crate) next: Option<ComponentExportIndex>,
}

/// Reads the one interface that `component` exports, with docs from its bytes.
///
/// # Errors
/// [`LoadError::Interface`] when there is none or several, or a type cannot be served.
pub(crate) fn walk(
    engine: &Engine,
    component: &Component,
    bytes: &[u8],
) -> Result<Walked, LoadError> {
    if let Some(handler) = super::http::walk(engine, component) {
        return Ok(handler);
    }
    let found = find_functions(engine, component)?;
    let docs = Docs::read(bytes);
    let interface_docs = docs.interface(&found.export);
    let mut builder = Builder {
        docs: interface_docs.as_ref(),
        resources: &found.resources,
        next: None,
        nodes: 0,
        text_bytes: 0,
    };
    let mut methods = Vec::with_capacity(found.functions.len());
    let mut exports = Vec::with_capacity(found.functions.len());
    for (name, function, index) in found.functions {
        let built = builder
            .method(&name, &function)
            .map_err(|problem| LoadError::Interface(format!("function `{name}`: {problem}")))?;
        methods.push(built);
        exports.push(Export {
            method: index,
            next: builder.next.take(),
        });
    }
    let name = if found.export.is_empty() {
        "root".to_owned()
    } else {
        found.export
    };
    let interface = Interface {
        name,
        docs: interface_docs.and_then(|docs| docs.docs),
        methods,
    };
    Ok(Walked { interface, exports })
}

/// What a component imports of another service's interface.
pub(crate) struct Imported {
    /// The functions by their names.
    pub(crate) functions: Vec<(String, Arc<Signature>)>,
    /// The resources that are streams, of which each has its `next`.
    pub(crate) streams: Vec<String>,
}

/// Reads an interface that a component imports.
///
/// # Errors
/// Which function has types that have no JSON, and why.
pub(crate) fn imported(engine: &Engine, instance: &ComponentInstance) -> Result<Imported, String> {
    let (mut functions, mut resources) = (Vec::new(), Vec::new());
    for (name, item) in instance.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) => {
                functions.push((name.to_owned(), function, ()));
            }
            ComponentItem::Resource(resource) => resources.push((name.to_owned(), resource)),
            _ => {}
        }
    }
    let resources: Vec<Resource<()>> = resources
        .into_iter()
        .map(|(name, ty)| Resource::new(&name, ty, &mut functions))
        .collect();
    let mut builder = Builder {
        docs: None,
        resources: &resources,
        next: None,
        nodes: 0,
        text_bytes: 0,
    };
    let signatures = functions.iter().map(|(name, function, ())| {
        let method = builder.method(name, function);
        let method = method.map_err(|problem| format!("`{name}`: {problem}"))?;
        Ok((name.clone(), method.signature))
    });
    Ok(Imported {
        functions: signatures.collect::<Result<_, String>>()?,
        streams: resources.iter().map(|it| it.name.clone()).collect(),
    })
}

/// The exported functions of a component.
struct Found {
    /// The interface's name; empty for functions of the world itself.
    export: String,
    functions: Vec<(String, ComponentFunc, ComponentExportIndex)>,
    resources: Vec<Resource>,
}

fn find_functions(engine: &Engine, component: &Component) -> Result<Found, LoadError> {
    let refuse = |text: String| Err(LoadError::Interface(text));
    let ty = component.component_type();
    let mut interfaces = Vec::new();
    let mut functions = Vec::new();
    let mut resources = Vec::new();
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentInstance(instance) if !name.starts_with("wasi:") => {
                interfaces.push((name.to_owned(), instance));
            }
            ComponentItem::ComponentFunc(function) => {
                let index = component.get_export_index(None, name);
                functions.extend(index.map(|index| (name.to_owned(), function, index)));
            }
            ComponentItem::Resource(resource) => resources.push((name.to_owned(), resource)),
            _ => {}
        }
    }
    // Toolchains of other languages leave their own entrance beside the service (componentize-qjs a
    // function `init`, componentize-py an interface `exports`), without a package's name: it cannot be
    // called.
    if let [own] = interfaces
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| name.contains('/'))
        .map(|(at, _)| at)
        .collect::<Vec<_>>()[..]
    {
        interfaces = vec![interfaces.swap_remove(own)];
        functions.clear();
        resources.clear();
    }
    if interfaces.len() + usize::from(!functions.is_empty()) > 1 {
        let names: Vec<&str> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
        return refuse(format!(
            "a service exports one interface or plain functions, found {}",
            names.join(", ")
        ));
    }
    let mut export = String::new();
    if let Some((name, instance)) = interfaces.pop() {
        let parent = component.get_export_index(None, name.as_str());
        for (function_name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(function) => {
                    let index = component.get_export_index(parent.as_ref(), function_name);
                    functions
                        .extend(index.map(|index| (function_name.to_owned(), function, index)));
                }
                ComponentItem::Resource(resource) => {
                    resources.push((function_name.to_owned(), resource));
                }
                _ => {}
            }
        }
        export = name;
    }
    if resources.len() > RESOURCES_MAX {
        return refuse(format!("it exports more than {RESOURCES_MAX} resources"));
    }
    let resources = resources
        .into_iter()
        .map(|(name, ty)| Resource::new(&name, ty, &mut functions))
        .collect();
    if functions.is_empty() {
        return refuse("it exports no function of its own".to_owned());
    }
    Ok(Found {
        export,
        functions,
        resources,
    })
}

struct Builder<'a, P = ComponentExportIndex> {
    docs: Option<&'a InterfaceDocs<'a>>,
    resources: &'a [Resource<P>],
    /// Of the stream that the method at hand returns.
    next: Option<P>,
    nodes: usize,
    text_bytes: usize,
}

impl<P: Copy> Builder<'_, P> {
    fn method(&mut self, name: &str, function: &ComponentFunc) -> Result<Method, String> {
        if name.starts_with('[') {
            return Err("resources cannot be served; export plain functions".to_owned());
        }
        if function.async_() {
            return Err("async functions cannot be served yet".to_owned());
        }
        self.named(name)?;
        let wit = self.docs.and_then(|docs| docs.function(name));
        let mut params = Vec::new();
        for (at, (param, ty)) in function.params().enumerate() {
            self.named(param)?;
            let wit_type = wit.and_then(|wit| wit.params.get(at)).map(|param| param.ty);
            params.push(Named {
                json: snake(param),
                wit: param.to_owned(),
                docs: None,
                ty: self
                    .build(&ty, wit_type, 0)
                    .map_err(|problem| format!("parameter `{param}`: {problem}"))?,
            });
        }
        let returns = self
            .returns(function, wit.and_then(|wit| wit.result))
            .map_err(|problem| format!("result: {problem}"))?;
        let docs = self.text(wit.and_then(|wit| text_of(&wit.docs)));
        Ok(method(
            snake(name),
            docs,
            Signature {
                params,
                returns,
                is_handler: false,
            },
        ))
    }

    fn returns(
        &mut self,
        function: &ComponentFunc,
        wit: Option<WitType>,
    ) -> Result<Returns, String> {
        let Some(ty) = function.results().next() else {
            return Ok(Returns::Nothing);
        };
        if let Some(stream) = self.stream(&ty, wit)? {
            return Ok(Returns::Stream(Box::new(stream)));
        }
        let built = self.build(&ty, wit, 0)?;
        Ok(match built.kind {
            TyKind::Result { ok, err } => Returns::Result {
                ok: ok.map(|ok| *ok),
                err: err.map(|err| *err),
            },
            _ => Returns::Value(built),
        })
    }

    /// The stream that a method returns as it is, or as the ok part of a `result`.
    fn stream(&mut self, ty: &Type, wit: Option<WitType>) -> Result<Option<Stream>, String> {
        let (resource, opening) = match ty {
            Type::Own(resource) => (*resource, Refusal::Never),
            Type::Result(result) => {
                let Some(Type::Own(resource)) = result.ok() else {
                    return Ok(None);
                };
                let resolved = self.docs.map(|docs| docs.resolve(wit)).unwrap_or_default();
                let wit_err = match resolved.definition.map(|definition| &definition.kind) {
                    Some(TypeDefKind::Result(result)) => result.err,
                    _ => None,
                };
                let err = self.payload(result.err(), wit_err, 1)?;
                (resource, Refusal::With(err))
            }
            _ => return Ok(None),
        };
        self.stream_of(resource, opening).map(Some)
    }

    fn stream_of(&mut self, resource: ResourceType, opening: Refusal) -> Result<Stream, String> {
        let known = self.resources.iter().find(|known| known.ty == resource);
        let Some(known) = known else {
            return Err("a resource of another interface cannot be served".to_owned());
        };
        let Some((function, next)) = &known.next else {
            return Err(known.not_a_stream("it has no method `next`"));
        };
        if let Some(other) = &known.other {
            return Err(known.not_a_stream(&format!("it has `{other}`")));
        }
        let mut results = function.results();
        let (Some(returned), 1) = (results.next(), function.params().len()) else {
            return Err(known.not_a_stream("its `next` has another type"));
        };
        if function.async_() {
            return Err(known.not_a_stream("its `next` is async"));
        }
        let wit = self
            .docs
            .and_then(|docs| docs.function(&known.next_name())?.result);
        let returned = self.build(&returned, wit, 0)?;
        let Some((item, pulling)) = stream::parts(returned) else {
            return Err(known.not_a_stream("its `next` has another type"));
        };
        self.next = Some(*next);
        Ok(Stream {
            item,
            opening,
            pulling,
        })
    }

    fn build(&mut self, ty: &Type, wit: Option<WitType>, depth: usize) -> Result<Ty, String> {
        if depth > DEPTH_MAX {
            return Err(TOO_LARGE.to_owned());
        }
        self.named("")?;
        let resolved = self.docs.map(|docs| docs.resolve(wit)).unwrap_or_default();
        let kind = self.kind(ty, resolved.definition, depth + 1)?;
        Ok(Ty {
            kind,
            name: self.text(resolved.name),
            docs: self.text(resolved.docs),
        })
    }

    /// Counts something that has a name.
    fn named(&mut self, name: &str) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(1);
        self.text_bytes = self.text_bytes.saturating_add(name.len());
        if self.nodes > NODES_MAX || self.text_bytes > TEXT_BYTES_MAX {
            return Err(TOO_LARGE.to_owned());
        }
        Ok(())
    }

    /// Passes on what the WIT text says, while there is room.
    fn text(&mut self, text: Option<String>) -> Option<String> {
        let text = text?;
        let bytes = self.text_bytes.saturating_add(text.len());
        if bytes > TEXT_BYTES_MAX {
            return None;
        }
        self.text_bytes = bytes;
        Some(text)
    }

    fn kind(&mut self, ty: &Type, wit: Option<&TypeDef>, depth: usize) -> Result<TyKind, String> {
        let wit = wit.map(|definition| &definition.kind);
        if let Some(scalar) = scalar(ty) {
            return Ok(scalar);
        }
        match ty {
            Type::List(list) => {
                let element = list.ty();
                if element == Type::U8 {
                    return Ok(TyKind::Bytes);
                }
                let wit_element = match wit {
                    Some(TypeDefKind::List(element)) => Some(*element),
                    _ => None,
                };
                let element = self.build(&element, wit_element, depth)?;
                Ok(TyKind::List(Box::new(element)))
            }
            Type::Record(record) => self.record(record.fields(), wit, depth),
            Type::Tuple(tuple) => {
                let wit_types = match wit {
                    Some(TypeDefKind::Tuple(tuple)) => tuple.types.as_slice(),
                    _ => &[],
                };
                let mut elements = Vec::new();
                for (at, element) in tuple.types().enumerate() {
                    elements.push(self.build(&element, wit_types.get(at).copied(), depth)?);
                }
                Ok(TyKind::Tuple(elements))
            }
            Type::Variant(variant) => self.variant(variant.cases(), wit, depth),
            Type::Enum(names) => Ok(TyKind::Enum(self.enumeration(names.names(), wit)?)),
            Type::Flags(names) => Ok(TyKind::Flags(self.flags(names.names(), wit)?)),
            Type::Option(option) => {
                let wit_some = match wit {
                    Some(TypeDefKind::Option(some)) => Some(*some),
                    _ => None,
                };
                let some = self.build(&option.ty(), wit_some, depth)?;
                Ok(TyKind::Option(Box::new(some)))
            }
            Type::Result(result) => {
                let (wit_ok, wit_err) = match wit {
                    Some(TypeDefKind::Result(result)) => (result.ok, result.err),
                    _ => (None, None),
                };
                let ok = self.payload(result.ok(), wit_ok, depth)?.map(Box::new);
                let err = self.payload(result.err(), wit_err, depth)?.map(Box::new);
                Ok(TyKind::Result { ok, err })
            }
            Type::Own(_) | Type::Borrow(_) => Err(
                "resources cannot be served but as the stream that a method returns; use plain values"
                    .to_owned(),
            ),
            _ => Err("this kind of type cannot be served; use plain values".to_owned()),
        }
    }

    fn record<'t>(
        &mut self,
        fields: impl Iterator<Item = wasmtime::component::types::Field<'t>>,
        wit: Option<&TypeDefKind>,
        depth: usize,
    ) -> Result<TyKind, String> {
        let wit_fields = match wit {
            Some(TypeDefKind::Record(record)) => record.fields.as_slice(),
            _ => &[],
        };
        let mut built = Vec::new();
        for field in fields {
            self.named(field.name)?;
            let wit_field = wit_fields.iter().find(|wit| wit.name == field.name);
            built.push(Named {
                json: snake(field.name),
                wit: field.name.to_owned(),
                docs: self.text(wit_field.and_then(|wit| text_of(&wit.docs))),
                ty: self.build(&field.ty, wit_field.map(|wit| wit.ty), depth)?,
            });
        }
        Ok(TyKind::Record(built))
    }

    fn variant<'t>(
        &mut self,
        cases: impl Iterator<Item = wasmtime::component::types::Case<'t>>,
        wit: Option<&TypeDefKind>,
        depth: usize,
    ) -> Result<TyKind, String> {
        let wit_cases = match wit {
            Some(TypeDefKind::Variant(variant)) => variant.cases.as_slice(),
            _ => &[],
        };
        let mut built = Vec::new();
        for case in cases {
            self.named(case.name)?;
            let wit_case = wit_cases.iter().find(|wit| wit.name == case.name);
            let wit_payload = wit_case.and_then(|wit| wit.ty);
            built.push(Case {
                json: snake(case.name),
                wit: case.name.to_owned(),
                docs: self.text(wit_case.and_then(|wit| text_of(&wit.docs))),
                payload: self.payload(case.ty, wit_payload, depth)?,
            });
        }
        Ok(TyKind::Variant(built))
    }

    fn payload(
        &mut self,
        ty: Option<Type>,
        wit: Option<WitType>,
        depth: usize,
    ) -> Result<Option<Ty>, String> {
        ty.map(|ty| self.build(&ty, wit, depth)).transpose()
    }
}
