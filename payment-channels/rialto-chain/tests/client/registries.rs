//! Agents and feedback through the client: what is written is read, also from the logs, and what is refused
//! says what to do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use alloy::primitives::{Address, B256, U256};
use rialto_chain::client::{
    ChainError, ConnectError, Fate, KeepError, KeepSent, RegistryClient, RegistryError, Sent,
};
use rialto_chain::contracts::{DEV_CHAIN_ID, DEV_TOKEN};
use rialto_registry::AgentId;
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::calls::{
    CallError, Entry, Feedback, URI_BYTES_MAX, VALUE_BYTES_MAX, wallet_digest,
};
use rialto_registry::erc8004::logs::{FeedbackEvent, Transferred};
use rialto_registry::names::NAME_KEY;

use crate::chain::Chain;
use crate::people::{HOST, PAYER, RECEIVER, STRANGER, address, key};

on_both!(
    an_agent_is_what_was_registered,
    values_are_set_once,
    an_agent_changes_hands_and_its_name_goes_along,
    feedback_commits_to_a_receipt,
    a_wallet_agrees_to_be_paid,
    what_is_refused_says_why,
    a_registration_is_found_again_after_a_crash,
    registries_that_are_not_there_are_not_used,
);

pub(crate) fn at() -> Registries {
    Registries::canonical(DEV_CHAIN_ID).unwrap()
}

pub(crate) async fn registries(chain: &Chain, who: usize) -> RegistryClient {
    let client = chain.client(who).await;
    client.registries(at()).await.unwrap()
}

pub(crate) fn name(text: &str) -> Entry {
    Entry::new(NAME_KEY, text)
}

pub(crate) async fn registered(client: &RegistryClient, metadata: &[Entry]) -> AgentId {
    client.register("", metadata, None).await.unwrap().agent
}

async fn an_agent_is_what_was_registered(chain: Chain) {
    let client = registries(&chain, HOST).await;
    let uri = format!("data:,{}", "x".repeat(URI_BYTES_MAX - 6));
    let long = Entry::new("k", vec![0xff; VALUE_BYTES_MAX]);
    let entries = [name("embed"), long.clone()];
    let first = client.register(&uri, &entries, None).await.unwrap();
    assert_eq!(first.agent, at().agent(U256::ZERO));
    assert_eq!(client.registries(), at());
    let agent = first.agent;
    assert_eq!(client.owner_of(&agent).await.unwrap(), address(HOST));
    assert_eq!(
        client.agent_wallet(&agent).await.unwrap(),
        Some(address(HOST))
    );
    assert_eq!(client.token_uri(&agent).await.unwrap(), uri);
    assert_eq!(client.metadata(&agent, NAME_KEY).await.unwrap(), b"embed");
    assert_eq!(client.metadata(&agent, "k").await.unwrap(), long.value);
    assert_eq!(client.metadata(&agent, "other").await.unwrap(), b"");
    client.set_uri(&agent, "ipfs://x").await.unwrap();
    assert_eq!(client.token_uri(&agent).await.unwrap(), "ipfs://x");
    let second = registered(&client, &[]).await;
    assert_eq!(second.token, U256::from(1));
    let by = client.registered_by(first.transaction).await.unwrap();
    assert_eq!(by, Some(agent));
    let by_nothing = client.registered_by(B256::repeat_byte(1)).await.unwrap();
    assert_eq!(by_nothing, None);
}

async fn values_are_set_once(chain: Chain) {
    let client = registries(&chain, HOST).await;
    let agent = registered(&client, &[name("embed")]).await;
    let wanted = [name("embed"), Entry::new("a", [1]), Entry::new("b", [2])];
    let sent = client.set_metadata(&agent, &wanted).await.unwrap();
    assert_eq!(sent.len(), 2, "the name was there");
    let again = client.set_metadata(&agent, &wanted).await.unwrap();
    assert!(again.is_empty());
    let emptied = client.set_metadata(&agent, &[Entry::new("a", [])]).await;
    assert_eq!(emptied.unwrap().len(), 1);
    assert_eq!(client.metadata(&agent, "a").await.unwrap(), b"");
    // Nothing is sent when one of them cannot be.
    let half = [Entry::new("c", [3]), Entry::new("agentWallet", [4])];
    let refused = client.set_metadata(&agent, &half).await;
    assert!(matches!(
        refused,
        Err(RegistryError::Call(CallError::Key(_)))
    ));
    assert_eq!(client.metadata(&agent, "c").await.unwrap(), b"");
}

async fn an_agent_changes_hands_and_its_name_goes_along(chain: Chain) {
    let seller = registries(&chain, HOST).await;
    let buyer = registries(&chain, STRANGER).await;
    let agent = registered(&seller, &[name("embed")]).await;
    let other = registered(&seller, &[]).await;
    seller.transfer(&agent, address(STRANGER)).await.unwrap();
    assert_eq!(buyer.owner_of(&agent).await.unwrap(), address(STRANGER));
    assert_eq!(buyer.agent_wallet(&agent).await.unwrap(), None);
    assert_eq!(buyer.metadata(&agent, NAME_KEY).await.unwrap(), b"embed");
    let back = seller.transfer(&agent, address(HOST)).await;
    assert!(matches!(back, Err(RegistryError::NotAuthorized(one)) if one == agent));
    // A contract that does not take tokens would keep it for good.
    let deaf = buyer.transfer(&agent, DEV_TOKEN).await.unwrap_err();
    let RegistryError::Chain(ChainError::Reverted { name, .. }) = deaf else {
        panic!("{deaf}");
    };
    assert_eq!(name, "ERC721InvalidReceiver");

    let step = buyer.transfer_log(&[agent], 0).await.unwrap();
    let owners: Vec<_> = step.found.iter().map(|one| one.entry).collect();
    let moved = |from, to| Transferred { agent, from, to };
    let (host, stranger) = (address(HOST), address(STRANGER));
    assert_eq!(owners, [moved(Address::ZERO, host), moved(host, stranger)]);
    let both = buyer.transfer_log(&[agent, other], 0).await.unwrap();
    assert_eq!(both.found.len(), 3);
}

fn feedback(agent: &AgentId) -> Feedback {
    Feedback {
        agent: agent.token,
        value: -995,
        decimals: 3,
        tag1: "answer".to_owned(),
        tag2: "embed".to_owned(),
        endpoint: "https://e.example".to_owned(),
        uri: String::new(),
        hash: B256::repeat_byte(0x77),
    }
}

async fn feedback_commits_to_a_receipt(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let payer = registries(&chain, PAYER).await;
    let agent = registered(&host, &[]).await;
    let other = registered(&host, &[]).await;
    let said = feedback(&agent);
    for index in 1..=2 {
        let given = payer.give_feedback(&said, None).await.unwrap();
        assert_eq!(given.index, index);
    }
    payer.give_feedback(&feedback(&other), None).await.unwrap();
    payer.revoke_feedback(&agent, 2).await.unwrap();
    let client = address(PAYER);
    assert_eq!(host.feedback_count(&agent, client).await.unwrap(), 2);
    let kept = host.feedback(&agent, client, 2).await.unwrap();
    assert_eq!(
        (kept.value, kept.decimals, kept.is_revoked),
        (-995, 3, true)
    );
    assert!(!host.feedback(&agent, client, 1).await.unwrap().is_revoked);

    let step = host.feedback_log(&agent, 0).await.unwrap();
    let found: Vec<_> = step.found.into_iter().map(|one| one.entry).collect();
    let given = |index| FeedbackEvent::Given {
        agent,
        client,
        index,
        value: -995,
        decimals: 3,
        tag1: said.tag1.clone(),
        tag2: said.tag2.clone(),
        endpoint: said.endpoint.clone(),
        uri: String::new(),
        hash: said.hash,
    };
    let index = 2;
    let revoked = FeedbackEvent::Revoked {
        agent,
        client,
        index,
    };
    assert_eq!(found, [given(1), given(2), revoked]);
}

async fn a_wallet_agrees_to_be_paid(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let agent = registered(&host, &[]).await;
    let now = chain.client(HOST).await.now().await.unwrap().get();
    let (wallet, deadline) = (address(RECEIVER), now + 200);
    let digest = wallet_digest(&agent, wallet, address(HOST), deadline);
    let signed = key(RECEIVER).sign(digest).to_bytes();
    let refused = host.set_wallet(&agent, wallet, deadline + 1, &signed).await;
    let Err(RegistryError::Chain(ChainError::Reverted {
        name, transaction, ..
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((name.as_str(), transaction), ("invalid wallet sig", None));
    host.set_wallet(&agent, wallet, deadline, &signed)
        .await
        .unwrap();
    assert_eq!(host.agent_wallet(&agent).await.unwrap(), Some(wallet));
}

async fn what_is_refused_says_why(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let stranger = registries(&chain, STRANGER).await;
    let agent = registered(&host, &[]).await;
    let before = chain.client(HOST).await.block_number().await.unwrap();
    let none = at().agent(U256::from(9));
    for error in [
        host.owner_of(&none).await.unwrap_err(),
        host.token_uri(&none).await.unwrap_err(),
        host.agent_wallet(&none).await.unwrap_err(),
        host.set_uri(&none, "").await.unwrap_err(),
        host.transfer(&none, address(PAYER)).await.unwrap_err(),
        host.give_feedback(&feedback(&none), None)
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, RegistryError::NoSuchAgent(one) if one == none),
            "{error}"
        );
    }
    for error in [
        stranger.set_uri(&agent, "").await.unwrap_err(),
        stranger
            .set_metadata(&agent, &[name("embed")])
            .await
            .unwrap_err(),
        stranger.transfer(&agent, address(PAYER)).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, RegistryError::NotAuthorized(one) if one == agent),
            "{error}"
        );
    }
    let own = host
        .give_feedback(&feedback(&agent), None)
        .await
        .unwrap_err();
    assert!(
        matches!(own, RegistryError::OwnAgent(one) if one == agent),
        "{own}"
    );
    let mut elsewhere = agent;
    elsewhere.registry.chain_id = 8_453;
    let other = host.set_uri(&elsewhere, "").await.unwrap_err();
    assert!(
        matches!(other, RegistryError::OtherRegistry { .. }),
        "{other}"
    );
    let long = "x".repeat(URI_BYTES_MAX + 1);
    let long = host.set_uri(&agent, &long).await.unwrap_err();
    assert!(
        matches!(long, RegistryError::Call(CallError::TooLong { .. })),
        "{long}"
    );
    let after = chain.client(HOST).await.block_number().await.unwrap();
    assert_eq!(after, before, "nothing was sent");
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Option<Sent>>);

impl KeepSent for Notebook {
    fn keep<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>> {
        Box::pin(async move {
            *self.0.lock().unwrap() = Some(sent.clone());
            Ok(())
        })
    }
}

async fn a_registration_is_found_again_after_a_crash(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let notebook = Notebook::default();
    let made = host.register("", &[], Some(&notebook)).await.unwrap();
    let sent = notebook.0.lock().unwrap().clone().unwrap();
    let Fate::Mined(outcome) = chain.client(HOST).await.fate(&sent).await.unwrap() else {
        panic!("not mined");
    };
    let again = registries(&chain, HOST).await;
    let found = again.registered_by(outcome.transaction).await.unwrap();
    assert_eq!(found, Some(made.agent));
}

async fn registries_that_are_not_there_are_not_used(chain: Chain) {
    let client = chain.client(HOST).await;
    let nowhere = Address::repeat_byte(0x11);
    let reputation = nowhere;
    let missing = client.registries(Registries { reputation, ..at() }).await;
    let missing =
        matches!(missing, Err(ConnectError::MissingContract { address }) if address == nowhere);
    assert!(missing);
    let elsewhere = client
        .registries(Registries {
            chain_id: 1,
            ..at()
        })
        .await;
    let wrong = Err(ConnectError::WrongChain {
        expected: 1,
        found: DEV_CHAIN_ID,
    });
    assert_eq!(
        format!("{elsewhere:?}"),
        format!("{:?}", wrong as Result<(), _>)
    );
}
