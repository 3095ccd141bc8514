//! Fuzz targets of the chain client: what an endpoint that lies may answer. A broken property
//! panics.

use alloy::primitives::{Address, B256, Bytes, Log as Inner, LogData};
use alloy::rpc::types::Log;
use alloy::sol_types::SolCall;
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::abi::{IIdentityRegistry, IReputationRegistry};
use rialto_registry::erc8004::calls::VALUE_BYTES_MAX;
use rialto_registry::erc8004::logs;

use super::ChainError;
use super::events::decode;
use crate::contracts::{DEV_CHAIN_ID, IBatchSettlement, IErc3009};

/// The answer to a read, after a byte that picks which: what is read is what is written again.
pub(crate) fn chain_answers(data: &[u8]) {
    let Some((kind, answer)) = data.split_first() else {
        return;
    };
    match kind % 8 {
        0 => answer_to::<IBatchSettlement::channelsCall>(answer),
        1 => answer_to::<IBatchSettlement::pendingWithdrawalsCall>(answer),
        2 => answer_to::<IBatchSettlement::refundNonceCall>(answer),
        3 => answer_to::<IBatchSettlement::receiversCall>(answer),
        4 => answer_to::<IErc3009::balanceOfCall>(answer),
        5 => answer_to::<IErc3009::authorizationStateCall>(answer),
        6 => answer_to::<IBatchSettlement::getChannelIdCall>(answer),
        _ => reverted(answer),
    }
}

fn answer_to<C: SolCall>(answer: &[u8]) {
    let Ok(read) = C::abi_decode_returns(answer) else {
        return;
    };
    let written = C::abi_encode_returns(&read);
    assert!(written.len() <= answer.len());
    match C::abi_decode_returns(&written) {
        Ok(again) => assert_eq!(C::abi_encode_returns(&again), written),
        Err(error) => panic!("what was read cannot be read again: {error}"),
    }
}

/// Revert data is the endpoint's own text: whatever it is, its name is one short line.
fn reverted(data: &[u8]) {
    let error = ChainError::reverted(Bytes::copy_from_slice(data), None);
    let name = error.revert().unwrap_or_default();
    assert!(!name.is_empty());
    assert!(name.chars().count() <= 256 && !name.chars().any(char::is_control));
}

/// A log as JSON, or, after a first byte of no JSON, from parts: that byte picks the event, the rest
/// is topics and data. An event is where its log was, and what a registry's says is within bounds.
pub(crate) fn chain_logs(data: &[u8]) {
    let log = match data.split_first() {
        Some((b'{', _)) => match serde_json::from_slice::<Log>(data) {
            Ok(log) => log,
            Err(_) => return,
        },
        Some((kind, parts)) => assembled(*kind, parts),
        None => return,
    };
    if let Ok(Some(event)) = decode(&log) {
        assert_eq!(Some(event.block), log.block_number);
        assert_eq!(Some(event.block_hash), log.block_hash);
        assert_eq!(Some(event.transaction), log.transaction_hash);
    }
    let Some(at) = Registries::canonical(DEV_CHAIN_ID) else {
        return;
    };
    let of = |address| Inner {
        address,
        data: log.inner.data.clone(),
    };
    if let Some(set) = logs::metadata_set(&at, &of(at.identity)) {
        assert!(set.value.len() <= VALUE_BYTES_MAX && set.agent.registry == at.id());
    }
    if let Some(event) = logs::feedback(&at, &of(at.reputation)) {
        assert_eq!(event.agent().registry, at.id());
    }
    let registered = logs::registered(&at, &[of(at.identity)]);
    let given = logs::transferred(&at, &of(at.identity));
    assert!(registered.is_none() || given.is_none());
}

fn assembled(kind: u8, parts: &[u8]) -> Log {
    use IBatchSettlement::IBatchSettlementEvents as Channels;
    use IIdentityRegistry::IIdentityRegistryEvents as Agents;
    use IReputationRegistry::IReputationRegistryEvents as Feedback;
    let known = [Channels::SELECTORS, Agents::SELECTORS, Feedback::SELECTORS].concat();
    let first = known.get(usize::from(kind) % known.len());
    let mut topics: Vec<B256> = first.map(|first| B256::from(*first)).into_iter().collect();
    let (count, mut rest) = parts.split_first().unwrap_or((&0, &[]));
    for _ in 0..count % 5 {
        let Some((topic, after)) = rest.split_first_chunk::<32>() else {
            break;
        };
        topics.push(B256::from(*topic));
        rest = after;
    }
    Log {
        inner: Inner {
            address: Address::ZERO,
            data: LogData::new_unchecked(topics, Bytes::copy_from_slice(rest)),
        },
        block_number: Some(u64::from(kind)),
        block_hash: Some(B256::repeat_byte(!kind)),
        transaction_hash: Some(B256::repeat_byte(kind)),
        ..Log::default()
    }
}
