//! Who is paid for an agent: by the wallet's own signature, for a short time, and never after a transfer.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::calls::wallet_digest;

use crate::abi::{TestWallet, typed};
use crate::agents::{APPROVED, OPERATOR, OWNER, set, text};
use crate::chain::{CHAIN_ID, Chain, emitted, reverts};
use crate::world::{IDENTITY, Who};

on_both!(
    a_wallet_agrees_to_be_paid,
    a_contract_agrees_by_its_own_rules,
    signatures_are_for_one_agent_owner_and_wallet,
    deadlines_are_near,
);

const WALLET: Who = Who::Payer;
const DEADLINE_MAX: u64 = 300;

fn domain() -> Eip712Domain {
    eip712_domain! {
        name: "ERC8004IdentityRegistry",
        version: "1",
        chain_id: CHAIN_ID,
        verifying_contract: IDENTITY,
    }
}

fn digest(agent: U256, wallet: Address, owner: Address, deadline: u64) -> B256 {
    let message = typed::AgentWalletSet {
        agentId: agent,
        newWallet: wallet,
        owner,
        deadline: U256::from(deadline),
    };
    message.eip712_signing_hash(&domain())
}

fn signature(agent: U256, deadline: u64) -> Bytes {
    WALLET.sign(digest(agent, WALLET.address(), OWNER.address(), deadline))
}

async fn a_wallet_agrees_to_be_paid(chain: Chain) {
    let registry = chain.identity();
    let separator = registry.DOMAIN_SEPARATOR().call().await.unwrap();
    assert_eq!(separator, domain().separator());
    let described = registry.eip712Domain().call().await.unwrap();
    assert_eq!(described.domainName, "ERC8004IdentityRegistry");
    assert_eq!(described.version, "1");
    assert_eq!(described.chainId, U256::from(CHAIN_ID));
    assert_eq!(described.verifyingContract, IDENTITY);

    let agent = chain.agent().await;
    for who in [OWNER, OPERATOR, APPROVED] {
        let deadline = chain.now().await + 200;
        let signed = signature(agent, deadline);
        let ours = Registries::canonical(CHAIN_ID).unwrap().agent(agent);
        let ours = wallet_digest(&ours, WALLET.address(), OWNER.address(), deadline);
        assert_eq!(
            ours,
            digest(agent, WALLET.address(), OWNER.address(), deadline)
        );
        let end = U256::from(deadline);
        let call = registry.setAgentWallet(agent, WALLET.address(), end, signed);
        let receipt = chain.send(call.from(who.address())).await;
        emitted(
            &receipt,
            &[set(agent, "agentWallet", WALLET.address().as_slice())],
        );
        let wallet = registry.getAgentWallet(agent).call().await.unwrap();
        assert_eq!(wallet, WALLET.address());
        let unset = registry.unsetAgentWallet(agent);
        chain.send(unset.from(who.address())).await;
        let wallet = registry.getAgentWallet(agent).call().await.unwrap();
        assert_eq!(wallet, Address::ZERO);
    }
    let end = chain.now().await + 200;
    let call = registry.setAgentWallet(
        agent,
        WALLET.address(),
        U256::from(end),
        signature(agent, end),
    );
    reverts(call.from(WALLET.address()), text("Not authorized")).await;
}

async fn a_contract_agrees_by_its_own_rules(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let receipt = chain
        .send(TestWallet::deploy_builder(chain.provider.clone()))
        .await;
    let wallet = receipt.contract_address.unwrap();
    let contract = TestWallet::new(wallet, chain.provider.clone());
    let end = chain.now().await + 200;
    let signed = WALLET.sign(digest(agent, wallet, OWNER.address(), end));
    let call = || {
        let set = registry.setAgentWallet(agent, wallet, U256::from(end), signed.clone());
        set.from(OWNER.address())
    };
    reverts(call(), text("invalid wallet sig")).await;
    chain.send(contract.setKey(WALLET.address())).await;
    chain.send(call()).await;
    assert_eq!(registry.getAgentWallet(agent).call().await.unwrap(), wallet);
    // A contract that answers no such question agrees to nothing.
    let registry_itself = registry.setAgentWallet(agent, IDENTITY, U256::from(end), signed.clone());
    reverts(
        registry_itself.from(OWNER.address()),
        text("invalid wallet sig"),
    )
    .await;
}

/// A4: what was signed for something else is not agreed to.
async fn signatures_are_for_one_agent_owner_and_wallet(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let other = chain.agent().await;
    let (wallet, owner) = (WALLET.address(), OWNER.address());
    let end = chain.now().await + 200;
    let long = Bytes::from([signature(agent, end).as_ref(), &[0]].concat());
    for (wrong, signed) in [
        ("agent", signature(other, end)),
        ("deadline", signature(agent, end + 1)),
        ("owner", WALLET.sign(digest(agent, wallet, wallet, end))),
        ("wallet", WALLET.sign(digest(agent, owner, owner, end))),
        ("signer", OWNER.sign(digest(agent, wallet, owner, end))),
        ("nothing", Bytes::new()),
        ("length", long),
    ] {
        let call = registry.setAgentWallet(agent, wallet, U256::from(end), signed);
        let call = call.from(owner);
        let outcome = crate::chain::outcome(call.clone()).await;
        assert!(outcome.is_err(), "{wrong}");
        reverts(call, text("invalid wallet sig")).await;
    }
    let nobody = registry.setAgentWallet(agent, Address::ZERO, U256::from(end), Bytes::new());
    reverts(nobody.from(owner), text("bad wallet")).await;

    // After a transfer the signature that names the owner before is worth nothing.
    let signed = signature(agent, end);
    let next = Who::Receiver2.address();
    chain
        .send(registry.transferFrom(owner, next, agent).from(owner))
        .await;
    let call = registry.setAgentWallet(agent, wallet, U256::from(end), signed);
    reverts(call.from(next), text("invalid wallet sig")).await;
}

async fn deadlines_are_near(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let now = chain.now().await;
    let set = |end: u64| {
        let call = registry.setAgentWallet(
            agent,
            WALLET.address(),
            U256::from(end),
            signature(agent, end),
        );
        call.from(OWNER.address())
    };
    let at = now + 1_000;
    assert!(!chain.succeeds_at(at, set(at - 1)).await, "expired");
    assert!(
        chain.succeeds_at(at + 1, set(at + 1)).await,
        "the last second"
    );
    assert!(chain.succeeds_at(at + 2, set(at + 2 + DEADLINE_MAX)).await);
    assert!(!chain.succeeds_at(at + 3, set(at + 4 + DEADLINE_MAX)).await);
    reverts(set(now), text("expired")).await;
    reverts(set(at + 10_000), text("deadline too far")).await;
}
