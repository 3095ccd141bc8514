//! The rules, checked after every event and when everything has come to rest.

use rialto_channels::receipt::verify_chain;

use crate::{
    Rule,
    hear::at_stake,
    parties::{DELAY_SECS, EXPOSURE, WALLET},
    world::World,
};

impl World {
    pub(crate) fn check(&mut self) {
        let total = self.chain.total();
        let all = WALLET * u128::try_from(self.payers.len()).unwrap_or_default();
        self.require(total == all, || format!("M6: {total} in all, of {all}"));
        self.check_channels();
        self.check_disk();
        self.check_payers();
    }

    /// The payee against the books and the chain.
    fn check_channels(&mut self) {
        let ids: Vec<_> = self.payee.channels.keys().copied().collect();
        let fair = !self.payee.cheats && !self.books.lost;
        for id in ids {
            let Some(served) = self.payee.channels.get(&id) else {
                continue;
            };
            let (channel, state) = (&served.channel, served.channel.state());
            let (charged, ceiling) = (state.charged.get(), state.ceiling().get());
            let known_claimed = state.claimed.get();
            let in_flight = channel.in_flight().get();
            let promised = charged + in_flight;
            let reserved = self.payee.in_flight(id);
            let exposure = channel.exposure();
            let booked = self.books.charged(id);
            let newest = self.chain.newest();
            let (claimed, balance) = (newest.claimed(id), newest.balance(id));
            let signed = self.payer_of(id).map(|it| self.payers[it].signed_max);
            let cheat = self.payer_of(id).is_none_or(|it| self.payers[it].cheats);
            self.require(charged <= ceiling.max(known_claimed), || {
                format!("M2: {charged} charged, {ceiling} signed, on {id}")
            });
            self.require(!fair || in_flight == 0 || promised <= ceiling, || {
                format!("M2: {promised} promised, {ceiling} signed, on {id}")
            });
            self.require(in_flight == reserved, || {
                format!("a reservation is lost: {in_flight} in flight, {reserved} reserved")
            });
            self.require(
                cheat || signed.is_none_or(|signed| ceiling <= signed),
                || format!("a ceiling of {ceiling} was never signed, on {id}"),
            );
            if !fair {
                continue;
            }
            self.require(charged == booked, || {
                format!("M3: {charged} charged, {booked} for work done, on {id}")
            });
            self.require(charged <= balance, || {
                format!("M2: {charged} charged, the balance is {balance}, on {id}")
            });
            self.require(claimed <= charged, || {
                format!("{claimed} claimed, {charged} charged, on {id}")
            });
            let limit = EXPOSURE.channel_max.unwrap_or(rialto_channels::Amount::MAX);
            // A reorganisation takes claims back.
            let within = exposure <= limit || self.summary.reorganisations > 0;
            self.require(within, || {
                format!("{exposure} at stake, the limit is {limit}")
            });
        }
    }

    /// M4: what was answered is remembered.
    fn check_disk(&mut self) {
        let forgotten = self
            .books
            .acknowledged()
            .find(|key| !self.payee.disk.knows(key))
            .is_some();
        self.require(!forgotten, || "M4: an answered payment is forgotten".into());
    }

    /// Payers against a payee that cheats, and the chain.
    fn check_payers(&mut self) {
        for number in 0..self.payers.len() {
            let payer = &self.payers[number];
            if payer.cheats {
                continue;
            }
            let (claimed, signed) = (self.chain.newest().claimed(payer.id()), payer.signed_max);
            let (delivered, lost) = (payer.delivered, payer.lost_calls);
            let bound = delivered + at_stake(lost, payer.allowance);
            self.require(claimed <= signed, || {
                format!("{claimed} claimed, payer {number} signed {signed}")
            });
            self.require(signed <= bound, || {
                format!("payer {number} signed {signed}, was served {delivered}, lost {lost} calls")
            });
        }
    }

    /// Lets everything end well, closes the channels and compares all accounts.
    pub(crate) fn settle_down(&mut self) -> Result<(), String> {
        self.calm_down();
        self.until(self.now + 700)?;
        self.one_more_call()?;
        let idle = self.payee.is_idle();
        self.require(idle, || "work is left over".into());
        self.collect_all()?;
        self.check_claims();
        self.check_receipts();
        // A withdrawal under way ends first, then one of the rest begins and ends.
        for _half in 0..4 {
            for number in 0..self.payers.len() {
                self.payers[number].stopped = true;
                self.withdraw(number);
            }
            self.until(self.now + DELAY_SECS + 100)?;
        }
        self.check_wallets();
        self.violated()
    }

    /// Both sides agree again: an honest payer is served by an honest payee.
    fn one_more_call(&mut self) -> Result<(), String> {
        for number in 0..self.payers.len() {
            let payer = &self.payers[number];
            if payer.cheats || payer.stopped || self.payee.cheats {
                continue;
            }
            if payer.channel.state().withdrawal.is_some() {
                continue;
            }
            let served = self.payers[number].receipts.len();
            for _attempt in 0..6 {
                self.read_chain(number);
                self.call(number);
                self.until(self.now + 400)?;
                if self.payers[number].receipts.len() > served {
                    break;
                }
            }
            let now_served = self.payers[number].receipts.len();
            self.require(now_served > served, || {
                format!("payer {number} is not served on a quiet channel")
            });
        }
        Ok(())
    }

    fn collect_all(&mut self) -> Result<(), String> {
        for _round in 0..3 {
            self.collect();
            self.until(self.now + 120)?;
        }
        Ok(())
    }

    /// An honest payee has everything that it charged.
    fn check_claims(&mut self) {
        if self.payee.cheats || self.books.lost {
            return;
        }
        let ids: Vec<_> = self.payee.channels.keys().copied().collect();
        for id in ids {
            let (claimed, booked) = (self.chain.newest().claimed(id), self.books.charged(id));
            self.require(claimed == booked, || {
                format!("{booked} charged, and only {claimed} could be claimed, on {id}")
            });
        }
    }

    /// The receipts of each channel are one chain.
    fn check_receipts(&mut self) {
        if self.payee.cheats || self.books.lost || !self.payee.signs {
            return;
        }
        self.payee.disk.sync();
        let host = self.payee.key.address();
        for id in self.payee.channels.keys().copied().collect::<Vec<_>>() {
            let payments = self.payee.disk.durable.payments.values();
            let mut receipts: Vec<_> = payments
                .map(|payment| payment.receipt.clone())
                .filter(|it| it.receipt.channel == Some(id))
                .collect();
            // Two that charge nothing in one second may stand in any order in this list.
            receipts.sort_by_key(|it| (it.receipt.after, it.receipt.issued_at, it.receipt.id));
            if receipts.is_empty() {
                continue;
            }
            self.summary.chains += 1;
            let verified = verify_chain(&receipts, host);
            self.require(verified.is_ok(), || {
                format!("receipts of {id}: {verified:?}")
            });
        }
    }

    /// M6 to the base unit: what is not with the payee is with the payers again.
    fn check_wallets(&mut self) {
        let calm = !self.breaks(Rule::Mint);
        for number in 0..self.payers.len() {
            let payer = &self.payers[number];
            let state = self.chain.newest();
            let claimed = state.claimed(payer.id());
            let wallet = state.wallets.get(&payer.wallet.address()).copied();
            let left = state.balance(payer.id()) - claimed;
            let sum = wallet.unwrap_or_default() + claimed + left;
            self.require(sum == WALLET || !calm, || {
                format!("M6: payer {number} has {sum} of {WALLET}")
            });
            self.require(left == 0, || {
                format!("payer {number} cannot have {left} back")
            });
        }
    }
}
