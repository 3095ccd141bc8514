//! What the payer makes of an answer, and when it stops to trust its payee.

use rialto_channels::receipt::{SignedReceipt, conflict};

use crate::{
    message::Answer,
    parties::{HEADROOM, OFFERED, PRICE},
    world::World,
};

impl World {
    pub(crate) fn hear(&mut self, number: usize, id: u64, answer: Answer) {
        if let Answer::Done { receipt, .. } = &answer {
            self.compare(number, receipt);
        }
        let payer = &mut self.payers[number];
        if payer.refund == Some(id) {
            payer.refund = None;
            return self.hear_refund(number, answer);
        }
        // The payer may have given the call up or crashed since, or have heard the answer before.
        let Some(open) = payer.open.remove(&id) else {
            return;
        };
        let plan = open.plan;
        match answer {
            Answer::Done { receipt, count } => {
                let charged = receipt.receipt.charged;
                if charged.get() > PRICE {
                    payer.stopped = true;
                }
                payer.delivered += charged.get().min(OFFERED.get());
                payer.receipts.push(receipt);
                let told = payer.channel.on_charged(open.call, charged, count);
                if let Err(fault) = told {
                    payer.lost_calls += 1;
                    self.suspect(number, &fault.to_string());
                }
            }
            Answer::Failed | Answer::Refunded(_) => {
                payer.failed_calls += 1;
                payer.channel.on_failed(open.call);
            }
            Answer::Refused(corrective) => {
                payer.failed_calls += 1;
                payer.channel.on_failed(open.call);
                let view = self.chain.view(payer.id(), 0);
                match corrective {
                    Some(state) => {
                        let resynced = payer.channel.resync(&state, &view);
                        if let Err(error) = resynced {
                            // A claim may be newer than the answer: that is no proof of a fault.
                            self.note(|| format!("payer {number} does not adopt: {error}"));
                        }
                    }
                    None => payer.channel.resync_from_chain(&view),
                }
                self.judge(number);
                self.payers[number].forgot = false;
            }
        }
        self.end_deposit(number, plan);
        self.judge(number);
    }

    fn hear_refund(&mut self, number: usize, answer: Answer) {
        let payer = &mut self.payers[number];
        if let Answer::Refused(Some(state)) = answer {
            let view = self.chain.view(payer.id(), 0);
            // As above.
            let _resynced = payer.channel.resync(&state, &view);
        }
        self.read_chain(number);
    }

    /// Two receipts of one host that cannot both be true are a proof against it.
    fn compare(&mut self, number: usize, receipt: &SignedReceipt) {
        let host = self.payee.key.address();
        let cheats = self.payee.cheats;
        if !self.payee.signs {
            return;
        }
        if receipt.verify(host).is_err() {
            return self.suspect(number, "a receipt is no good");
        }
        let payer = &self.payers[number];
        let found = payer
            .receipts
            .iter()
            .rev()
            .take(COMPARED)
            .find_map(|known| conflict(known, receipt).ok());
        if let Some(conflict) = found {
            // A payee that lost its disk repeats itself, which the proof rightly shows.
            if !self.books.lost || cheats {
                self.suspect(number, &format!("{conflict:?}"));
            }
            self.summary.conflicts += 1;
        }
    }

    /// Counts that no call of this payer explains are held against the payee, unless this payer
    /// lost its own memory. A little is forgiven: a call that failed may succeed when the network
    /// repeats its request.
    pub(crate) fn judge(&mut self, number: usize) {
        let honest = !self.payee.cheats && !self.books.lost;
        let payer = &mut self.payers[number];
        let unexplained = payer.channel.unexplained().get();
        if payer.forgot {
            // What was forgotten is not known; calls of before may still be charged.
            payer.allowance = unexplained + OFFERED.get() * HEADROOM;
            return;
        }
        let excused = payer.allowance + payer.failed_calls * PRICE;
        let cheats = payer.cheats;
        if unexplained > payer.allowance + PATIENCE {
            payer.stopped = true;
            self.summary.suspicions += 1;
        }
        self.require(cheats || !honest || unexplained <= excused, || {
            format!("{unexplained} charged cannot be explained by payer {number}")
        });
    }

    /// An honest payee is never suspected by an honest payer that remembers.
    fn suspect(&mut self, number: usize, why: &str) {
        let payer = &mut self.payers[number];
        payer.stopped = true;
        let excused = payer.cheats || payer.forgot || payer.allowance > 0;
        let honest = !self.payee.cheats && !self.books.lost;
        self.summary.suspicions += 1;
        self.note(|| format!("payer {number} stops: {why}"));
        self.require(excused || !honest, || {
            format!("an honest payee is suspected by payer {number}: {why}")
        });
    }
}

/// What a payer forgives before it stops, in base units.
const PATIENCE: u128 = 2 * OFFERED.get();
/// A duplicate of the same call, or a neighbour.
const COMPARED: usize = 6;

/// What a payer may lose at most beyond what was delivered.
pub(crate) fn at_stake(lost_calls: u128, allowance: u128) -> u128 {
    // Calls in flight may be part of an adopted count and are promised once more.
    (lost_calls + 2 * HEADROOM + 1) * OFFERED.get() + PATIENCE + allowance
}
