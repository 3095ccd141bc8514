//! Why the node's wallet did not pay, or nobody answered: for programs, with the next thing to do.

use rialto_channels::payer::PayError;
use rialto_channels::payer::policy::{OverBudget, TopUpError};

use crate::client::mesh::MeshError;
use crate::client::{ClientError, OverAllowance};
use crate::problem::{ErrorCode, Problem, with_causes};

/// Why no provider answered.
pub(super) fn of_mesh(error: &MeshError) -> Problem {
    let code = match error {
        MeshError::Failed { source, .. } => {
            return advised(Problem::new(code(source), with_causes(error)), source);
        }
        MeshError::Nobody { .. } | MeshError::Directory(_) => ErrorCode::Unavailable,
        MeshError::Late { .. } => ErrorCode::ServiceTimeout,
        MeshError::Key(_) => ErrorCode::ArgumentsInvalid,
    };
    Problem::new(code, with_causes(error))
}

/// Why one gateway did not answer.
pub(super) fn of_client(error: &ClientError) -> Problem {
    advised(Problem::new(code(error), with_causes(error)), error)
}

/// This wallet's own limits are told apart from what the last provider said: its word on the request itself is
/// passed on, and of everything else it counts as possible that the work was done.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of everything else nobody knows more"
)]
fn code(error: &ClientError) -> ErrorCode {
    match error {
        ClientError::Allowance(_)
        | ClientError::Budget(_)
        | ClientError::Deposits(_)
        | ClientError::TooDear { .. }
        | ClientError::Pay(PayError::AboveLimit { .. } | PayError::DepositAboveLimit { .. }) => {
            ErrorCode::BudgetSpent
        }
        ClientError::Wallet(_) | ClientError::Store(_) => ErrorCode::Unavailable,
        ClientError::Refused { status: 422, .. } => ErrorCode::ServiceRefused,
        ClientError::Refused { code, .. } if BUSY.contains(&code.as_str()) => ErrorCode::Overloaded,
        ClientError::Refused {
            status: 400 | 404 | 405 | 413 | 415,
            ..
        } => ErrorCode::ArgumentsInvalid,
        _ => ErrorCode::PeerBrokeOff,
    }
}

/// Adds the next thing to do, and what the service said itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most errors have no next step of their own"
)]
fn advised(problem: Problem, error: &ClientError) -> Problem {
    let hint = match error {
        ClientError::Allowance(OverAllowance::All { .. }) => {
            "raise `day_max` of [local] in rialto.toml and start the node again, or wait for tomorrow (UTC)".to_owned()
        }
        ClientError::Allowance(OverAllowance::Own { .. }) => {
            "`rialto key budget NAME AMOUNT` gives the key another budget, or wait for tomorrow (UTC)".to_owned()
        }
        ClientError::Budget(OverBudget::Day { .. }) => policy("day_max"),
        ClientError::Budget(OverBudget::Provider { .. }) => policy("provider_day_max"),
        ClientError::TooDear { .. } | ClientError::Pay(PayError::AboveLimit { .. }) => {
            policy("call_max")
        }
        ClientError::Deposits(TopUpError::Limit { .. }) => policy("deposit_day_max"),
        ClientError::Pay(PayError::DepositAboveLimit { .. }) => policy("deposit_max"),
        ClientError::Refused { hint, details, .. } => {
            let problem = match hint {
                Some(hint) => problem.hint(hint.clone()),
                None => problem,
            };
            return match details {
                Some(details) => problem.details((**details).clone()),
                None => problem,
            };
        }
        _ => return problem,
    };
    problem.hint(hint)
}

/// The wallet's own rules are read when the node starts.
fn policy(key: &str) -> String {
    format!(
        "`rialto policy set {key} AMOUNT` raises the wallet's own limit; then start the node again"
    )
}

/// What hosts say that have not begun, and will later.
const BUSY: [&str; 4] = [
    "overloaded",
    "too_many_calls",
    "too_many_long_calls",
    "service_preparing",
];

#[cfg(test)]
mod tests {
    use rialto_channels::Amount;

    use super::*;

    #[test]
    fn limits_name_the_setting_to_raise_and_refusals_pass_through() {
        let (spent, price, limit) = (Amount::new(9), Amount::new(2), Amount::new(10));
        let all = OverAllowance::All {
            spent,
            price,
            limit,
        };
        let own = OverAllowance::Own {
            spent,
            price,
            limit,
        };
        let refused = |status: u16, code: &str| ClientError::Refused {
            status,
            code: code.to_owned(),
            message: "no".to_owned(),
            hint: Some("look there".to_owned()),
            details: Some(Box::new("its word".into())),
        };
        for (error, code, hint) in [
            (all.into(), ErrorCode::BudgetSpent, "[local]"),
            (own.into(), ErrorCode::BudgetSpent, "rialto key budget"),
            (
                ClientError::TooDear { price, limit },
                ErrorCode::BudgetSpent,
                "call_max",
            ),
            (
                refused(422, "service_refused"),
                ErrorCode::ServiceRefused,
                "look there",
            ),
            (
                refused(400, "arguments_invalid"),
                ErrorCode::ArgumentsInvalid,
                "look there",
            ),
            (
                refused(429, "too_many_calls"),
                ErrorCode::Overloaded,
                "look there",
            ),
            (
                refused(502, "service_crashed"),
                ErrorCode::PeerBrokeOff,
                "look there",
            ),
        ] {
            let problem = of_client(&error);
            assert_eq!(problem.code(), code, "{error}");
            let told = problem.error();
            assert!(told["hint"].as_str().unwrap().contains(hint), "{told}");
        }
    }
}
