//! What a receipt says, gathered from the call, the service and the charge.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use rialto_channels::payee::{ChannelSnapshot, Charge};
use rialto_channels::receipt::{DeviceUsage, HireUsage, LimitUsage, Receipt, Usage};
use rialto_channels::{Amount, ChainTime, ChannelId};
use rialto_host::Outcome;
use sha2::{Digest, Sha256};

use crate::catalog::{Code, Version};

/// How much of an answer was delivered, which decides what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Items of a stream, until their reader left: it pays for them as for a whole answer.
    Left,
    /// Items of a stream, until the service failed: it is not paid for the call, only for what the meter
    /// counted.
    Broken,
}

/// What is known of a call before it is charged.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) service: Arc<Version>,
    pub(crate) code: Arc<Code>,
    pub(crate) method: String,
    pub(crate) price: Amount,
    pub(crate) request: B256,
    pub(crate) id: B256,
    /// The call for which this one is made.
    pub(crate) parent: Option<B256>,
    pub(crate) extent: Extent,
}

/// Who paid what, and from where.
pub(crate) struct Paid {
    pub(crate) channel: Option<ChannelId>,
    pub(crate) payer: Address,
    pub(crate) before: Amount,
    pub(crate) charged: Amount,
    pub(crate) after: Amount,
    pub(crate) previous: B256,
}

impl Paid {
    /// A single transfer.
    pub(crate) fn once(payer: Address, charged: Amount) -> Self {
        Self {
            channel: None,
            payer,
            before: Amount::ZERO,
            charged,
            after: charged,
            previous: B256::ZERO,
        }
    }

    /// A charge on a channel, chained to the one before.
    pub(crate) fn on_channel(state: &ChannelSnapshot, charge: &Charge) -> Self {
        Self {
            channel: Some(state.id),
            payer: state.config.payer,
            before: charge.before,
            charged: charge.charged,
            after: charge.after,
            previous: charge.previous,
        }
    }
}

impl Facts {
    /// What the call costs, by the meter: at most the price that was quoted and reserved.
    pub(crate) fn charge(&self, outcome: &Outcome) -> Amount {
        let usage = usage(&outcome.usage);
        match self.extent {
            Extent::Whole | Extent::Left => self.service.charge(&self.method, &usage, self.price),
            Extent::Broken => self
                .service
                .charge_metered(&self.method, &usage, self.price),
        }
    }

    /// The receipt of this call, unsigned.
    pub(crate) fn receipt(&self, outcome: &Outcome, paid: &Paid, now: ChainTime) -> Receipt {
        let service = &self.service;
        Receipt {
            id: self.id,
            channel: paid.channel,
            payer: paid.payer,
            provider: service.provider,
            chain_id: service.chain_id,
            token: service.token,
            service: service.view.manifest.name().to_string(),
            version: service.view.manifest.version().to_string(),
            component: service.view.component,
            models: service.models.clone(),
            method: self.method.clone(),
            request: self.request,
            response: B256::from_slice(&Sha256::digest(&outcome.body)),
            usage: usage(&outcome.usage),
            price: self.price,
            before: paid.before,
            charged: paid.charged,
            after: paid.after,
            issued_at: now.get(),
            engine: self.code.engine.clone(),
            deterministic: self.code.deterministic,
            previous: paid.previous,
            parent: self.parent,
        }
    }
}

fn usage(usage: &rialto_host::Usage) -> Usage {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Usage {
        guest_time_us: micros(usage.guest_time),
        host_time_us: micros(usage.host_time),
        memory_peak_bytes: usage.memory_peak,
        host_calls: usage.host_calls,
        input_bytes: usage.input_bytes,
        output_bytes: usage.output_bytes,
        tensor_runs: usage.tensor_runs,
        device: DeviceUsage {
            time_us: micros(usage.device_time),
            multiply_adds: usage.multiply_adds,
            moved_bytes: usage.moved_bytes,
            tokens_read: usage.tokens_read,
            tokens_written: usage.tokens_written,
        },
        limits: LimitUsage {
            wall_time_us: micros(usage.wall_time),
            waited_us: micros(usage.waited),
            table_peak_elements: usage.table_peak,
            handles_peak: usage.handles_peak,
            host_bytes: usage.host_bytes,
            tensor_peak_bytes: usage.tensor_bytes_peak,
            session_peak_bytes: usage.session_bytes_peak,
            outbound_requests: usage.outbound_requests,
            outbound_bytes: usage.outbound_bytes,
            state_bytes: usage.state_bytes,
            log_lines: usage.log_lines,
        },
        hires: HireUsage {
            calls: usage.hires,
            spent: Amount::new(usage.spent),
        },
    }
}
