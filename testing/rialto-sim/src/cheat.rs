//! What cheats do: everything the types allow. Each tampers with what an honest driver would send.

use rialto_channels::{
    Address, Amount, B256, ChainTime, ClaimRow, Signature, SignedVoucher, Voucher,
};

use crate::{
    chain::Transaction,
    message::{Answer, CallRequest, Message, RefundRequest},
    parties::{DOMAIN, STRANGER_KEY, key},
    payee::sign,
    payee_chain::to_the_ceiling,
    world::World,
};

impl World {
    /// A payer that cheats changes about every third call before it is sent.
    pub(crate) fn cheat_request(&mut self, mut request: CallRequest) -> CallRequest {
        let payer = &self.payers[request.payer];
        if !payer.cheats || !self.random.percent(35) {
            return request;
        }
        self.summary.cheats += 1;
        let (session, old) = (payer.session.clone(), payer.vouchers.clone());
        let signed = |channel, ceiling: u128| {
            let ceiling = Amount::new(ceiling);
            Voucher { channel, ceiling }.sign(&DOMAIN, &session)
        };
        let ceiling = request.voucher.voucher.ceiling.get();
        match self.random.below(14) {
            0 => {
                let less = self.random.amount(ceiling);
                request.voucher = signed(request.channel, less);
            }
            1 => request.voucher = signed(request.channel, 0),
            2 => request.voucher = signed(request.channel, ceiling.saturating_mul(100)),
            3 => request.voucher = signed(request.channel, u128::MAX),
            4 => request.voucher = old[self.random.index(old.len())],
            5 => request.voucher.signature = forged(request.voucher, 0),
            6 => request.voucher.signature = forged(request.voucher, 1),
            7 => request.voucher = request.voucher.voucher.sign(&DOMAIN, &key(STRANGER_KEY)),
            8 => {
                // Another payer's channel, or the other lane of this one.
                let other = self.payers[self.random.index(self.payers.len())].id();
                request.voucher = signed(other, ceiling);
            }
            9 => request.config.receiver = Address::repeat_byte(9),
            10 => request.config.withdraw_delay = 1,
            11 => request.config.payer_authorizer = Address::ZERO,
            12 => request.deposit = None,
            _ => {
                if let Some(deposit) = &mut request.deposit {
                    deposit.amount = Amount::new(deposit.amount.get() * 2);
                }
            }
        }
        request
    }

    /// Beside its calls, a cheat repeats vouchers for other calls and takes money away.
    pub(crate) fn cheat_beside(&mut self, number: usize) {
        let payer = &self.payers[number];
        let Some(voucher) = payer.vouchers.last().copied() else {
            return;
        };
        let (config, id) = (payer.config, payer.id());
        let left = self.chain.view(id, 0);
        let left = left.balance.saturating_sub(left.claimed);
        let open = payer.open.values().next().map(|open| open.request.clone());
        let request_id = B256::from(self.random.bytes());
        match self.random.below(6) {
            // One voucher, two uses; or one payment id, two requests.
            0 | 1 => {
                if let Some(open) = open {
                    let payment_id = open.payment_id.clone().filter(|_| self.random.percent(50));
                    let again = CallRequest {
                        request: request_id,
                        payment_id,
                        deposit: None,
                        call: self.payers[number].next_number(),
                        ..open
                    };
                    self.send(Message::Call(Box::new(again)));
                }
            }
            // Everything back while calls run.
            2 => self.chain.submit(Transaction::Withdraw {
                config,
                amount: left,
            }),
            3 => {
                let now = ChainTime::new(self.chain.time());
                let withdrawal = self.chain.view(id, 0).withdrawal;
                if withdrawal.is_some_and(|it| it.finalizes_at <= now) {
                    self.chain.submit(Transaction::Finalize(config));
                }
            }
            // A refund with calls open, or of more than is left.
            4 => {
                let call = self.payers[number].next_number();
                let asked = self.random.percent(50).then_some(left);
                let request = RefundRequest {
                    payer: number,
                    call,
                    config,
                    voucher,
                    asked,
                };
                self.send(Message::Refund(Box::new(request)));
            }
            _ => {}
        }
    }

    /// A payee that cheats changes about every third answer, or keeps it.
    pub(crate) fn send_from_payee(&mut self, message: Message) {
        if !self.payee.cheats || self.calm || !self.random.percent(30) {
            return self.send(message);
        }
        let Message::Answer {
            payer,
            call,
            answer,
        } = message
        else {
            return;
        };
        self.summary.cheats += 1;
        let send = |world: &mut Self, answer| {
            let answer = Box::new(answer);
            world.send(Message::Answer {
                payer,
                call,
                answer,
            });
        };
        match *answer {
            Answer::Done { receipt, count } => self.cheat_done(receipt, count, &send),
            Answer::Refused(Some(mut state)) => {
                match self.random.below(4) {
                    0 => state.charged = state.signed_max,
                    1 => state.charged = Amount::MAX,
                    2 => state.charged = Amount::ZERO,
                    _ => {
                        state.signed_max = Amount::new(state.signed_max.get() * 2);
                        state.charged = state.signed_max;
                    }
                }
                send(self, Answer::Refused(Some(state)));
            }
            Answer::Failed => {
                // The voucher is kept and the count raised to it, or nothing is said at all.
                let id = self.payers[payer].id();
                let best = self
                    .payee
                    .channels
                    .get(&id)
                    .and_then(|it| it.channel.state().best);
                if let Some(best) = best {
                    let state = rialto_channels::payer::Corrective {
                        charged: best.voucher.ceiling,
                        signed_max: best.voucher.ceiling,
                        signature: best.signature,
                    };
                    send(self, Answer::Refused(Some(state)));
                }
            }
            Answer::Refunded(amount) => send(self, Answer::Refunded(Amount::new(amount.get() * 2))),
            Answer::Refused(None) => send(self, Answer::Failed),
        }
    }

    fn cheat_done(
        &mut self,
        mut receipt: rialto_channels::receipt::SignedReceipt,
        count: Option<Amount>,
        send: &impl Fn(&mut Self, Answer),
    ) {
        let more = Amount::new(self.random.amount(2_000));
        match self.random.below(6) {
            // The work is kept back.
            0 => {}
            1 => send(self, Answer::Failed),
            2 => {
                let count = count.and_then(|count| count.checked_add(more).ok());
                send(self, Answer::Done { receipt, count });
            }
            // Two receipts for one call.
            3 => {
                send(
                    self,
                    Answer::Done {
                        receipt: receipt.clone(),
                        count,
                    },
                );
                receipt.receipt.response = B256::repeat_byte(7);
                let receipt = sign(receipt.receipt, &self.payee.key, self.payee.signs);
                send(self, Answer::Done { receipt, count });
            }
            4 => {
                receipt.receipt.charged = more;
                send(self, Answer::Done { receipt, count });
            }
            _ => {
                let receipt = sign(receipt.receipt, &key(STRANGER_KEY), self.payee.signs);
                send(self, Answer::Done { receipt, count });
            }
        }
    }

    /// A payee that cheats claims what it was promised and never charged, or more.
    pub(crate) fn cheat_claims(&mut self, mut rows: Vec<ClaimRow>) -> Vec<ClaimRow> {
        if !self.payee.cheats {
            return rows;
        }
        for row in &mut rows {
            match self.random.below(6) {
                0 | 1 => *row = to_the_ceiling(*row),
                2 => row.total_claimed = Amount::MAX,
                3 => {
                    // More than was signed, by changing what was signed.
                    row.voucher.voucher.ceiling = Amount::new(row.total_claimed.get() * 2);
                    *row = to_the_ceiling(*row);
                }
                _ => {}
            }
        }
        rows
    }
}

/// The signature with one bit of r changed, or with the other v.
fn forged(voucher: SignedVoucher, how: u8) -> Signature {
    let mut bytes = voucher.signature.to_bytes();
    if how == 0 {
        bytes[20] ^= 1;
    } else {
        bytes[64] = if bytes[64] == 27 { 28 } else { 27 };
    }
    Signature::parse(&bytes).unwrap_or(voucher.signature)
}
