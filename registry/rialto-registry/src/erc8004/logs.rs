//! What the registries logged: agents registered, values set, agents given away, feedback.
//!
//! Anybody writes into these logs. What is read here is cut to bounds that no honest entry comes near.
//! Not here: asking a chain for logs, and whether it tells the truth.

use alloy_primitives::{Address, B256, Log, keccak256};
use alloy_sol_types::SolEvent;

use super::Registries;
use super::abi::{IIdentityRegistry, IReputationRegistry};
use super::calls::{TEXT_BYTES_MAX, VALUE_BYTES_MAX};
use crate::AgentId;

/// A metadata value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataSet {
    /// Whose.
    pub agent: AgentId,
    /// The key, cut at 512 bytes.
    pub key: String,
    /// The value, cut at 2,048 bytes: no key that Rialto reads has so long a one.
    pub value: Vec<u8>,
}

/// An agent has another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    /// Which.
    pub agent: AgentId,
    /// Whose it was; zero when it was registered.
    pub from: Address,
    /// Whose it is.
    pub to: Address,
}

/// Something about feedback. A client's feedback on an agent is numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedbackEvent {
    /// A client gave feedback.
    Given {
        /// On whom.
        agent: AgentId,
        /// Who.
        client: Address,
        /// Which of the client's on this agent.
        index: u64,
        /// With `decimals` digits behind the point.
        value: i128,
        /// At most 18.
        decimals: u8,
        /// What it is about; cut at 512 bytes, as the other texts.
        tag1: String,
        /// The same, more closely.
        tag2: String,
        /// Which of the agent's endpoints was called.
        endpoint: String,
        /// Where more is said.
        uri: String,
        /// What it commits to.
        hash: B256,
    },
    /// The client took it back.
    Revoked {
        /// On whom.
        agent: AgentId,
        /// Who.
        client: Address,
        /// Which.
        index: u64,
    },
}

/// What the chain indexes of a metadata key.
#[must_use]
pub fn key_topic(key: &str) -> B256 {
    keccak256(key)
}

/// The agent that a transaction registered, by its logs.
#[must_use]
pub fn registered<'l>(at: &Registries, logs: impl IntoIterator<Item = &'l Log>) -> Option<AgentId> {
    logs.into_iter().find_map(|log| {
        let event = decoded::<IIdentityRegistry::Registered>(at.identity, log)?;
        Some(at.agent(event.agentId))
    })
}

/// The value that a log entry tells of; `None` for other entries, also of other contracts.
#[must_use]
pub fn metadata_set(at: &Registries, log: &Log) -> Option<MetadataSet> {
    let event = decoded::<IIdentityRegistry::MetadataSet>(at.identity, log)?;
    // The indexed key is what was searched for, the other one what is read.
    if key_topic(&event.metadataKey) != event.indexedMetadataKey {
        return None;
    }
    let mut value = event.metadataValue.to_vec();
    value.truncate(VALUE_BYTES_MAX);
    Some(MetadataSet {
        agent: at.agent(event.agentId),
        key: cut(event.metadataKey),
        value,
    })
}

/// The change of owner that a log entry tells of; `None` for other entries.
#[must_use]
pub fn transferred(at: &Registries, log: &Log) -> Option<Transferred> {
    let event = decoded::<IIdentityRegistry::Transfer>(at.identity, log)?;
    Some(Transferred {
        agent: at.agent(event.tokenId),
        from: event.from,
        to: event.to,
    })
}

/// The feedback that a log entry tells of; `None` for other entries.
#[must_use]
pub fn feedback(at: &Registries, log: &Log) -> Option<FeedbackEvent> {
    if let Some(event) = decoded::<IReputationRegistry::FeedbackRevoked>(at.reputation, log) {
        return Some(FeedbackEvent::Revoked {
            agent: at.agent(event.agentId),
            client: event.clientAddress,
            index: event.feedbackIndex,
        });
    }
    let event = decoded::<IReputationRegistry::NewFeedback>(at.reputation, log)?;
    Some(FeedbackEvent::Given {
        agent: at.agent(event.agentId),
        client: event.clientAddress,
        index: event.feedbackIndex,
        value: event.value,
        decimals: event.valueDecimals,
        tag1: cut(event.tag1),
        tag2: cut(event.tag2),
        endpoint: cut(event.endpoint),
        uri: cut(event.feedbackURI),
        hash: event.feedbackHash,
    })
}

impl FeedbackEvent {
    /// The agent that it is about.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        match self {
            Self::Given { agent, .. } | Self::Revoked { agent, .. } => *agent,
        }
    }
}

fn decoded<E: SolEvent>(contract: Address, log: &Log) -> Option<E> {
    if log.address != contract {
        return None;
    }
    E::decode_log(log).ok().map(|log| log.data)
}

/// Cuts at a character's border.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Bytes, LogData, U256};

    fn at() -> Registries {
        Registries::canonical(84_532).unwrap()
    }

    fn log(address: Address, data: LogData) -> Log {
        Log { address, data }
    }

    fn set(key: &str, indexed: &str, value: &[u8]) -> LogData {
        IIdentityRegistry::MetadataSet {
            agentId: U256::from(5),
            indexedMetadataKey: key_topic(indexed),
            metadataKey: key.to_owned(),
            metadataValue: Bytes::copy_from_slice(value),
        }
        .encode_log_data()
    }

    #[test]
    fn values_are_those_of_the_registry_and_of_the_key() {
        let at = at();
        let found = metadata_set(
            &at,
            &log(at.identity, set("rialto.name", "rialto.name", b"embed")),
        );
        let expected = MetadataSet {
            agent: at.agent(U256::from(5)),
            key: "rialto.name".to_owned(),
            value: b"embed".to_vec(),
        };
        assert_eq!(found, Some(expected));
        let elsewhere = log(at.reputation, set("rialto.name", "rialto.name", b"embed"));
        assert_eq!(metadata_set(&at, &elsewhere), None);
        let two_keys = log(at.identity, set("rialto.status", "rialto.name", b"embed"));
        assert_eq!(metadata_set(&at, &two_keys), None);
        let mut short = set("rialto.name", "rialto.name", b"embed");
        short.data = short.data.slice(..40);
        assert_eq!(metadata_set(&at, &log(at.identity, short)), None);
        assert_eq!(transferred(&at, &elsewhere), None);
    }

    #[test]
    fn long_entries_are_cut() {
        let at = at();
        let key = "\u{e9}".repeat(400);
        let found = metadata_set(&at, &log(at.identity, set(&key, &key, &[7; 5_000]))).unwrap();
        assert_eq!(found.value.len(), VALUE_BYTES_MAX);
        assert_eq!(found.key.len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn a_registration_is_found_among_other_logs() {
        let at = at();
        let event = IIdentityRegistry::Registered {
            agentId: U256::from(9),
            agentURI: String::new(),
            owner: Address::repeat_byte(1),
        };
        let logs = [
            log(Address::ZERO, event.encode_log_data()),
            log(at.identity, set("k", "k", b"v")),
            log(at.identity, event.encode_log_data()),
        ];
        assert_eq!(registered(&at, &logs), Some(at.agent(U256::from(9))));
        assert_eq!(registered(&at, &logs[..2]), None);
    }

    #[test]
    fn feedback_is_read_with_what_it_commits_to() {
        let at = at();
        let client = Address::repeat_byte(4);
        let given = IReputationRegistry::NewFeedback {
            agentId: U256::from(5),
            clientAddress: client,
            feedbackIndex: 1,
            value: -3,
            valueDecimals: 2,
            indexedTag1: key_topic("a"),
            tag1: "a".to_owned(),
            tag2: String::new(),
            endpoint: String::new(),
            feedbackURI: "x".repeat(2_000),
            feedbackHash: B256::repeat_byte(9),
        };
        let Some(FeedbackEvent::Given {
            agent,
            value,
            uri,
            hash,
            ..
        }) = feedback(&at, &log(at.reputation, given.encode_log_data()))
        else {
            panic!("no feedback");
        };
        assert_eq!((agent, value), (at.agent(U256::from(5)), -3));
        assert_eq!(uri.len(), TEXT_BYTES_MAX);
        assert_eq!(hash, B256::repeat_byte(9));
        assert_eq!(
            feedback(&at, &log(at.identity, given.encode_log_data())),
            None
        );

        let revoked = IReputationRegistry::FeedbackRevoked {
            agentId: U256::from(5),
            clientAddress: client,
            feedbackIndex: 1,
        };
        let found = feedback(&at, &log(at.reputation, revoked.encode_log_data())).unwrap();
        assert_eq!(found.agent(), at.agent(U256::from(5)));
        assert!(matches!(found, FeedbackEvent::Revoked { index: 1, .. }));
    }

    /// The contract takes any bytes for a text, so anybody can put such an entry where readers pass by. What
    /// decodes replaces them.
    #[test]
    fn bytes_that_are_no_text_stop_no_reader() {
        let at = at();
        let given = IReputationRegistry::NewFeedback {
            agentId: U256::from(5),
            clientAddress: Address::ZERO,
            feedbackIndex: 1,
            value: 1,
            valueDecimals: 0,
            indexedTag1: B256::ZERO,
            tag1: "zzzz".to_owned(),
            tag2: String::new(),
            endpoint: String::new(),
            feedbackURI: String::new(),
            feedbackHash: B256::ZERO,
        };
        let mut data = given.encode_log_data();
        let bytes: Vec<u8> = data
            .data
            .iter()
            .map(|byte| if *byte == b'z' { 0xff } else { *byte })
            .collect();
        assert!(bytes.contains(&0xff));
        data.data = bytes.into();
        let found = feedback(&at, &log(at.reputation, data));
        let Some(FeedbackEvent::Given { tag1, .. }) = found else {
            panic!("no feedback");
        };
        assert_eq!(tag1, "\u{fffd}".repeat(4));
    }
}
