//! `rialto:mesh/calls`: calls of other services, and services imported by their own types.
//!
//! A component that imports an interface which is neither ours nor WASI's calls the service that its package is
//! named after: the values of the call are turned into JSON and back, as those of any other caller are.

mod typed;

use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, Linker};

use super::bindings::mesh::rialto::mesh::calls;
use crate::hires::{Hire, HireError};
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
        let asked = options.time_ms_max.map(Duration::from_millis);
        let hire = Hire {
            service,
            method,
            arguments: arguments.into(),
            price_max: options.price_max.map(u128::from),
            deadline: self.deadline_within(asked),
            lends: self.lends,
        };
        let hired = match self.hire(hire).await? {
            Ok(hired) => hired,
            Err(error) => return Ok(Err(error.into())),
        };
        let Ok(body) = String::from_utf8(hired.body.into()) else {
            let text = "the answer is no text".to_owned();
            return Ok(Err(calls::Error::Failed(text)));
        };
        Ok(Ok(calls::Answer {
            body,
            charged: units(hired.charged),
            receipt: hired.receipt,
        }))
    }
}

impl CallState {
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
        let names = hire.service.len().saturating_add(hire.method.len());
        let sent = names.saturating_add(hire.arguments.len()) as u64;
        self.charge_host_call(sent)?;
        if hire.arguments.len() as u64 > self.shared.limits.transfer_bytes_max {
            let text = format!(
                "the arguments have more than {} bytes",
                self.shared.limits.transfer_bytes_max
            );
            return Ok(Err(HireError::Invalid(text)));
        }
        let hired = self.hirer.call(hire).await;
        if let Ok(hired) = &hired {
            self.charge_host_bytes(hired.body.len() as u64)?;
        }
        Ok(hired)
    }
}

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
