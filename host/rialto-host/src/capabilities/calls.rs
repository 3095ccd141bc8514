//! `rialto:mesh/calls`: calls of other services, and services imported by their own types.
//!
//! A component that imports an interface which is neither ours nor WASI's calls the service that its package is
//! named after: the values of the call are turned into JSON and back, as those of any other caller are.

mod typed;

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker, Resource};

use super::bindings::mesh::rialto::mesh::calls;
use crate::hires::{Hire, HireError, HiredItems};
use crate::state::CallState;

pub(crate) use typed::{callee, link as link_typed};

/// Defines the interface.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    calls::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl calls::Host for CallState {
    fn budget_left(&mut self) -> wasmtime::Result<u64> {
        self.charge_host_call(0)?;
        Ok(units(self.hirer.left()))
    }

    async fn quote(
        &mut self,
        service: String,
        method: String,
        arguments_bytes: u64,
    ) -> wasmtime::Result<Result<calls::Estimate, calls::Error>> {
        self.charge_host_call((service.len() as u64).saturating_add(method.len() as u64))?;
        let quoted = self.hirer.quote(service, method, arguments_bytes).await;
        Ok(match quoted {
            Ok(quote) => Ok(calls::Estimate {
                price_max: units(quote.price_max),
                provider: quote.provider,
            }),
            Err(error) => Err(error.into()),
        })
    }

    async fn call(
        &mut self,
        service: String,
        method: String,
        arguments: String,
        options: calls::Options,
    ) -> wasmtime::Result<Result<calls::Answer, calls::Error>> {
        let hire = self.asked(service, method, arguments, &options);
        let hired = match self.hire(hire).await? {
            Ok(hired) => hired,
            Err(error) => return Ok(Err(error.into())),
        };
        Ok(text(hired.body).map(|body| calls::Answer {
            body,
            charged: units(hired.charged),
            receipt: hired.receipt,
        }))
    }

    async fn open(
        &mut self,
        service: String,
        method: String,
        arguments: String,
        options: calls::Options,
    ) -> wasmtime::Result<Result<Resource<OpenItems>, calls::Error>> {
        let hire = self.asked(service, method, arguments, &options);
        Ok(match self.hire_items(hire).await? {
            Ok(items) => Ok(self.push_handle(items)?),
            Err(error) => Err(error.into()),
        })
    }
}

impl calls::HostItems for CallState {
    async fn next(
        &mut self,
        this: Resource<OpenItems>,
    ) -> wasmtime::Result<Result<Option<String>, calls::Error>> {
        Ok(match self.next_item(&this).await? {
            Ok(item) => item.map(text).transpose(),
            Err(error) => Err(error.into()),
        })
    }

    async fn end(
        &mut self,
        this: Resource<OpenItems>,
    ) -> wasmtime::Result<Result<calls::Bill, calls::Error>> {
        self.charge_host_call(0)?;
        let ended = self.table.get_mut(&this)?.0.end().await;
        Ok(match ended {
            Ok(bill) => Ok(calls::Bill {
                charged: units(bill.charged),
                receipt: bill.receipt,
            }),
            Err(error) => Err(error.into()),
        })
    }

    async fn drop(&mut self, this: Resource<OpenItems>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// An answer as text.
fn text(json: Bytes) -> Result<String, calls::Error> {
    String::from_utf8(json.into())
        .map_err(|_| calls::Error::Failed("the answer is no text".to_owned()))
}

impl CallState {
    fn asked(
        &self,
        service: String,
        method: String,
        arguments: String,
        options: &calls::Options,
    ) -> Hire {
        Hire {
            service,
            method,
            arguments: arguments.into(),
            price_max: options.price_max.map(u128::from),
            deadline: self.deadline_within(options.time_ms_max.map(Duration::from_millis)),
            lends: self.lends,
        }
    }

    /// The call's deadline, or an earlier one.
    fn deadline_within(&self, asked: Option<Duration>) -> Instant {
        let own = asked.and_then(|asked| Instant::now().checked_add(asked));
        own.map_or(self.deadline, |own| own.min(self.deadline))
    }

    /// Makes a call, and counts its bytes both ways.
    async fn hire(
        &mut self,
        hire: Hire,
    ) -> wasmtime::Result<Result<crate::hires::Hired, HireError>> {
        if let Err(error) = self.sends(&hire)? {
            return Ok(Err(error));
        }
        let hired = self.hirer.call(hire).await;
        if let Ok(hired) = &hired {
            self.charge_host_bytes(hired.body.len() as u64)?;
        }
        Ok(hired)
    }

    /// Begins a call whose answer comes item by item.
    async fn hire_items(&mut self, hire: Hire) -> wasmtime::Result<Result<OpenItems, HireError>> {
        if let Err(error) = self.sends(&hire)? {
            return Ok(Err(error));
        }
        // The guest goes on while its items are made: it leaves no memory to whoever makes them.
        let hire = Hire { lends: 0, ..hire };
        Ok(self.hirer.open(hire).await.map(OpenItems))
    }

    /// Takes the next item, and counts its bytes.
    async fn next_item(
        &mut self,
        items: &Resource<OpenItems>,
    ) -> wasmtime::Result<Result<Option<Bytes>, HireError>> {
        self.charge_host_call(0)?;
        let item = self.table.get_mut(items)?.0.next().await;
        if let Ok(Some(item)) = &item {
            self.charge_host_bytes(item.len() as u64)?;
        }
        Ok(item)
    }

    /// Counts what a call sends, if it may.
    fn sends(&mut self, hire: &Hire) -> wasmtime::Result<Result<(), HireError>> {
        let names = hire.service.len().saturating_add(hire.method.len());
        let sent = names.saturating_add(hire.arguments.len()) as u64;
        self.charge_host_call(sent)?;
        let bytes_max = self.shared.limits.transfer_bytes_max;
        if hire.arguments.len() as u64 > bytes_max {
            let text = format!("the arguments have more than {bytes_max} bytes");
            return Ok(Err(HireError::Invalid(text)));
        }
        Ok(Ok(()))
    }
}

/// An answer that comes item by item, as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenItems(Box<dyn HiredItems>);

impl From<HireError> for calls::Error {
    fn from(error: HireError) -> Self {
        match error {
            HireError::NotGranted(text) => Self::NotGranted(text),
            HireError::Unknown(text) => Self::Unknown(text),
            HireError::OverBudget { price_max, left } => Self::OverBudget(calls::Shortage {
                price_max: units(price_max),
                left: units(left),
            }),
            HireError::Invalid(text) => Self::Invalid(text),
            HireError::Refused(json) => Self::Refused(json),
            HireError::TooDeep(text) => Self::TooDeep(text),
            HireError::Busy(text) => Self::Busy(text),
            HireError::Late => Self::Late,
            HireError::Failed(text) => Self::Failed(text),
        }
    }
}

/// An amount as guests have it; what is more than they can say is as much as they can.
fn units(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
