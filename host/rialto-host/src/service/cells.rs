//! A service in a [cell](crate::cell): what it can have there, and what it cannot.

use std::sync::Arc;

use rialto_compute::ops::DeviceKind;
use wasmtime::component::InstancePre;

use super::guest::Entered;
use super::{CallContext, Code, Compiled, Loaded, Outcome, Prepared, Service, Usage};
use crate::cell::{Asked, Asking, Cell, Parts};
use crate::computer::Computer;
use crate::engine::Inner;
use crate::error::{CallError, LoadError};
use crate::keyvalue::{KeyValue, NoKeyValue};
use crate::meters::add;
use crate::model::Models;
use crate::spec::{Isolation, ServiceSpec};
use crate::state::{CallState, Shared};

impl Service {
    /// A service whose code runs in a process of its own. All that can be wrong with it is found here, as
    /// if it ran in this one.
    pub(super) fn in_cell(
        host: Arc<Inner>,
        compiled: &Compiled<'_>,
        image: Vec<u8>,
        spec: ServiceSpec,
        models: Arc<dyn Models>,
    ) -> Result<Self, LoadError> {
        let Some(cells) = host.cells.clone() else {
            return Err(LoadError::Isolation(
                "this program has no way to start one: set isolation = \"in-process\"".to_owned(),
            ));
        };
        let mut languages = spec.models.iter();
        if let Some(name) = languages.find(|name| models.language(name).is_some()) {
            return Err(LoadError::Isolation(format!(
                "`{name}` is a language model, whose sessions stay with the host: run this service \
                 with isolation = \"in-process\" under [sandbox.services.{}]",
                spec.name
            )));
        }
        cells.confined()?;
        let tick = host.config.tick;
        let service = Self::assemble(host, compiled, spec.clone(), models)?;
        let Ok(loaded) = Arc::try_unwrap(service.loaded) else {
            return Err(LoadError::Isolation("it is in use already".to_owned()));
        };
        // Graphics processors are out of a cell's reach.
        let computers = loaded.shared.computers.iter();
        let computers: Vec<Computer> = computers
            .filter(|it| it.device.abilities().kind == DeviceKind::Cpu)
            .filter(|_| cells.computer().threads > 0)
            .cloned()
            .collect();
        // Without any here, guests are told so at both levels.
        let any_here = !loaded.shared.computers.is_empty();
        if loaded.operations.any && any_here && computers.is_empty() {
            return Err(LoadError::Isolation(format!(
                "it needs tensor operations, which run on the processor there, and [device] does not \
                 let them: run this service with isolation = \"in-process\" under [sandbox.services.{}]",
                spec.name
            )));
        }
        // A cell that asks for what its service was not granted finds nobody.
        let key_value: Arc<dyn KeyValue> = if spec.grants.key_value {
            Arc::clone(&loaded.shared.key_value)
        } else {
            Arc::new(NoKeyValue)
        };
        let shared = Arc::new(Shared {
            computers: computers.into(),
            key_value,
            ..Shared::clone(&loaded.shared)
        });
        let code_bytes = image.len() as u64;
        let parts = Parts {
            spec,
            image: image.into(),
            digest: loaded.component,
            shared: Arc::clone(&shared),
            operations: loaded.operations.any,
            tick,
        };
        Ok(Self {
            loaded: Arc::new(Loaded {
                code: Code::Cell(Box::new(Cell::new(&cells, parts))),
                code_bytes,
                shared,
                ..loaded
            }),
        })
    }

    /// A call whose guest runs elsewhere; who comes in is decided here.
    pub(super) async fn call_in_cell(
        &self,
        cell: &Cell,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<Outcome, CallError> {
        let entered = self.enter(&prepared, &context).await?;
        // It computes in another process.
        entered.place.standing().waits_elsewhere();
        let asked = self.asked(prepared, context, &entered)?;
        let (body, usage) = cell.call(asked).await?;
        add(&entered.meters.output_bytes, usage.output_bytes);
        let waited = entered.waited;
        drop(entered.place);
        Ok(Outcome {
            body,
            usage: Usage { waited, ..usage },
        })
    }

    /// What a cell is told of a call that was let in.
    pub(super) fn asked(
        &self,
        prepared: Prepared,
        context: CallContext,
        entered: &Entered,
    ) -> Result<Asked, CallError> {
        Asked::new(
            prepared.content.received()?,
            Asking {
                call_id: context.call_id,
                payer: context.payer,
                method: prepared.method,
                meters: Arc::clone(&entered.meters),
                started: entered.started,
                deadline: entered.deadline,
                hirer: context.hirer,
                lends: entered.lends,
            },
        )
    }

    /// The code, where it is in this process.
    pub(super) fn instance(&self) -> Result<&InstancePre<CallState>, CallError> {
        match &self.loaded.code {
            Code::Here(instance) => Ok(instance),
            Code::Cell(_) => Err(CallError::Internal("its code is in a cell".to_owned())),
        }
    }

    /// Where the code is, if it is not in this process.
    pub(super) fn cell(&self) -> Option<&Cell> {
        match &self.loaded.code {
            Code::Here(_) => None,
            Code::Cell(cell) => Some(cell),
        }
    }

    /// Where its code runs.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        match self.cell() {
            None => Isolation::InProcess,
            Some(_) => Isolation::Process,
        }
    }

    /// The number of the process that its code runs in, while it has one of its own.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.cell()?.process()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.loaded.shared
    }
}
