//! A loaded service: check arguments, then run them in a fresh instance.
//!
//! [`Service::prepare`] does everything that can fail because of the caller, before any money moves.
//! [`Service::call`] runs a call to its end, [`Service::open`] one whose answer comes item by item, and
//! [`Service::respond`] a handler of `wasi:http` whose response is taken while it is written. All
//! are cancel-safe: dropping them drops the instance; nothing survives a call.

mod call;
mod cells;
mod computers;
mod content;
mod description;
mod guest;
mod http;
mod items;
mod response;
mod stream;
mod warm;
mod written;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rialto_scheduler::Tenant;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};

pub use description::Description;

use crate::budget::Share;
use crate::capabilities;
use crate::capabilities::log::Journal;
use crate::cell::Cell;
use crate::deterministic::{Seed, is_steady};
use crate::engine::{Inner, PAGE_BYTES};
use crate::error::{ArgumentError, CallError, LoadError};
use crate::hires::Hirer;
use crate::interface::{self, Export, Interface, Method, Signature, Walked};
use crate::json::{self, Arg};
use crate::meters::MethodMeters;
use crate::model::Models;
use crate::settings::Redactor;
use crate::spec::{Isolation, Limits, ServiceSpec};
use crate::state::{CallState, Shared};
use computers::Operations;
use content::Content;
pub(crate) use guest::{Means, late};
use warm::Warmth;

pub use items::ItemList;
pub use response::GuestResponse;
pub use stream::GuestStream;
pub use written::{AnswerText, ResponseText};

/// A component that is ready to be called. Cloning is cheap.
#[derive(Clone)]
pub struct Service {
    loaded: Arc<Loaded>,
}

struct Loaded {
    host: Arc<Inner>,
    code: Code,
    operations: Operations,
    /// Where each method is, in the interface's order.
    exports: Vec<Export>,
    description: Description,
    version: String,
    steady: bool,
    component: [u8; 32],
    /// Bytes of compiled code.
    code_bytes: u64,
    shared: Arc<Shared>,
    /// The counts of its methods, by name.
    meters: HashMap<String, Arc<MethodMeters>>,
    warmth: Warmth,
}

/// Where a service's code runs.
enum Code {
    /// In this process.
    Here(InstancePre<CallState>),
    /// In a process of its own.
    Cell(Box<Cell>),
}

/// A component, compiled.
pub(crate) struct Compiled<'a> {
    pub(crate) component: Component,
    /// The sha256 of its bytes.
    pub(crate) digest: [u8; 32],
    /// Its bytes, for what they say of its interface; a cell has none.
    pub(crate) bytes: &'a [u8],
}

/// A call's arguments as they arrived.
#[derive(Debug, Clone)]
pub enum Arguments {
    /// A JSON object of parameters; empty means none.
    Json(Bytes),
    /// The bytes of the method's only byte list.
    Raw(Bytes),
    /// Form parts by parameter name: bytes and text as they are, everything else as JSON.
    Parts(Vec<Part>),
}

/// One part of a form.
#[derive(Debug, Clone)]
pub struct Part {
    /// The parameter's name.
    pub name: String,
    /// The part's content.
    pub content: Bytes,
}

/// Arguments that passed every check, for one call.
#[derive(Debug)]
pub struct Prepared {
    /// The component whose types were checked.
    component: [u8; 32],
    method: String,
    /// The method's place in the interface.
    at: usize,
    signature: Arc<Signature>,
    content: Content,
    input_bytes: u64,
    seed: Option<Seed>,
    /// Held until the call ends.
    _share: Share,
}

impl Prepared {
    /// The method's name in snake_case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Whether it is a request to a handler of `wasi:http`.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.signature.is_handler
    }

    /// The size of the arguments as received, in bytes; what prices count.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.input_bytes
    }
}

/// What the host must know of a call besides its arguments.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The call's identifier; guests can read it, and the receipt carries it.
    pub call_id: String,
    /// When the call ends at the latest; the service's own limit may end it sooner.
    pub deadline: Instant,
    /// On whose behalf: calls that wait are let in by turns of those who pay. Empty for nobody in
    /// particular.
    pub payer: String,
    /// What is paid for it at most, in any unit: whose turn it is where the operator lets prices decide.
    pub price: u128,
    /// Who calls other services for it.
    pub hirer: Arc<dyn Hirer>,
    /// Set where a guest of this host waits for it, in a place of its own: it is let in at once, or guests that wait
    /// for each other would take all places. So many bytes of host memory that guest leaves it meanwhile.
    pub awaited: Option<u64>,
}

/// The result of a successful call.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The result as JSON.
    pub body: Bytes,
    /// What the call used.
    pub usage: Usage,
}

/// What a call used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time from the call to its place, in the queue at the door.
    pub waited: Duration,
    /// Time from the call to the end of its answer, [`waited`](Self::waited) included.
    pub wall_time: Duration,
    /// Processor time of the guest and of the host's synchronous work for it.
    pub guest_time: Duration,
    /// Wall time of model loads and runs.
    pub host_time: Duration,
    /// The most linear memory held, in bytes.
    pub memory_peak: u64,
    /// The most table elements held.
    pub table_peak: u64,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// Bytes copied between guest and capabilities.
    pub host_bytes: u64,
    /// Bytes of the arguments as received.
    pub input_bytes: u64,
    /// Bytes of the JSON result.
    pub output_bytes: u64,
    /// Runs of models, and of recorded tensor operations.
    pub tensor_runs: u64,
    /// Time of models and operations on their device; waiting for it not counted.
    pub device_time: Duration,
    /// Multiplications with addition of tensor operations.
    pub multiply_adds: u64,
    /// Bytes of tensors moved between guest and device.
    pub moved_bytes: u64,
    /// Tokens that language models read.
    pub tokens_read: u64,
    /// Tokens that language models wrote.
    pub tokens_written: u64,
    /// The most handles held at once, of those that the host keeps.
    pub handles_peak: u64,
    /// The most bytes of tensors held at once.
    pub tensor_bytes_peak: u64,
    /// The most bytes of language models' sessions held at once.
    pub session_bytes_peak: u64,
    /// Requests sent over HTTP.
    pub outbound_requests: u64,
    /// Bytes of their bodies, both ways.
    pub outbound_bytes: u64,
    /// Bytes of keys and values of changes to what is kept.
    pub state_bytes: u64,
    /// Lines of log, those beyond the limit included.
    pub log_lines: u64,
    /// Calls of other services that were answered.
    pub hires: u64,
    /// What was spent on them, in the host's unit of money.
    pub spent: u128,
}

impl Service {
    pub(crate) fn load(
        host: Arc<Inner>,
        bytes: &[u8],
        spec: ServiceSpec,
        models: Arc<dyn Models>,
    ) -> Result<Self, LoadError> {
        if bytes.len() > host.config.component_bytes_max {
            return Err(LoadError::Invalid(format!(
                "{} bytes, more than {}",
                bytes.len(),
                host.config.component_bytes_max
            )));
        }
        let Some(cache) = &host.cache else {
            return Err(LoadError::Invalid("nothing is compiled here".to_owned()));
        };
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let (component, image) = cache
            .load_or_compile(&host.engine, bytes, &digest)
            .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let compiled = Compiled {
            component,
            digest,
            bytes,
        };
        match spec.isolation {
            Isolation::InProcess => Self::assemble(host, &compiled, spec, models),
            Isolation::Process => Self::in_cell(host, &compiled, image, spec, models),
        }
    }

    /// A service of a compiled component, in this process.
    pub(crate) fn assemble(
        host: Arc<Inner>,
        compiled: &Compiled<'_>,
        spec: ServiceSpec,
        models: Arc<dyn Models>,
    ) -> Result<Self, LoadError> {
        let engine = &host.engine;
        let Compiled {
            component,
            digest,
            bytes,
        } = compiled;
        let ty = component.component_type();
        let imports = ty.imports(engine).map(|(name, _)| name);
        capabilities::check_imports(imports, &spec.grants)?;
        let limits = spec.limits.capped(&host.config.limits_max);
        check_size(component, &limits)?;
        let mut linker = Linker::new(engine);
        let link_error = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        capabilities::link(&mut linker, &spec.grants).map_err(link_error)?;
        capabilities::calls::link_typed(&mut linker, component, engine)?;
        let instance = linker.instantiate_pre(component).map_err(link_error)?;
        let Walked { interface, exports } = interface::walk(engine, component, bytes)?;
        let steady = is_steady(&ty, engine, &spec.grants, spec.deterministic);
        if let Some(cache) = &host.cache {
            description::keep(cache, digest, &interface);
        }
        let description = Description::new(&host, &spec, *digest, interface);
        let counts = host.meters.service(&spec.name);
        let names = description.interface().methods.iter();
        let meters = names.map(|method| (method.name.clone(), counts.method(&method.name)));
        let meters = meters.collect();
        let shared = Arc::new(Shared {
            origins: spec.grants.http.unwrap_or_default().into(),
            outbound: Arc::clone(&host.config.outbound),
            redactor: Arc::new(Redactor::new(&spec.settings)),
            settings: spec.settings,
            key_value: Arc::clone(&host.config.key_value),
            meters: counts,
            tenant: Tenant::new(&spec.name),
            service: spec.name,
            models_granted: spec
                .models
                .into_iter()
                .map(|name| (name, Arc::default()))
                .collect(),
            models_by_digest: spec
                .model_digests
                .into_iter()
                .map(|(name, digest)| (digest, name))
                .collect(),
            models,
            limits,
            device: host.device.clone(),
            computers: Arc::clone(&host.computers),
            lines: Arc::new(Journal),
        });
        let warmth = Warmth::new(host.warm.part());
        Ok(Self {
            loaded: Arc::new(Loaded {
                warmth,
                operations: Operations::of(engine, component),
                host: Arc::clone(&host),
                code: Code::Here(instance),
                exports,
                description,
                version: spec.version,
                steady,
                component: *digest,
                code_bytes: code_bytes(component),
                shared,
                meters,
            }),
        })
    }

    /// What the service offers.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        self.loaded.description.interface()
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.loaded.shared.service
    }

    /// The service's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.loaded.version
    }

    /// The sha256 of the component's bytes.
    #[must_use]
    pub fn component_sha256(&self) -> [u8; 32] {
        self.loaded.component
    }

    /// Whether equal arguments give equal answers as far as the component goes: nothing that it can call
    /// answers differently, engines aside.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.loaded.steady
    }

    /// The limits in force: the manifest's, capped by the host's.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.loaded.shared.limits
    }

    /// Checks the arguments of a call completely. Nothing runs and nothing is charged.
    ///
    /// # Errors
    /// [`ArgumentError`], written for the caller.
    pub fn prepare(&self, method: &str, arguments: Arguments) -> Result<Prepared, ArgumentError> {
        self.loaded.description.prepare(method, arguments)
    }

    /// Whether a call would find room if it came now: to be asked before anything is paid for it.
    ///
    /// # Errors
    /// As [`Description::check_room`].
    pub fn check_room(
        &self,
        prepared: &Prepared,
        payer: &str,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let description = &self.loaded.description;
        description.check_room(prepared, payer, deadline)
    }

    /// The service without its code, which outlives it.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }

    /// Bytes of memory that the compiled code takes.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        self.loaded.code_bytes
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("interface", &self.interface().name)
            .finish_non_exhaustive()
    }
}

fn code_bytes(component: &Component) -> u64 {
    let image = component.image_range();
    (image.end.addr() - image.start.addr()) as u64
}

/// The size as received and the host memory that decoding may take, in bytes.
fn size_of_arguments(signature: &Signature, arguments: &Arguments) -> (u64, u64) {
    let cost = |json: &Bytes| json::decode_cost(&signature.params, json);
    match arguments {
        Arguments::Json(json) => (json.len() as u64, cost(json)),
        Arguments::Raw(bytes) => (bytes.len() as u64, bytes.len() as u64),
        Arguments::Parts(parts) => {
            let size = parts.iter().map(|part| part.content.len() as u64).sum();
            let cost = parts.iter().map(|part| cost(&part.content)).sum();
            (size, cost)
        }
    }
}

fn decode(method: &Method, arguments: Arguments) -> Result<Vec<Arg>, ArgumentError> {
    let params = &method.signature.params;
    match arguments {
        Arguments::Json(json) => json::decode_params(params, &json),
        Arguments::Parts(parts) => {
            let parts = parts.into_iter().map(|part| (part.name, part.content));
            json::decode_parts(params, parts.collect())
        }
        Arguments::Raw(body) => {
            let Some(name) = &method.raw_bytes_param else {
                return Err(ArgumentError::NotRaw {
                    method: method.name.clone(),
                    reason: "send a JSON object of its parameters".to_owned(),
                });
            };
            json::decode_raw(params, name, body)
        }
    }
}

/// Refuses a component that could not even start within its limits.
fn check_size(component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Invalid(
            "it imports code, which services cannot".to_owned(),
        ));
    };
    // The engine states pages.
    let memory = needs
        .max_initial_memory_size
        .unwrap_or(0)
        .saturating_mul(PAGE_BYTES);
    if memory > limits.memory_bytes_max {
        return Err(LoadError::TooLarge(format!(
            "it starts with {memory} bytes of memory; the limit is {}",
            limits.memory_bytes_max
        )));
    }
    let table = needs.max_initial_table_size.unwrap_or(0);
    if table > limits.table_elements_max {
        return Err(LoadError::TooLarge(format!(
            "it starts with {table} table elements; the limit is {}",
            limits.table_elements_max
        )));
    }
    Ok(())
}
