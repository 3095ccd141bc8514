//! What a call holds while it runs: the part of its payer's channel that its price may take.

use std::sync::Arc;

use alloy_primitives::B256;
use rialto_channels::payee::{ExposureLimits, Reservation};
use rialto_channels::{Address, Amount, ChainTime, VerifiedVoucher};
use rialto_ledger::PaymentRecord;

use super::Stay;
use crate::api::PaymentError;
use crate::book::Slot;
use crate::catalog::Code;
use crate::failures::Attempt;
use crate::fleet::SharedHold;
use crate::reject::refused_on;

/// What a payment's arrival leads to.
pub(crate) enum Began {
    /// It was executed before; with its channel.
    Before(Box<PaymentRecord>, Option<Arc<Slot>>),
    /// It may run now.
    Now(Box<Ready>),
}

/// A paid call that may run.
pub(crate) struct Ready {
    pub(crate) payer: Address,
    pub(crate) code: Arc<Code>,
    pub(crate) attempt: Attempt,
    pub(crate) hold: Hold,
    pub(crate) key: [u8; 32],
    /// The deposit that came with it.
    pub(crate) deposited: Option<(B256, Amount)>,
    pub(crate) stay: Stay,
}

/// A reservation that is released when the call ends without a charge (M3).
pub(crate) enum Hold {
    /// In this node's memory.
    Own(OwnHold),
    /// In the ledger that replicas share.
    Shared(Box<SharedHold>),
}

impl Hold {
    /// Releases the reservation; whoever is told of the failure finds the channel free.
    pub(crate) async fn give_back(self) {
        match self {
            Self::Own(hold) => drop(hold),
            Self::Shared(hold) => hold.give_back().await,
        }
    }
}

pub(crate) struct OwnHold {
    pub(super) slot: Arc<Slot>,
    pub(super) reservation: Option<Reservation>,
}

impl OwnHold {
    pub(super) fn reserve(
        slot: &Arc<Slot>,
        voucher: &VerifiedVoucher,
        price: Amount,
        now: ChainTime,
        limits: &ExposureLimits,
    ) -> Result<Self, PaymentError> {
        let mut channel = slot.lock();
        let reservation = channel
            .with_payer(|channel, payer| channel.reserve_within(voucher, price, now, limits, payer))
            .map_err(|reject| refused_on(&channel, &reject))?;
        drop(channel);
        Ok(Self {
            slot: Arc::clone(slot),
            reservation: Some(reservation),
        })
    }
}

impl Drop for OwnHold {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.slot.lock().release(reservation);
        }
    }
}
