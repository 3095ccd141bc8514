//! What the chain tells a payee about its channel: whole views, and events between them.
//!
//! A view is the truth and replaces what was known. An event carries either an absolute number,
//! which is adopted, or only a difference, which is not added up (it could be delivered twice):
//! then the channel waits for the next view.

use super::PayeeChannel;
use crate::{Amount, ChainTime, OnChainView, Withdrawal};

impl PayeeChannel {
    /// Adopts the contract's state, unless it was read before something already known.
    ///
    /// Returns whether anything that must survive a crash changed; if so, store the
    /// [`PayeeChannel::snapshot`].
    pub fn on_chain_view(&mut self, view: &OnChainView) -> bool {
        if view.read_at < self.state.synced_at || view.read_at < self.view_floor {
            return false;
        }
        let known = (
            self.state.balance,
            self.state.claimed,
            self.state.refund_nonce,
            self.state.withdrawal,
        );
        let changed = known
            != (
                view.balance,
                view.claimed,
                view.refund_nonce,
                view.withdrawal,
            );
        self.state.balance = view.balance;
        self.state.refund_nonce = view.refund_nonce;
        self.state.withdrawal = view.withdrawal;
        self.state.synced_at = view.read_at;
        self.needs_view = false;
        // After a reorganisation the chain may know of fewer claims. What was charged only because
        // it was claimed, by someone who held a better voucher, is no charge of ours then: no
        // voucher here covers it (M2), and a restart would not believe it.
        self.state.claimed = view.claimed;
        let covered = self.state.ceiling().max(view.claimed);
        self.state.charged = self.state.charged.max(view.claimed).min(covered);
        if changed {
            self.touch();
        }
        changed
    }

    /// A deposit was confirmed at block time `at`; the contract then held `balance`.
    pub fn on_deposited(&mut self, balance: Amount, at: ChainTime) -> bool {
        self.is_news(at) && {
            let changed = self.state.balance != balance;
            self.state.balance = balance;
            self.note(at, changed)
        }
    }

    /// A claim was confirmed at block time `at`; `total_claimed` is cumulative.
    pub fn on_claimed(&mut self, total_claimed: Amount, at: ChainTime) -> bool {
        self.is_news(at) && {
            let changed = self.state.claimed < total_claimed;
            self.state.claimed = self.state.claimed.max(total_claimed);
            self.state.charged = self.state.charged.max(self.state.claimed);
            self.note(at, changed)
        }
    }

    /// The payer started a withdrawal at block time `at`. Claim at once what is claimable.
    pub fn on_withdraw_initiated(&mut self, withdrawal: Withdrawal, at: ChainTime) -> bool {
        self.is_news(at) && {
            let changed = self.state.withdrawal != Some(withdrawal);
            self.state.withdrawal = Some(withdrawal);
            self.note(at, changed)
        }
    }

    /// A withdrawal was finished at block time `at`: no call is taken before the next view.
    pub fn on_withdraw_finalized(&mut self, at: ChainTime) {
        self.expire(at);
    }

    /// A refund was confirmed at block time `at`: no call is taken before the next view.
    pub fn on_refunded(&mut self, at: ChainTime) {
        self.expire(at);
    }

    /// A reorganisation took blocks away that the last view may rest on. No call is taken before
    /// the next view, and that one counts even if its block is older. Vouchers and charges stay.
    pub fn on_reorganised(&mut self) {
        self.needs_view = true;
        self.view_floor = ChainTime::ZERO;
        self.state.synced_at = ChainTime::ZERO;
        self.touch();
    }

    /// Events up to the last view are already in it.
    fn is_news(&self, at: ChainTime) -> bool {
        at > self.state.synced_at
    }

    fn note(&mut self, at: ChainTime, changed: bool) -> bool {
        self.view_floor = self.view_floor.max(at);
        if changed {
            self.touch();
        }
        changed
    }

    fn expire(&mut self, at: ChainTime) {
        if self.is_news(at) {
            self.needs_view = true;
            self.view_floor = self.view_floor.max(at);
        }
    }
}
