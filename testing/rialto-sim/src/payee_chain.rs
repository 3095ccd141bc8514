//! The payee and the chain: views, the watch for withdrawals, claims, refunds.

use rialto_channels::{
    Amount, ChainTime, ChannelId, ClaimRow, OnChainView, U256, digest,
    payee::{PayeeChannel, Refund},
};

use crate::{
    Rule,
    chain::{DEPTH_MAX, Transaction},
    disk::Record,
    message::{Answer, Message, RefundRequest},
    parties::{DOMAIN, EXPOSURE},
    world::{Event, World},
};

impl World {
    /// What the payee believes of the chain.
    pub(crate) fn payee_view(&self, id: ChannelId) -> OnChainView {
        let newest = self.chain.view(id, 0);
        if self.breaks(Rule::TrustNewest) {
            return newest;
        }
        OnChainView::relied_on(&newest, &self.chain.view(id, DEPTH_MAX))
    }

    fn refresh(&mut self, id: ChannelId) {
        let view = self.payee_view(id);
        if let Some(served) = self.payee.channels.get_mut(&id)
            && served.channel.on_chain_view(&view)
        {
            let snapshot = served.channel.snapshot();
            self.payee.disk.push(Record::Channel(snapshot));
        }
    }

    /// Looks at every channel, and answers withdrawals.
    pub(crate) fn watch(&mut self) {
        if self.payee.blind {
            return;
        }
        let ids: Vec<_> = self.payee.channels.keys().copied().collect();
        for id in ids {
            self.refresh(id);
        }
        self.claim_at_risk();
        self.claim_exposed();
        self.see_refunds();
    }

    pub(crate) fn claim_at_risk(&mut self) {
        if !self.breaks(Rule::IgnoreWithdrawals) {
            let now = self.payee_now();
            self.claim(|channel| channel.claim_at_once(None, now));
        }
    }

    /// Where a limit of what may be at stake comes near.
    fn claim_exposed(&mut self) {
        let unclaimed = |id| {
            let served = self.payee.channels.get(&id);
            served.map_or(0, |it| it.channel.state().unclaimed().get())
        };
        let near: Vec<_> = self
            .payee
            .channels
            .iter()
            .filter(|(_, served)| {
                let payer = served.channel.state().config.payer;
                let of_payer = self.payee.channels.iter();
                let of_payer = of_payer.filter(|(_, it)| it.channel.state().config.payer == payer);
                let sum = of_payer.map(|(id, _)| unclaimed(*id)).sum::<u128>();
                EXPOSURE.wants_claim(&served.channel, Amount::new(sum))
            })
            .map(|(id, _)| *id)
            .collect();
        if !near.is_empty() {
            self.claim(|channel| near.contains(&channel.state().id));
        }
    }

    pub(crate) fn collect(&mut self) {
        if self.payee.blind {
            return;
        }
        self.claim(|_| true);
        let receiver = self.payee.terms.receiver;
        self.chain.submit(Transaction::Settle(receiver));
    }

    /// Claims what is durable, a row a channel, all in one transaction or, for a cheat, as much
    /// as it likes.
    fn claim(&mut self, wanted: impl Fn(&PayeeChannel) -> bool) {
        self.sync();
        if self.payee.blind {
            return;
        }
        let greedy = self.breaks(Rule::ClaimCeiling);
        let mut rows = Vec::new();
        for served in self.payee.channels.values() {
            if !wanted(&served.channel) {
                continue;
            }
            let row = served.channel.claimable();
            rows.extend(row.map(|row| if greedy { to_the_ceiling(row) } else { row }));
        }
        if rows.is_empty() {
            return;
        }
        let rows = self.cheat_claims(rows);
        self.summary.claims += 1;
        for chunk in rows.chunks(2) {
            self.chain.submit(Transaction::Claim(chunk.to_vec()));
        }
    }

    pub(crate) fn arrive_refund(&mut self, request: RefundRequest) {
        let id = request.config.id(&DOMAIN);
        let authorizer = request.config.payer_authorizer;
        let Ok(voucher) = request.voucher.verify(&DOMAIN, authorizer) else {
            return;
        };
        if self.payee.blind || !self.payee.channels.contains_key(&id) {
            return self.answer_refund(&request, Answer::Failed);
        }
        self.refresh(id);
        let now = self.payee_now();
        let Some(served) = self.payee.channels.get_mut(&id) else {
            return;
        };
        match served.channel.begin_refund(&voucher, request.asked, now) {
            Ok(refund) => {
                self.summary.refunds += 1;
                if !self.breaks(Rule::ForgetRefund) {
                    let mark = Record::Refunding(id, refund.amount, refund.nonce);
                    self.payee.disk.push(mark);
                }
                self.sync();
                self.send_refund(&refund);
                if let Some(served) = self.payee.channels.get_mut(&id) {
                    served.refund = Some((refund, Some((request.payer, request.call))));
                }
                if !self.calm && self.random.percent(15) {
                    let soon = self.random.between(1, 30);
                    self.after(soon, Event::CrashOnce);
                }
            }
            Err(reject) => {
                self.note(|| format!("refund refused: {reject}"));
                let answer = self.refusal(id, &reject);
                self.answer_refund(&request, answer);
            }
        }
    }

    /// Claims first, beyond any reorganisation: a withdrawal that ends between the two would
    /// otherwise let the refund take what is owed.
    fn send_refund(&mut self, refund: &Refund) {
        let id = refund.config.id(&DOMAIN);
        if let Some(row) = refund.claim {
            let deep = self.chain.view(id, DEPTH_MAX).claimed;
            if deep < row.total_claimed {
                self.chain.submit(Transaction::Claim(vec![row]));
                if !self.breaks(Rule::RefundFirst) {
                    return;
                }
            }
        }
        let signed = digest::refund(&DOMAIN, &id, refund.nonce, refund.amount);
        self.chain.submit(Transaction::Refund {
            config: refund.config,
            amount: refund.amount,
            nonce: refund.nonce,
            signature: self.payee.key.sign(signed),
        });
    }

    /// Ends refunds whose nonce is used beyond any reorganisation, and sends the others again:
    /// the nonce pays them once.
    pub(crate) fn see_refunds(&mut self) {
        let ids: Vec<_> = self.payee.channels.keys().copied().collect();
        for id in ids {
            let deep = self.chain.view(id, DEPTH_MAX);
            let now = ChainTime::new(self.chain.time());
            let Some(served) = self.payee.channels.get_mut(&id) else {
                continue;
            };
            let Some((refund, asked)) = served.refund.take() else {
                continue;
            };
            if deep.refund_nonce <= refund.nonce {
                self.send_refund(&refund);
                if let Some(served) = self.payee.channels.get_mut(&id) {
                    served.refund = Some((refund, asked));
                }
                continue;
            }
            let amount = refund.amount;
            served.channel.end_refund(refund, Some(now));
            self.payee.disk.push(Record::Refunded(id));
            self.refresh(id);
            if let Some((payer, call)) = asked {
                let answer = Box::new(Answer::Refunded(amount));
                self.send_from_payee(Message::Answer {
                    payer,
                    call,
                    answer,
                });
            }
        }
    }

    /// After a restart: what was marked may have been sent.
    pub(crate) fn resume_refunds(&mut self) {
        let marks: Vec<(ChannelId, (Amount, U256))> = self
            .payee
            .disk
            .durable
            .refunds
            .clone()
            .into_iter()
            .collect();
        for (id, (amount, nonce)) in marks {
            if let Some(served) = self.payee.channels.get_mut(&id) {
                let resumed = served.channel.resume_refund(amount, nonce);
                served.refund = resumed.map(|refund| (refund, None));
            }
        }
    }

    fn answer_refund(&mut self, request: &RefundRequest, answer: Answer) {
        self.send_from_payee(Message::Answer {
            payer: request.payer,
            call: request.call,
            answer: Box::new(answer),
        });
    }
}

pub(crate) fn to_the_ceiling(row: ClaimRow) -> ClaimRow {
    ClaimRow {
        total_claimed: row.voucher.voucher.ceiling,
        ..row
    }
}
