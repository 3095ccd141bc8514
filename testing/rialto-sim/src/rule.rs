//! Known bugs that can be put into the drivers on purpose: a simulation that does not find them
//! proves nothing.

use std::{fmt, str::FromStr};

/// One rule that a driver then breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Answers go out before their charge is durable (M4).
    AnswerEarly,
    /// Calls that failed are charged, too (M3).
    ChargeFailed,
    /// A repeated payment is executed and charged again (M5).
    ForgetPayments,
    /// The whole ceiling is claimed, not the charge.
    ClaimCeiling,
    /// Withdrawals are not answered by claims.
    IgnoreWithdrawals,
    /// Deposits count although a reorganisation may remove them.
    TrustNewest,
    /// A refund is sent without a durable mark.
    ForgetRefund,
    /// A refund is sent before what is owed is claimed beyond any reorganisation.
    RefundFirst,
    /// Receipts do not name the one before them.
    ForkReceipts,
    /// The contract pays a refund twice (M6).
    Mint,
    /// The payer takes a lost call for a failed one.
    ForgetLost,
    /// A restarted payee goes on with state that is older than what it acknowledged.
    StaleRestore,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AnswerEarly,
        Self::ChargeFailed,
        Self::ForgetPayments,
        Self::ClaimCeiling,
        Self::IgnoreWithdrawals,
        Self::TrustNewest,
        Self::ForgetRefund,
        Self::RefundFirst,
        Self::ForkReceipts,
        Self::Mint,
        Self::ForgetLost,
        Self::StaleRestore,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnswerEarly => "answer-early",
            Self::ChargeFailed => "charge-failed",
            Self::ForgetPayments => "forget-payments",
            Self::ClaimCeiling => "claim-ceiling",
            Self::IgnoreWithdrawals => "ignore-withdrawals",
            Self::TrustNewest => "trust-newest",
            Self::ForgetRefund => "forget-refund",
            Self::RefundFirst => "refund-first",
            Self::ForkReceipts => "fork-receipts",
            Self::Mint => "mint",
            Self::ForgetLost => "forget-lost",
            Self::StaleRestore => "stale-restore",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| UnknownRule {
            name: text.to_owned(),
        })
    }
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no rule; there are: {}", Rule::ALL.map(Rule::name).join(", "))]
pub struct UnknownRule {
    name: String,
}
