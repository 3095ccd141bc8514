//! What the payee's driver would do.

use rialto_channels::{
    Address, Amount, B256, SignedVoucher,
    payee::{PayeeChannel, Reject, Reservation, Terms},
    payer::Corrective,
};

use crate::{
    chain::Chain,
    payer_side::{DOMAIN, config, key},
    world::{Answer, Request, World},
};

pub(crate) const PRICE: u128 = 100;
pub(crate) const HEADROOM: u128 = 10;
pub(crate) const DELAY_SECS: u64 = 900;
const IN_FLIGHT_MAX: usize = 16;

pub(crate) fn terms() -> Terms {
    Terms {
        receiver: Address::repeat_byte(2),
        receiver_authorizer: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        withdraw_delay: DELAY_SECS,
        in_flight_max: IN_FLIGHT_MAX,
    }
}

pub(crate) fn fresh(chain: &Chain) -> PayeeChannel {
    PayeeChannel::new(&terms(), &DOMAIN, config(), &chain.view()).unwrap()
}

impl World {
    fn refresh(&mut self) {
        if self.payee.needs_view(self.chain.time()) {
            self.payee.on_chain_view(&self.chain.view());
        }
    }

    pub(crate) fn arrive(&mut self, request: Request) {
        // M5: one execution per payment id.
        let id = request.id;
        let known = self.executed.contains_key(&id)
            || self.unsynced.iter().any(|(known, ..)| *known == id)
            || self.running.iter().any(|(known, _)| *known == id);
        if known {
            return;
        }
        self.seen.push(request);
        self.refresh();
        let voucher = request.voucher.verify(&DOMAIN, key().address()).unwrap();
        match self
            .payee
            .reserve(&voucher, Amount::new(PRICE), self.chain.time())
        {
            Ok(call) => self.running.push((id, call)),
            Err(reject) => {
                let answer = self.refusal(reject);
                self.answers.push((id, answer));
            }
        }
    }

    fn refusal(&self, reject: Reject) -> Answer {
        if !reject.is_corrective() {
            return Answer::Failed;
        }
        let state = self.payee.state();
        Answer::Refused(state.best.map(|best| Corrective {
            charged: state.charged,
            signed_max: best.voucher.ceiling,
            signature: best.signature,
        }))
    }

    pub(crate) fn succeed(&mut self, (id, call): (u64, Reservation), actual: u128) {
        let actual = Amount::new(actual);
        let seen = self.payee.charge(&call, actual).unwrap();
        let done = self
            .payee
            .commit(call, actual, B256::with_last_byte(1))
            .unwrap();
        assert_eq!(done.charge, seen);
        self.unsynced.push((id, done.snapshot, actual));
    }

    pub(crate) fn fail(&mut self, (id, call): (u64, Reservation)) {
        let before = self.payee.state().charged;
        self.payee.release(call);
        assert_eq!(self.payee.state().charged, before, "M3");
        self.answers.push((id, Answer::Failed));
    }

    /// The disk has it; only now the answers go out (M4).
    pub(crate) fn sync(&mut self) {
        for (id, snapshot, charged) in std::mem::take(&mut self.unsynced) {
            let count = self.counted.contains(&id).then_some(snapshot.charged);
            assert!(
                snapshot.version > self.durable.version,
                "versions only grow"
            );
            self.durable = snapshot;
            assert_eq!(self.executed.insert(id, charged), None, "M5");
            self.answers.push((id, Answer::Charged { charged, count }));
        }
    }

    /// Everything that is not on the disk is gone, and so are the connections of running calls.
    pub(crate) fn crash_payee(&mut self) {
        let running: Vec<_> = self.running.drain(..).map(|(id, _)| id).collect();
        let unsynced: Vec<_> = self.unsynced.drain(..).map(|(id, ..)| id).collect();
        for id in running.into_iter().chain(unsynced) {
            self.payer_times_out(id);
        }
        self.payee = PayeeChannel::restore(self.durable.clone(), &DOMAIN, IN_FLIGHT_MAX).unwrap();
        assert!(self.payee.needs_view(self.chain.time()));
        self.refresh();
    }

    /// Claims what is charged, durable charges only.
    pub(crate) fn claim(&mut self) {
        self.sync();
        if let Some(row) = self.payee.claimable() {
            let at = self.chain.claim(&row);
            self.payee.on_claimed(row.total_claimed, at);
        }
    }

    pub(crate) fn serve_refund(&mut self, voucher: SignedVoucher, asked: Option<Amount>) -> Answer {
        self.refresh();
        let voucher = voucher.verify(&DOMAIN, key().address()).unwrap();
        let refund = match self.payee.begin_refund(&voucher, asked, self.chain.time()) {
            Ok(refund) => refund,
            Err(reject) => return self.refusal(reject),
        };
        if let Some(row) = &refund.claim {
            let at = self.chain.claim(row);
            self.payee.on_claimed(row.total_claimed, at);
        }
        let (amount, at) = self.chain.refund(refund.amount.get(), refund.nonce);
        assert_eq!(amount, refund.amount.get(), "the whole refund is paid");
        self.payee.end_refund(refund, Some(at));
        self.refresh();
        Answer::Charged {
            charged: Amount::new(amount),
            count: None,
        }
    }

    /// Calls end long before a withdrawal can; what they were charged is claimed by then.
    pub(crate) fn settle_down(&mut self) {
        for call in std::mem::take(&mut self.running) {
            self.fail(call);
        }
        self.claim();
    }

    pub(crate) fn wait(&mut self, secs: u64) {
        let until = self.chain.now + secs;
        if self
            .chain
            .withdrawal_ends_at()
            .is_some_and(|end| end <= until)
        {
            self.settle_down();
        }
        self.chain.now = self.chain.now.max(until);
    }
}
