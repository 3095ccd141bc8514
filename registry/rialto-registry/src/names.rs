//! Who owns a service's name: the agent that claimed it first and holds it still.
//!
//! Registries of the ERC-8004 kind give no names. A claim is the metadata key [`NAME_KEY`] of an agent, as
//! the chain's log has it, so that everybody who reads the same log comes to the same owners:
//!
//! - an agent holds one name, the last that it claimed, or none;
//! - a name belongs to the agent whose claim of it came first among those that stand;
//! - when that agent claims another name, the next in line has it;
//! - beyond [`NAMES_MAX`] agents with a name nobody new is taken in;
//! - whoever owns the agent, an ERC-721 token, owns the name: a transfer takes the name along.
//!
//! Not here: reading logs, and names that look alike.

use std::collections::BTreeMap;

use crate::{AgentId, Name};

/// The metadata key that claims a name: its value is the name, or nothing to give it up.
pub const NAME_KEY: &str = "rialto.name";
/// The metadata key with the SHA-256 of the current signed manifest, 32 bytes.
pub const MANIFEST_KEY: &str = "rialto.manifest";
/// The metadata key with the SHA-256 of the current component, 32 bytes.
pub const COMPONENT_KEY: &str = "rialto.component";
/// The metadata key that says whether the service should still be used: [`Status`]'s text.
pub const STATUS_KEY: &str = "rialto.status";

/// The most agents with a name. The bound is part of the rule: all who read the log refuse the same claims.
pub const NAMES_MAX: usize = 1_000_000;

/// Where a log entry stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The block's number.
    pub block: u64,
    /// The entry's index in the block.
    pub index: u64,
}

/// Whether a service should still be used, as its owner says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    #[default]
    Active,
    /// It works, and there is something better; why or what, in the owner's words.
    Deprecated(String),
    /// Nobody should run or call it; why, in the owner's words.
    Revoked(String),
}

/// Claims of one chain's registry, and who owns what by them.
#[derive(Debug, Clone, Default)]
pub struct NameBook {
    /// For each agent the name that it holds and since when.
    held: BTreeMap<AgentId, (Name, Position)>,
    /// For each name those who claim it, the first first.
    lines: BTreeMap<Name, BTreeMap<Position, AgentId>>,
    /// The newest claim that was taken in.
    newest: Option<Position>,
}

impl NameBook {
    /// Takes in one claim. Claims come in the chain's order; one that was taken in before changes nothing.
    /// A value that is no name counts as none.
    pub fn claim(&mut self, agent: AgentId, value: &[u8], at: Position) {
        if self.newest.is_some_and(|newest| at <= newest) {
            return;
        }
        self.newest = Some(at);
        let name = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<Name>().ok());
        if let (Some(name), Some((held, _))) = (&name, self.held.get(&agent))
            && name == held
        {
            // Saying it again does not send an agent to the end of the line.
            return;
        }
        if let Some((held, since)) = self.held.remove(&agent)
            && let Some(line) = self.lines.get_mut(&held)
        {
            line.remove(&since);
            if line.is_empty() {
                self.lines.remove(&held);
            }
        }
        if let Some(name) = name
            && self.held.len() < NAMES_MAX
        {
            self.lines
                .entry(name.clone())
                .or_default()
                .insert(at, agent);
            self.held.insert(agent, (name, at));
        }
    }

    /// The agent that owns a name.
    #[must_use]
    pub fn owner(&self, name: &Name) -> Option<AgentId> {
        let line = self.lines.get(name)?;
        line.first_key_value().map(|(_, agent)| *agent)
    }

    /// When the owner of a name claimed it: earlier names are the ones that others resemble.
    #[must_use]
    pub fn since(&self, name: &Name) -> Option<Position> {
        let line = self.lines.get(name)?;
        line.first_key_value().map(|(at, _)| *at)
    }

    /// The name that an agent owns. An agent that stands in line for one owns none.
    #[must_use]
    pub fn name(&self, agent: &AgentId) -> Option<&Name> {
        let (name, _) = self.held.get(agent)?;
        (self.owner(name) == Some(*agent)).then_some(name)
    }

    /// All names with their owners, by name.
    pub fn owners(&self) -> impl Iterator<Item = (&Name, AgentId)> {
        let first = |(name, line): (_, &BTreeMap<Position, AgentId>)| {
            line.first_key_value().map(|(_, agent)| (name, *agent))
        };
        self.lines.iter().filter_map(first)
    }

    /// The claims that stand, in the chain's order. Taken in by an empty book they make this one again, as
    /// long as what follows comes later in the log than all that this one took in.
    #[must_use]
    pub fn standing(&self) -> Vec<(AgentId, Name, Position)> {
        let held = self.held.iter();
        let mut claims: Vec<_> = held
            .map(|(agent, (name, at))| (*agent, name.clone(), *at))
            .collect();
        claims.sort_by_key(|(_, _, at)| *at);
        claims
    }

    /// Up to where the log was taken in.
    #[must_use]
    pub const fn newest(&self) -> Option<Position> {
        self.newest
    }
}

impl Status {
    /// As [`STATUS_KEY`] has it: nothing, `deprecated: WHY` or `revoked: WHY`. What cannot be read counts
    /// as active, as for readers who do not know the key; a text beyond 500 bytes is cut.
    #[must_use]
    pub fn from_value(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value.get(..WHY_BYTES_MAX).unwrap_or(value));
        let why = |rest: &str| {
            let rest = rest.trim_start_matches(':').trim();
            rest.chars().filter(|c| !c.is_control()).collect()
        };
        if let Some(rest) = text.strip_prefix("deprecated") {
            Self::Deprecated(why(rest))
        } else if let Some(rest) = text.strip_prefix("revoked") {
            Self::Revoked(why(rest))
        } else {
            Self::Active
        }
    }

    /// The value that says so on the chain.
    #[must_use]
    pub fn to_value(&self) -> Vec<u8> {
        match self {
            Self::Active => Vec::new(),
            Self::Deprecated(why) => format!("deprecated: {why}").into_bytes(),
            Self::Revoked(why) => format!("revoked: {why}").into_bytes(),
        }
    }
}

const WHY_BYTES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryId;
    use alloy_primitives::{Address, U256};
    use proptest::prelude::*;

    fn agent(n: u64) -> AgentId {
        let registry = RegistryId {
            chain_id: 1,
            address: Address::ZERO,
        };
        AgentId {
            registry,
            token: U256::from(n),
        }
    }

    fn at(block: u64) -> Position {
        Position { block, index: 0 }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_claim_that_stands_owns() {
        let mut book = NameBook::default();
        book.claim(agent(1), b"embed", at(1));
        book.claim(agent(2), b"embed", at(2));
        assert_eq!(book.owner(&name("embed")), Some(agent(1)));
        assert_eq!(book.name(&agent(2)), None);
        // Saying it again keeps the place; giving it up passes it on.
        book.claim(agent(1), b"embed", at(3));
        assert_eq!(book.owner(&name("embed")), Some(agent(1)));
        book.claim(agent(1), b"other", at(4));
        assert_eq!(book.owner(&name("embed")), Some(agent(2)));
        assert_eq!(book.name(&agent(1)), Some(&name("other")));
        // Who comes back stands at the end.
        book.claim(agent(1), b"embed", at(5));
        assert_eq!(book.owner(&name("embed")), Some(agent(2)));
        assert_eq!(book.owner(&name("other")), None);
        book.claim(agent(2), b"", at(6));
        assert_eq!(book.owner(&name("embed")), Some(agent(1)));
    }

    #[test]
    fn what_was_taken_in_and_what_is_no_name_change_nothing() {
        let mut book = NameBook::default();
        book.claim(agent(1), b"embed", at(5));
        book.claim(agent(2), b"chat", at(5));
        book.claim(agent(1), b"", at(4));
        assert_eq!(book.owner(&name("embed")), Some(agent(1)));
        assert_eq!(book.owner(&name("chat")), None);
        book.claim(agent(2), b"Not A Name", at(6));
        book.claim(agent(3), &[0xff, 0xfe], at(7));
        assert_eq!(book.owners().count(), 1);
        assert_eq!(book.newest(), Some(at(7)));
    }

    #[test]
    fn a_status_reads_what_it_writes() {
        for status in [
            Status::Active,
            Status::Deprecated("use embed-2".to_owned()),
            Status::Revoked(String::new()),
        ] {
            assert_eq!(Status::from_value(&status.to_value()), status);
        }
        assert_eq!(Status::from_value(b"\xff\xff"), Status::Active);
        let bell = Status::from_value(b"revoked: \x1b[2Jstolen");
        assert_eq!(bell, Status::Revoked("[2Jstolen".to_owned()));
    }

    proptest! {
        #[test]
        fn owners_are_those_who_hold(claims in prop::collection::vec((0_u64..4, 0_usize..4), 0..40)) {
            let names: [&[u8]; 4] = [b"a", b"b", b"c", b""];
            let mut book = NameBook::default();
            for (block, (who, which)) in (1..).zip(&claims) {
                book.claim(agent(*who), names[*which], at(block));
            }
            for (name, owner) in book.owners() {
                prop_assert_eq!(book.name(&owner), Some(name));
                // The owner's last claim names it.
                let last = claims.iter().rev().find(|(who, _)| agent(*who) == owner);
                prop_assert_eq!(last.map(|(_, which)| names[*which]), Some(name.as_str().as_bytes()));
            }
            let held = (0..4).filter(|n| book.name(&agent(*n)).is_some()).count();
            prop_assert_eq!(held, book.owners().count());
        }

        #[test]
        fn claims_that_stand_make_the_same_book(
            before in prop::collection::vec((0_u64..4, 0_usize..4), 0..40),
            after in prop::collection::vec((0_u64..4, 0_usize..4), 0..10),
        ) {
            let names: [&[u8]; 4] = [b"a", b"b", b"c", b""];
            let mut book = NameBook::default();
            let mut next = 1;
            for (who, which) in before {
                book.claim(agent(who), names[which], at(next));
                next += 1;
            }
            let mut again = NameBook::default();
            for (agent, name, at) in book.standing() {
                again.claim(agent, name.as_str().as_bytes(), at);
            }
            prop_assert_eq!(again.standing(), book.standing());
            for (who, which) in after {
                for book in [&mut book, &mut again] {
                    book.claim(agent(who), names[which], at(next));
                }
                next += 1;
                prop_assert!(again.owners().eq(book.owners()));
            }
        }
    }
}
