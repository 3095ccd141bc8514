//! Random runs of the identity registry against a model: whoever registers, approves, transfers and writes
//! in whatever order, owners, balances and rights are as the rules say (A1 to A3, A5). Each run is made on
//! both chains, so that they are compared with each other too.
//!
//! `PROPTEST_CASES` sets the number of runs; a few by default.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, Bytes, U256};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::chain::{Chain, Kind, outcome};
use crate::world::Who;

const PEOPLE: [Who; 3] = [Who::Payer, Who::Receiver, Who::Stranger];

/// What a run does, step by step; people by their index.
#[derive(Clone, Copy, Debug)]
enum Op {
    Register {
        who: usize,
    },
    Approve {
        who: usize,
        to: usize,
        agent: u64,
    },
    Operate {
        who: usize,
        operator: usize,
        yes: bool,
    },
    Transfer {
        who: usize,
        from: usize,
        to: usize,
        agent: u64,
    },
    Write {
        who: usize,
        agent: u64,
        value: u8,
    },
}

#[derive(Debug, Default)]
struct Model {
    owners: Vec<usize>,
    approved: BTreeMap<u64, usize>,
    operators: BTreeSet<(usize, usize)>,
    values: BTreeMap<u64, u8>,
}

impl Model {
    fn owner(&self, agent: u64) -> Option<usize> {
        self.owners.get(usize::try_from(agent).unwrap()).copied()
    }

    /// A3.
    fn may(&self, who: usize, agent: u64) -> bool {
        let approved = self.approved.get(&agent) == Some(&who);
        self.owner(agent)
            .is_some_and(|owner| owner == who || self.operators.contains(&(owner, who)) || approved)
    }

    /// Whether the step succeeds.
    fn take(&mut self, op: Op) -> bool {
        match op {
            Op::Register { who } => self.owners.push(who),
            Op::Approve { who, to, agent } => {
                let Some(owner) = self.owner(agent) else {
                    return false;
                };
                if owner != who && !self.operators.contains(&(owner, who)) {
                    return false;
                }
                self.approved.insert(agent, to);
            }
            Op::Operate { who, operator, yes } => {
                if yes {
                    self.operators.insert((who, operator));
                } else {
                    self.operators.remove(&(who, operator));
                }
            }
            Op::Transfer {
                who,
                from,
                to,
                agent,
            } => {
                if self.owner(agent) != Some(from) || !self.may(who, agent) {
                    return false;
                }
                self.owners[usize::try_from(agent).unwrap()] = to;
                self.approved.remove(&agent);
            }
            Op::Write { who, agent, value } => {
                if !self.may(who, agent) {
                    return false;
                }
                self.values.insert(agent, value);
            }
        }
        true
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let who = || 0..PEOPLE.len();
    prop_oneof![
        2 => who().prop_map(|who| Op::Register { who }),
        2 => (who(), who(), 0..4_u64).prop_map(|(who, to, agent)| Op::Approve { who, to, agent }),
        2 => (who(), who(), any::<bool>())
            .prop_map(|(who, operator, yes)| Op::Operate { who, operator, yes }),
        5 => (who(), who(), who(), 0..4_u64)
            .prop_map(|(who, from, to, agent)| Op::Transfer { who, from, to, agent }),
        3 => (who(), 0..4_u64, any::<u8>()).prop_map(|(who, agent, value)| Op::Write { who, agent, value }),
    ]
}

#[test]
fn random_runs_on_both_chains() {
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(6),
    };
    let config = Config {
        max_shrink_iters: 200,
        failure_persistence: None,
        ..config
    };
    let runs = prop::collection::vec(any_op(), 1..40);
    let outcome = TestRunner::new(config).run(&runs, |ops| {
        for kind in [Kind::Dev, Kind::Anvil] {
            crate::chain::run(kind, async |chain| run(&chain, &ops).await);
        }
        Ok(())
    });
    outcome.unwrap();
}

async fn run(chain: &Chain, ops: &[Op]) {
    let mut model = Model::default();
    for op in ops {
        let expected = model.take(*op);
        assert_eq!(step(chain, *op).await, expected, "{op:?}");
    }
    let registry = chain.identity();
    let mut held = [0_u64; PEOPLE.len()];
    for (number, owner) in (0_u64..).zip(&model.owners) {
        let agent = U256::from(number);
        let found = registry.ownerOf(agent).call().await.unwrap();
        assert_eq!(found, PEOPLE[*owner].address(), "A2 of {number}");
        let approved = registry.getApproved(agent).call().await.unwrap();
        let expected = model
            .approved
            .get(&number)
            .map(|who| PEOPLE[*who].address());
        assert_eq!(
            approved,
            expected.unwrap_or(Address::ZERO),
            "A5 of {number}"
        );
        let value = registry
            .getMetadata(agent, "k".into())
            .call()
            .await
            .unwrap();
        let expected = model.values.get(&number).map(|value| vec![*value]);
        assert_eq!(
            value.to_vec(),
            expected.unwrap_or_default(),
            "A3 of {number}"
        );
        held[*owner] += 1;
    }
    for (who, held) in PEOPLE.iter().zip(held) {
        let found = registry.balanceOf(who.address()).call().await.unwrap();
        assert_eq!(found, U256::from(held), "A2 of {who:?}");
    }
}

/// Takes a step if it can be taken; whether it could.
async fn step(chain: &Chain, op: Op) -> bool {
    let registry = chain.identity();
    let person = |index: usize| PEOPLE[index].address();
    macro_rules! attempt {
        ($call:expr, $who:expr) => {{
            let call = $call.from(person($who));
            let can = outcome(call.clone()).await.is_ok();
            if can {
                chain.send(call).await;
            }
            can
        }};
    }
    match op {
        Op::Register { who } => attempt!(registry.register_0(), who),
        Op::Approve { who, to, agent } => {
            attempt!(registry.approve(person(to), U256::from(agent)), who)
        }
        Op::Operate { who, operator, yes } => {
            attempt!(registry.setApprovalForAll(person(operator), yes), who)
        }
        Op::Transfer {
            who,
            from,
            to,
            agent,
        } => {
            let call = registry.transferFrom(person(from), person(to), U256::from(agent));
            attempt!(call, who)
        }
        Op::Write { who, agent, value } => {
            let value = Bytes::copy_from_slice(&[value]);
            attempt!(
                registry.setMetadata(U256::from(agent), "k".into(), value),
                who
            )
        }
    }
}
