//! What to do after an attempt that brought no answer: the rules that keep the application from paying,
//! and the service from executing, twice.
//!
//! 1. An answer ends the call, and so does a wrong request: no other provider would see it otherwise.
//! 2. What certainly did not start may go elsewhere.
//! 3. What the service failed at and did not charge may go elsewhere if the method is idempotent, or if
//!    the provider says that nothing was executed.
//! 4. What *may* have been executed is sent again to the **same** provider under the **same** payment: who
//!    has executed it gives the stored answer and charges nothing more. If the method is not idempotent,
//!    it never goes elsewhere.
//! 5. An idempotent call leaves a payment in doubt behind only if the provider is gone, or has been asked
//!    again often enough, and only within what the caller allows. What costs nothing leaves at once.
//!
//! Not here: whether there is time, budget and another attempt left for the decision
//! ([`Call`](super::Call) sees to those).

use rialto_channels::Amount;

use super::attempt::{NotStarted, Outcome};

/// What a decision depends on, besides the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Executing twice does no harm.
    pub idempotent: bool,
    /// An attempt under this payment, perhaps an earlier one, ended unknown.
    pub in_doubt: bool,
    /// Base units that going elsewhere would leave behind.
    pub at_risk: Amount,
    /// Base units that may still be left behind.
    pub abandon_max: Amount,
    /// The provider has been asked again as often as it should be before leaving.
    pub asked_enough: bool,
    /// Whether there are others.
    pub others: Others,
}

/// Whether another provider could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Yes, now or before the deadline.
    Yes,
    /// No: all have been asked.
    AllAsked,
    /// The call has been sent to as many providers as it may.
    Enough,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The application gets this outcome.
    Finish,
    /// Ask the same provider again, under the same payment.
    RepeatSame,
    /// Ask another provider, under a payment of its own.
    Elsewhere {
        /// Base units left behind by it, which may still be charged.
        abandon: Amount,
    },
}

/// Decides what follows from `outcome`.
#[must_use]
pub fn decide(outcome: Outcome, facts: &Facts) -> Decision {
    match outcome {
        Outcome::Answered | Outcome::CallerFault => Decision::Finish,
        Outcome::Unknown => doubt(outcome, facts),
        Outcome::NotStarted(_) if facts.in_doubt => doubt(outcome, facts),
        Outcome::NotStarted(_) => move_on(facts),
        // The stored answer of a payment in doubt would not be a fault; but for a method that must not be
        // executed twice, a fault after a doubt is the end.
        Outcome::ServiceFault { .. } if facts.in_doubt && facts.idempotent => doubt(outcome, facts),
        Outcome::ServiceFault { executed } => {
            let harmless = facts.idempotent || !executed;
            if harmless && !facts.in_doubt {
                move_on(facts)
            } else {
                Decision::Finish
            }
        }
    }
}

fn move_on(facts: &Facts) -> Decision {
    match facts.others {
        Others::Yes => Decision::Elsewhere {
            abandon: Amount::ZERO,
        },
        Others::AllAsked => Decision::RepeatSame,
        Others::Enough => Decision::Finish,
    }
}

fn doubt(outcome: Outcome, facts: &Facts) -> Decision {
    let gone = outcome == Outcome::NotStarted(NotStarted::Unreachable);
    let waited = gone || facts.asked_enough || facts.at_risk.is_zero();
    let allowed = facts.idempotent && facts.at_risk <= facts.abandon_max;
    if waited && allowed && facts.others == Others::Yes {
        Decision::Elsewhere {
            abandon: facts.at_risk,
        }
    } else {
        Decision::RepeatSame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Outcome = Outcome::NotStarted(NotStarted::Refused { retry_after: None });
    const UNREACHABLE: Outcome = Outcome::NotStarted(NotStarted::Unreachable);
    const BEGUN_FAULT: Outcome = Outcome::ServiceFault { executed: true };
    const EARLY_FAULT: Outcome = Outcome::ServiceFault { executed: false };
    const ALL: [Outcome; 7] = [
        Outcome::Answered,
        Outcome::CallerFault,
        Outcome::Unknown,
        REFUSED,
        UNREACHABLE,
        BEGUN_FAULT,
        EARLY_FAULT,
    ];

    fn elsewhere(units: u128) -> Decision {
        Decision::Elsewhere {
            abandon: Amount::new(units),
        }
    }

    fn facts(idempotent: bool, in_doubt: bool) -> Facts {
        Facts {
            idempotent,
            in_doubt,
            at_risk: Amount::new(if in_doubt { 10 } else { 0 }),
            abandon_max: Amount::new(10),
            asked_enough: false,
            others: Others::Yes,
        }
    }

    #[test]
    fn nothing_in_doubt() {
        let check = |outcome, plain, idempotent| {
            assert_eq!(decide(outcome, &facts(false, false)), plain, "{outcome:?}");
            assert_eq!(
                decide(outcome, &facts(true, false)),
                idempotent,
                "{outcome:?}"
            );
        };
        check(Outcome::Answered, Decision::Finish, Decision::Finish);
        check(Outcome::CallerFault, Decision::Finish, Decision::Finish);
        check(REFUSED, elsewhere(0), elsewhere(0));
        check(UNREACHABLE, elsewhere(0), elsewhere(0));
        check(EARLY_FAULT, elsewhere(0), elsewhere(0));
        check(BEGUN_FAULT, Decision::Finish, elsewhere(0));
    }

    #[test]
    fn in_doubt() {
        let check = |outcome, plain, idempotent| {
            assert_eq!(decide(outcome, &facts(false, true)), plain, "{outcome:?}");
            assert_eq!(
                decide(outcome, &facts(true, true)),
                idempotent,
                "{outcome:?}"
            );
        };
        check(Outcome::Unknown, Decision::RepeatSame, Decision::RepeatSame);
        check(REFUSED, Decision::RepeatSame, Decision::RepeatSame);
        check(UNREACHABLE, Decision::RepeatSame, elsewhere(10));
        check(EARLY_FAULT, Decision::Finish, Decision::RepeatSame);
        check(BEGUN_FAULT, Decision::Finish, Decision::RepeatSame);
    }

    #[test]
    fn leaving_needs_patience_allowance_and_somebody_else() {
        let enough = Facts {
            asked_enough: true,
            ..facts(true, true)
        };
        let check = |facts: Facts, expected| assert_eq!(decide(Outcome::Unknown, &facts), expected);
        check(enough, elsewhere(10));
        let abandon_max = Amount::new(9);
        check(
            Facts {
                abandon_max,
                ..enough
            },
            Decision::RepeatSame,
        );
        for others in [Others::AllAsked, Others::Enough] {
            check(Facts { others, ..enough }, Decision::RepeatSame);
        }
        let free = Facts {
            at_risk: Amount::ZERO,
            abandon_max: Amount::ZERO,
            ..facts(true, true)
        };
        check(free, elsewhere(0));
        check(
            Facts {
                idempotent: false,
                ..free
            },
            Decision::RepeatSame,
        );
    }

    #[test]
    fn what_may_have_run_and_must_not_twice_never_goes_elsewhere() {
        for outcome in ALL {
            for (asked_enough, risk) in [(false, 0), (true, 0), (true, 5)] {
                let facts = Facts {
                    asked_enough,
                    at_risk: Amount::new(risk),
                    abandon_max: Amount::MAX,
                    ..facts(false, true)
                };
                let decision = decide(outcome, &facts);
                assert!(
                    !matches!(decision, Decision::Elsewhere { .. }),
                    "{outcome:?}"
                );
            }
        }
    }

    #[test]
    fn without_others_the_same_is_asked_and_beyond_the_limit_none() {
        for outcome in [REFUSED, UNREACHABLE, EARLY_FAULT] {
            for (others, expected) in [
                (Others::AllAsked, Decision::RepeatSame),
                (Others::Enough, Decision::Finish),
            ] {
                let facts = Facts {
                    others,
                    ..facts(false, false)
                };
                assert_eq!(decide(outcome, &facts), expected);
            }
        }
    }
}
