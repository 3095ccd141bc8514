//! What clients say of agents: who may, how it is kept, and what is made of it.

use alloy::contract::CallBuilder;
use alloy::primitives::{Address, B256, I256, U256, keccak256};
use alloy::providers::DynProvider;

use crate::abi::{IdentityRegistry, ReputationRegistry};
use crate::agents::{APPROVED, OPERATOR, OWNER, text};
use crate::chain::{Chain, emitted, reverts};
use crate::world::{IDENTITY, REPUTATION, Who};

on_both!(
    feedback_is_kept_as_it_was_given,
    nobody_rates_their_own_agent,
    values_have_bounds,
    feedback_is_taken_back_once_by_who_gave_it,
    anybody_may_respond,
    summaries_are_means_of_those_who_count,
    all_feedback_is_listed,
);

type Registry = ReputationRegistry::ReputationRegistryInstance<DynProvider>;
type Give<'a> =
    CallBuilder<&'a DynProvider, std::marker::PhantomData<ReputationRegistry::giveFeedbackCall>>;

impl Chain {
    fn reputation(&self) -> Registry {
        ReputationRegistry::new(REPUTATION, self.provider.clone())
    }
}

fn give<'a>(
    registry: &'a Registry,
    agent: U256,
    who: Who,
    value: i128,
    decimals: u8,
    tag: &str,
) -> Give<'a> {
    let texts = [tag, "p95", "https://e.example", "ipfs://x"].map(str::to_owned);
    let [tag1, tag2, endpoint, uri] = texts;
    let hash = B256::repeat_byte(7);
    let call = registry.giveFeedback(agent, value, decimals, tag1, tag2, endpoint, uri, hash);
    call.from(who.address())
}

/// G3 to G5.
async fn feedback_is_kept_as_it_was_given(chain: Chain) {
    let registry = chain.reputation();
    assert_eq!(
        registry.getIdentityRegistry().call().await.unwrap(),
        IDENTITY
    );
    let agent = chain.agent().await;
    let clients = [Who::Payer, Who::Payer2];
    for (who, index) in [(Who::Payer, 1), (Who::Payer2, 1), (Who::Payer, 2)] {
        let receipt = chain
            .send(give(&registry, agent, who, -875, 1, "latency"))
            .await;
        emitted(
            &receipt,
            &[ReputationRegistry::NewFeedback {
                agentId: agent,
                clientAddress: who.address(),
                feedbackIndex: index,
                value: -875,
                valueDecimals: 1,
                indexedTag1: keccak256("latency"),
                tag1: "latency".into(),
                tag2: "p95".into(),
                endpoint: "https://e.example".into(),
                feedbackURI: "ipfs://x".into(),
                feedbackHash: B256::repeat_byte(7),
            }],
        );
        let last = registry.getLastIndex(agent, who.address());
        assert_eq!(last.call().await.unwrap(), index, "G3");
    }
    let listed = registry.getClients(agent).call().await.unwrap();
    assert_eq!(listed, clients.map(Who::address), "G4");
    let kept = registry.readFeedback(agent, Who::Payer.address(), 2);
    let kept = kept.call().await.unwrap();
    assert_eq!(
        (kept.value, kept.valueDecimals, kept.isRevoked),
        (-875, 1, false)
    );
    assert_eq!((kept.tag1.as_str(), kept.tag2.as_str()), ("latency", "p95"));
    let other = U256::from(1);
    assert_eq!(
        registry.getClients(other).call().await.unwrap(),
        [] as [Address; 0]
    );
    for (index, reason) in [(0, "index must be > 0"), (3, "index out of bounds")] {
        let none = registry.readFeedback(agent, Who::Payer.address(), index);
        reverts(none, text(reason)).await;
    }
}

/// G1.
async fn nobody_rates_their_own_agent(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    for who in [OWNER, OPERATOR, APPROVED] {
        let own = give(&registry, agent, who, 100, 0, "");
        reverts(own, text("Self-feedback not allowed")).await;
    }
    let next = Who::Receiver2;
    let identity = chain.identity();
    let transfer = identity.transferFrom(OWNER.address(), next.address(), agent);
    chain.send(transfer.from(OWNER.address())).await;
    reverts(
        give(&registry, agent, next, 100, 0, ""),
        text("Self-feedback not allowed"),
    )
    .await;
    chain.send(give(&registry, agent, OWNER, 100, 0, "")).await;
    let none = IdentityRegistry::ERC721NonexistentToken {
        tokenId: U256::from(9),
    };
    reverts(give(&registry, U256::from(9), next, 1, 0, ""), none).await;
}

async fn values_have_bounds(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    let most = 10_i128.pow(38);
    let check = |value, decimals| give(&registry, agent, Who::Payer, value, decimals, "");
    for value in [most, -most] {
        chain.send(check(value, 18)).await;
    }
    for value in [most + 1, -most - 1, i128::MIN] {
        reverts(check(value, 0), text("value too large")).await;
    }
    reverts(check(1, 19), text("too many decimals")).await;
}

/// G2.
async fn feedback_is_taken_back_once_by_who_gave_it(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    chain
        .send(give(&registry, agent, Who::Payer, 5, 0, ""))
        .await;
    let revoke = |who: Who, index| registry.revokeFeedback(agent, index).from(who.address());
    reverts(revoke(Who::Payer2, 1), text("index out of bounds")).await;
    reverts(revoke(OWNER, 1), text("index out of bounds")).await;
    reverts(revoke(Who::Payer, 0), text("index must be > 0")).await;
    reverts(revoke(Who::Payer, 2), text("index out of bounds")).await;
    let receipt = chain.send(revoke(Who::Payer, 1)).await;
    emitted(
        &receipt,
        &[ReputationRegistry::FeedbackRevoked {
            agentId: agent,
            clientAddress: Who::Payer.address(),
            feedbackIndex: 1,
        }],
    );
    reverts(revoke(Who::Payer, 1), text("Already revoked")).await;
    let kept = registry.readFeedback(agent, Who::Payer.address(), 1);
    let kept = kept.call().await.unwrap();
    assert_eq!((kept.value, kept.isRevoked), (5, true));
}

async fn anybody_may_respond(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    chain
        .send(give(&registry, agent, Who::Payer, 5, 0, ""))
        .await;
    let client = Who::Payer.address();
    let hash = B256::repeat_byte(8);
    let respond = |who: Who, index, uri: &str| {
        let call = registry.appendResponse(agent, client, index, uri.into(), hash);
        call.from(who.address())
    };
    for who in [OWNER, Who::Stranger] {
        let receipt = chain.send(respond(who, 1, "ipfs://y")).await;
        emitted(
            &receipt,
            &[ReputationRegistry::ResponseAppended {
                agentId: agent,
                clientAddress: client,
                feedbackIndex: 1,
                responder: who.address(),
                responseURI: "ipfs://y".into(),
                responseHash: hash,
            }],
        );
    }
    reverts(respond(OWNER, 1, ""), text("Empty URI")).await;
    reverts(respond(OWNER, 0, "x"), text("index must be > 0")).await;
    reverts(respond(OWNER, 2, "x"), text("index out of bounds")).await;
}

async fn summaries_are_means_of_those_who_count(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    let summary = async |clients: &[Who], tag1: &str| {
        let clients = clients.iter().map(|who| who.address()).collect();
        let call = registry.getSummary(agent, clients, tag1.into(), String::new());
        let found = call.call().await.unwrap();
        (found.count, found.summaryValue, found.summaryValueDecimals)
    };
    let nobody = registry.getSummary(agent, vec![], String::new(), String::new());
    reverts(nobody, text("clientAddresses required")).await;
    assert_eq!(summary(&[Who::Payer], "").await, (0, 0, 0));
    for (who, value, decimals, tag) in [
        (Who::Payer, 875, 1, "a"),
        (Who::Payer, 90, 0, "a"),
        (Who::Payer2, 1005, 1, "b"),
        (Who::Stranger, -1_000_000, 0, "a"),
    ] {
        chain
            .send(give(&registry, agent, who, value, decimals, tag))
            .await;
    }
    // (87.5 + 90 + 100.5) / 3 = 92.66.., with one decimal as two of three have it.
    let counted = [Who::Payer, Who::Payer2];
    assert_eq!(summary(&counted, "").await, (3, 926, 1));
    // As many with one decimal as with none: the fewer.
    assert_eq!(summary(&counted, "a").await, (2, 88, 0));
    assert_eq!(summary(&counted, "c").await, (0, 0, 0));
    let revoke = registry.revokeFeedback(agent, 2);
    chain.send(revoke.from(Who::Payer.address())).await;
    assert_eq!(summary(&counted, "").await, (2, 940, 1));
    assert_eq!(summary(&[Who::Stranger], "").await, (1, -1_000_000, 0));
    // A large value among many small ones with all decimals: the mean has as many as fit.
    let most = 10_i128.pow(38);
    for (value, decimals) in [(1, 18), (1, 18), (most, 0)] {
        chain
            .send(give(&registry, agent, Who::Payer3, value, decimals, ""))
            .await;
    }
    let mean = I256::try_from(most).unwrap() / I256::try_from(3).unwrap();
    let (count, value, decimals) = summary(&[Who::Payer3], "").await;
    assert_eq!((count, decimals), (3, 0));
    assert_eq!(I256::try_from(value).unwrap(), mean);
}

async fn all_feedback_is_listed(chain: Chain) {
    let registry = chain.reputation();
    let agent = chain.agent().await;
    for (who, value, tag) in [
        (Who::Payer, 1, "a"),
        (Who::Payer2, 2, "b"),
        (Who::Payer, 3, "a"),
    ] {
        chain.send(give(&registry, agent, who, value, 0, tag)).await;
    }
    let revoke = registry.revokeFeedback(agent, 1);
    chain.send(revoke.from(Who::Payer.address())).await;
    let all = async |clients: &[Who], tag1: &str, tag2: &str, revoked| {
        let clients = clients.iter().map(|who| who.address()).collect();
        let call = registry.readAllFeedback(agent, clients, tag1.into(), tag2.into(), revoked);
        let found = call.call().await.unwrap();
        let rows = found.values.len();
        assert_eq!(
            [found.clients.len(), found.tag1s.len(), found.tag2s.len()],
            [rows; 3]
        );
        assert_eq!(
            [found.valueDecimals.len(), found.revokedStatuses.len()],
            [rows; 2]
        );
        found
            .feedbackIndexes
            .into_iter()
            .zip(found.values)
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&[], "", "", true).await, [(1, 1), (2, 3), (1, 2)]);
    assert_eq!(all(&[], "", "", false).await, [(2, 3), (1, 2)]);
    assert_eq!(all(&[], "a", "p95", true).await, [(1, 1), (2, 3)]);
    assert_eq!(all(&[], "", "p50", true).await, []);
    assert_eq!(all(&[Who::Payer2], "", "", true).await, [(1, 2)]);
    assert_eq!(all(&[Who::Stranger], "", "", true).await, []);
}
