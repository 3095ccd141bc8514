//! Call data for the registries, within bounds that keep a transaction payable and every reader able to
//! take it in.
//!
//! Not here: signing and sending. What a call answers, [`abi`](super::abi) decodes; what it did,
//! [`logs`](super::logs) tells.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{Eip712Domain, SolCall, SolStruct};

use super::abi::{AgentWalletSet, IIdentityRegistry, IReputationRegistry};
use crate::{AgentId, RegistryId};

/// The most bytes of an agent's URI: a whole registration file in a `data:` URI fits.
pub const URI_BYTES_MAX: usize = 8 << 10;
/// The most bytes of a metadata key.
pub const KEY_BYTES_MAX: usize = 64;
/// The most bytes of a metadata value.
pub const VALUE_BYTES_MAX: usize = 2 << 10;
/// The most values that an agent begins with.
pub const ENTRIES_MAX: usize = 16;
/// The most bytes of each text of feedback.
pub const TEXT_BYTES_MAX: usize = 512;
/// The most decimals of a feedback's value, by the contract.
pub const DECIMALS_MAX: u8 = 18;
/// The largest value of feedback, either way, by the contract.
pub const VALUE_MAX: i128 = 10_i128.pow(38);
/// Seconds that a wallet's signature may be ahead of the chain's time, by the contract.
pub const WALLET_DEADLINE_SECS_MAX: u64 = 300;

/// A metadata value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// At most [`KEY_BYTES_MAX`], and not `agentWallet`.
    pub key: String,
    /// At most [`VALUE_BYTES_MAX`]; empty to leave the key without a value.
    pub value: Vec<u8>,
}

impl Entry {
    /// A value under its key.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self { key, value }
    }
}

/// What a client says of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The agent's number.
    pub agent: U256,
    /// With [`decimals`](Self::decimals) digits behind the point.
    pub value: i128,
    /// At most [`DECIMALS_MAX`].
    pub decimals: u8,
    /// What the value is about.
    pub tag1: String,
    /// The same, more closely.
    pub tag2: String,
    /// Which of the agent's endpoints was called.
    pub endpoint: String,
    /// Where more is said.
    pub uri: String,
    /// What the feedback commits to: the digest of a receipt.
    pub hash: B256,
}

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A text or value with more bytes than fit.
    #[error("the {what} has {bytes} bytes, more than {max}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// More values than [`ENTRIES_MAX`].
    #[error("{0} metadata values are more than {ENTRIES_MAX}; set the others afterwards")]
    TooMany(usize),
    /// A key that names nothing, or the one that only [`set_wallet`] sets.
    #[error("the metadata key `{0}` cannot be set")]
    Key(String),
    /// A feedback's value beyond [`VALUE_MAX`] or with more than [`DECIMALS_MAX`].
    #[error("the feedback's value is beyond 10^38, or has more than 18 decimals")]
    Value,
}

/// Makes an agent that the sender owns and that is paid to the sender.
///
/// # Errors
/// [`CallError`] for what is out of bounds.
pub fn register(uri: &str, metadata: &[Entry]) -> Result<Bytes, CallError> {
    within("agent's URI", uri.len(), URI_BYTES_MAX)?;
    if metadata.len() > ENTRIES_MAX {
        return Err(CallError::TooMany(metadata.len()));
    }
    let entries: Result<Vec<_>, _> = metadata
        .iter()
        .map(|entry| {
            entry.check()?;
            Ok(IIdentityRegistry::MetadataEntry {
                metadataKey: entry.key.clone(),
                metadataValue: entry.value.clone().into(),
            })
        })
        .collect();
    let call = IIdentityRegistry::registerCall {
        agentURI: uri.to_owned(),
        metadata: entries?,
    };
    Ok(call.abi_encode().into())
}

/// Says where an agent's registration file is.
///
/// # Errors
/// [`CallError::TooLong`].
pub fn set_uri(agent: U256, uri: &str) -> Result<Bytes, CallError> {
    within("agent's URI", uri.len(), URI_BYTES_MAX)?;
    let call = IIdentityRegistry::setAgentURICall {
        agentId: agent,
        newURI: uri.to_owned(),
    };
    Ok(call.abi_encode().into())
}

/// Sets one value.
///
/// # Errors
/// [`CallError`] for what is out of bounds.
pub fn set_metadata(agent: U256, entry: &Entry) -> Result<Bytes, CallError> {
    entry.check()?;
    let call = IIdentityRegistry::setMetadataCall {
        agentId: agent,
        key: entry.key.clone(),
        value: entry.value.clone().into(),
    };
    Ok(call.abi_encode().into())
}

/// Gives an agent to another owner. A contract there must accept ERC-721 tokens.
#[must_use]
pub fn transfer(agent: U256, from: Address, to: Address) -> Bytes {
    let call = IIdentityRegistry::safeTransferFromCall {
        from,
        to,
        tokenId: agent,
    };
    call.abi_encode().into()
}

/// Names who is paid for an agent. The signature is the wallet's below [`wallet_digest`].
#[must_use]
pub fn set_wallet(agent: U256, wallet: Address, deadline: u64, signature: &[u8]) -> Bytes {
    let call = IIdentityRegistry::setAgentWalletCall {
        agentId: agent,
        newWallet: wallet,
        deadline: U256::from(deadline),
        signature: Bytes::copy_from_slice(signature),
    };
    call.abi_encode().into()
}

/// Leaves an agent without a wallet.
#[must_use]
pub fn unset_wallet(agent: U256) -> Bytes {
    let call = IIdentityRegistry::unsetAgentWalletCall { agentId: agent };
    call.abi_encode().into()
}

/// What a wallet signs to be the agent's while `owner` owns it. The deadline is in seconds of the chain's
/// time, at most [`WALLET_DEADLINE_SECS_MAX`] ahead.
#[must_use]
pub fn wallet_digest(agent: &AgentId, wallet: Address, owner: Address, deadline: u64) -> B256 {
    let RegistryId { chain_id, address } = agent.registry;
    let domain = Eip712Domain::new(
        Some("ERC8004IdentityRegistry".into()),
        Some("1".into()),
        Some(U256::from(chain_id)),
        Some(address),
        None,
    );
    AgentWalletSet {
        agentId: agent.token,
        newWallet: wallet,
        owner,
        deadline: U256::from(deadline),
    }
    .eip712_signing_hash(&domain)
}

/// Says something of an agent. The sender must not be of the agent's own side.
///
/// # Errors
/// [`CallError`] for what is out of bounds.
pub fn give_feedback(feedback: &Feedback) -> Result<Bytes, CallError> {
    let beyond = feedback.value.unsigned_abs() > VALUE_MAX.unsigned_abs();
    if beyond || feedback.decimals > DECIMALS_MAX {
        return Err(CallError::Value);
    }
    for (what, text) in [
        ("first tag", &feedback.tag1),
        ("second tag", &feedback.tag2),
        ("endpoint", &feedback.endpoint),
        ("feedback's URI", &feedback.uri),
    ] {
        within(what, text.len(), TEXT_BYTES_MAX)?;
    }
    let call = IReputationRegistry::giveFeedbackCall {
        agentId: feedback.agent,
        value: feedback.value,
        valueDecimals: feedback.decimals,
        tag1: feedback.tag1.clone(),
        tag2: feedback.tag2.clone(),
        endpoint: feedback.endpoint.clone(),
        feedbackURI: feedback.uri.clone(),
        feedbackHash: feedback.hash,
    };
    Ok(call.abi_encode().into())
}

/// Takes the sender's own feedback back.
#[must_use]
pub fn revoke_feedback(agent: U256, index: u64) -> Bytes {
    let call = IReputationRegistry::revokeFeedbackCall {
        agentId: agent,
        feedbackIndex: index,
    };
    call.abi_encode().into()
}

impl Entry {
    fn check(&self) -> Result<(), CallError> {
        within("metadata key", self.key.len(), KEY_BYTES_MAX)?;
        within("metadata value", self.value.len(), VALUE_BYTES_MAX)?;
        if self.key.is_empty() || self.key == WALLET_KEY {
            return Err(CallError::Key(self.key.clone()));
        }
        Ok(())
    }
}

fn within(what: &'static str, bytes: usize, max: usize) -> Result<(), CallError> {
    if bytes > max {
        return Err(CallError::TooLong { what, bytes, max });
    }
    Ok(())
}

/// The key that the contract keeps for itself (A4).
const WALLET_KEY: &str = "agentWallet";

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback() -> Feedback {
        Feedback {
            agent: U256::from(7),
            value: -875,
            decimals: 1,
            tag1: "latency".to_owned(),
            tag2: "p95".to_owned(),
            endpoint: String::new(),
            uri: String::new(),
            hash: B256::repeat_byte(3),
        }
    }

    #[test]
    fn what_is_called_is_what_was_said() {
        let entries = [Entry::new("rialto.name", *b"embed")];
        let data = register("https://e.example/a.json", &entries).unwrap();
        let call = IIdentityRegistry::registerCall::abi_decode(&data).unwrap();
        assert_eq!(call.agentURI, "https://e.example/a.json");
        assert_eq!(call.metadata[0].metadataKey, "rialto.name");
        assert_eq!(call.metadata[0].metadataValue, Bytes::from_static(b"embed"));

        let data = give_feedback(&feedback()).unwrap();
        let call = IReputationRegistry::giveFeedbackCall::abi_decode(&data).unwrap();
        assert_eq!((call.value, call.valueDecimals), (-875, 1));
        assert_eq!(call.feedbackHash, B256::repeat_byte(3));

        let (from, to) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let data = transfer(U256::from(7), from, to);
        let call = IIdentityRegistry::safeTransferFromCall::abi_decode(&data).unwrap();
        assert_eq!(
            (call.from, call.to, call.tokenId),
            (from, to, U256::from(7))
        );
    }

    /// The selectors of the deployed ABI, which other tools compute from the same texts.
    #[test]
    fn selectors_are_those_of_the_deployed_registries() {
        for (signature, selector) in [
            (
                IIdentityRegistry::registerCall::SIGNATURE,
                "register(string,(string,bytes)[])",
            ),
            (
                IIdentityRegistry::setMetadataCall::SIGNATURE,
                "setMetadata(uint256,string,bytes)",
            ),
            (
                IReputationRegistry::giveFeedbackCall::SIGNATURE,
                "giveFeedback(uint256,int128,uint8,string,string,string,string,bytes32)",
            ),
        ] {
            assert_eq!(signature, selector);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_not_called() {
        let long = |n: usize| "x".repeat(n);
        let too_long = |what, bytes, max| Err(CallError::TooLong { what, bytes, max });
        assert!(set_uri(U256::ZERO, &long(URI_BYTES_MAX)).is_ok());
        let over = URI_BYTES_MAX + 1;
        let refused = too_long("agent's URI", over, URI_BYTES_MAX);
        assert_eq!(set_uri(U256::ZERO, &long(over)), refused);
        assert_eq!(register(&long(over), &[]), refused);

        let set = |entry: &Entry| set_metadata(U256::ZERO, entry).map(|_| ());
        let fits = Entry::new(long(KEY_BYTES_MAX), vec![0; VALUE_BYTES_MAX]);
        assert_eq!(set(&fits), Ok(()));
        let key = Entry::new(long(KEY_BYTES_MAX + 1), []);
        assert_eq!(
            set(&key),
            too_long("metadata key", 65, 64).map(|_: Bytes| ())
        );
        let value = Entry::new("k", vec![0; VALUE_BYTES_MAX + 1]);
        assert!(matches!(set(&value), Err(CallError::TooLong { .. })));
        for key in ["", "agentWallet"] {
            let entry = Entry::new(key, *b"1");
            assert_eq!(set(&entry), Err(CallError::Key(key.to_owned())));
            assert!(register("", &[entry]).is_err());
        }
        let many = vec![Entry::new("k", []); ENTRIES_MAX + 1];
        assert_eq!(register("", &many), Err(CallError::TooMany(17)));

        let check = |feedback: Feedback| give_feedback(&feedback).map(|_| ());
        for value in [VALUE_MAX, -VALUE_MAX] {
            assert_eq!(
                check(Feedback {
                    value,
                    ..feedback()
                }),
                Ok(())
            );
        }
        for value in [VALUE_MAX + 1, i128::MIN] {
            let refused = check(Feedback {
                value,
                ..feedback()
            });
            assert_eq!(refused, Err(CallError::Value));
        }
        let refused = check(Feedback {
            decimals: 19,
            ..feedback()
        });
        assert_eq!(refused, Err(CallError::Value));
        let tag2 = long(TEXT_BYTES_MAX + 1);
        assert!(check(Feedback { tag2, ..feedback() }).is_err());
    }

    #[test]
    fn a_wallets_signature_is_for_one_agent_owner_and_time() {
        let agent = |token: u64| AgentId {
            registry: super::super::Registries::canonical(84_532).unwrap().id(),
            token: U256::from(token),
        };
        let (wallet, owner) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let digest = wallet_digest(&agent(1), wallet, owner, 100);
        for other in [
            wallet_digest(&agent(2), wallet, owner, 100),
            wallet_digest(&agent(1), owner, owner, 100),
            wallet_digest(&agent(1), wallet, wallet, 100),
            wallet_digest(&agent(1), wallet, owner, 101),
        ] {
            assert_ne!(other, digest);
        }
    }
}
