//! A service without its code: what it offers and how much it may use.
//!
//! Small, and made from the host's own cache without compiling: a host has a thousand of these and the code
//! of few. Arguments are checked by it; to run them takes the [`Service`](super::Service).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rialto_scheduler::Tenant;

use super::{Arguments, Content, Prepared, decode, size_of_arguments};
use crate::cache::Cache;
use crate::deterministic::Seed;
use crate::engine::{Host, Inner};
use crate::error::{ArgumentError, CallError};
use crate::interface::{self, Interface};
use crate::meters::{Limit, ServiceMeters};
use crate::spec::{Isolation, Limits, ServiceSpec};

/// What is known of a service whether or not its code is loaded. Cloning is cheap.
#[derive(Clone)]
pub struct Description {
    described: Arc<Described>,
}

struct Described {
    host: Arc<Inner>,
    isolation: Isolation,
    tenant: Tenant,
    limits: Limits,
    component: [u8; 32],
    deterministic: bool,
    interface: Arc<Interface>,
    meters: Arc<ServiceMeters>,
}

impl Host {
    /// The service of a component with this sha256, if this host has seen the component before. Nothing is
    /// compiled and nothing is loaded.
    ///
    /// Blocks for one small file.
    #[must_use]
    pub fn describe(&self, component: [u8; 32], spec: &ServiceSpec) -> Option<Description> {
        let host = self.inner();
        let kept = host.cache.as_ref()?.description(&component)?;
        let interface = interface::from_bytes(&kept)?;
        Some(Description::new(host, spec, component, interface))
    }
}

/// Keeps an interface for [`Host::describe`].
pub(super) fn keep(cache: &Cache, component: &[u8; 32], interface: &Interface) {
    match interface::to_bytes(interface) {
        Ok(bytes) => cache.describe(component, &bytes),
        Err(error) => tracing::warn!(%error, "an interface cannot be kept"),
    }
}

impl Description {
    pub(super) fn new(
        host: &Arc<Inner>,
        spec: &ServiceSpec,
        component: [u8; 32],
        interface: Interface,
    ) -> Self {
        let described = Described {
            host: Arc::clone(host),
            isolation: spec.isolation,
            tenant: Tenant::new(&spec.name),
            limits: spec.limits.capped(&host.config.limits_max),
            component,
            deterministic: spec.deterministic,
            interface: Arc::new(interface),
            meters: host.meters.service(&spec.name),
        };
        Self {
            described: Arc::new(described),
        }
    }

    /// What the service offers.
    #[must_use]
    pub fn interface(&self) -> &Arc<Interface> {
        &self.described.interface
    }

    /// The sha256 of the component's bytes.
    #[must_use]
    pub fn component_sha256(&self) -> [u8; 32] {
        self.described.component
    }

    /// Checks the arguments of a call completely. Nothing runs and nothing is charged.
    ///
    /// # Errors
    /// [`ArgumentError`], written for the caller.
    pub fn prepare(&self, method: &str, arguments: Arguments) -> Result<Prepared, ArgumentError> {
        let interface = self.interface();
        let Some((at, method)) = interface.place(method) else {
            return Err(ArgumentError::UnknownMethod {
                method: method.chars().take(64).collect(),
                known: interface.method_names(),
            });
        };
        let (input_bytes, cost) = size_of_arguments(&method.signature, &arguments);
        let bytes_max = self.described.limits.input_bytes_max;
        if input_bytes > bytes_max {
            self.described.meters.breach(Limit::Input);
            return Err(ArgumentError::TooLarge {
                bytes: input_bytes,
                bytes_max,
            });
        }
        let budget = &self.described.host.arguments;
        let mut share = budget
            .try_take(&self.described.tenant, cost)
            .ok_or_else(|| {
                self.described.host.meters.no_room_for_arguments();
                ArgumentError::Overloaded
            })?;
        let described = &self.described;
        let seed = described
            .deterministic
            .then(|| Seed::of(&described.component, &method.name, &arguments));
        let received = match described.isolation {
            Isolation::InProcess => None,
            Isolation::Process => Some(arguments.clone()),
        };
        let content = Content::new(decode(method, arguments)?, received);
        share.shrink_to(content.held_bytes(input_bytes));
        Ok(Prepared {
            component: self.described.component,
            method: method.name.clone(),
            at,
            signature: Arc::clone(&method.signature),
            content,
            input_bytes,
            seed,
            _share: share,
        })
    }

    /// Whether a call would find room if it came now for this payer: to be asked before anything is paid
    /// for it.
    ///
    /// # Errors
    /// [`CallError::Overloaded`], [`CallError::OverShare`] or [`CallError::LongCalls`], with when to come
    /// again.
    pub fn check_room(
        &self,
        prepared: &Prepared,
        payer: &str,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let host = &self.described.host;
        let tenant = &self.described.tenant;
        if !host.door.has_room_for_long(tenant) {
            let method = self.described.meters.method(&prepared.method);
            if method.is_long() {
                return Err(host.background.refuse());
            }
        }
        let room = host.door.check(tenant, &Tenant::new(payer), deadline);
        room.map_err(|turned| {
            host.meters.turned(&turned);
            CallError::turned(&turned, payer)
        })
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("interface", &self.interface().name)
            .finish_non_exhaustive()
    }
}
