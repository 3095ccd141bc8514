//! Agents: registered, changed and given away, and by whom.

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256, keccak256};
use alloy::providers::DynProvider;
use alloy::sol_types::{Revert, SolCall};

use crate::abi::IIdentityRegistry::MetadataEntry;
use crate::abi::{IdentityRegistry, TestReceiver};
use crate::chain::{Chain, emitted, reverts};
use crate::world::{IDENTITY, Who};

on_both!(
    agents_are_numbered_from_zero_and_begin_as_they_are_told,
    only_the_authorized_change_an_agent,
    one_key_is_reserved,
    agents_change_hands,
    nobody_takes_what_was_not_given,
    receivers_have_a_say,
    unknown_agents_are_refused,
    interfaces_are_declared,
);

pub(crate) const OWNER: Who = Who::Receiver;
/// May act for all agents of the owner.
pub(crate) const OPERATOR: Who = Who::Host;
/// Is approved for one agent.
pub(crate) const APPROVED: Who = Who::Host2;
const NEXT: Who = Who::Receiver2;

/// `TestReceiver`'s modes.
const TAKES: u8 = 0;
const REVERTS: u8 = 1;
const NONSENSE: u8 = 2;
const CALLS: u8 = 3;

type Registry = IdentityRegistry::IdentityRegistryInstance<DynProvider>;

impl Chain {
    pub(crate) fn identity(&self) -> Registry {
        IdentityRegistry::new(IDENTITY, self.provider.clone())
    }

    /// An agent of the tests' owner, with an operator and somebody approved.
    pub(crate) async fn agent(&self) -> U256 {
        let registry = self.identity();
        let call = registry.register_0().from(OWNER.address());
        let agent = call.call().await.unwrap();
        self.send(call).await;
        let operator = registry.setApprovalForAll(OPERATOR.address(), true);
        self.send(operator.from(OWNER.address())).await;
        let approved = registry.approve(APPROVED.address(), agent);
        self.send(approved.from(OWNER.address())).await;
        agent
    }

    async fn receiver_contract(&self) -> TestReceiver::TestReceiverInstance<DynProvider> {
        let deploy = TestReceiver::deploy_builder(self.provider.clone());
        let receipt = self.send(deploy).await;
        TestReceiver::new(receipt.contract_address.unwrap(), self.provider.clone())
    }
}

pub(crate) fn text(reason: &str) -> Revert {
    Revert::from(reason)
}

pub(crate) fn set(agent: U256, key: &str, value: &[u8]) -> IdentityRegistry::MetadataSet {
    IdentityRegistry::MetadataSet {
        agentId: agent,
        indexedMetadataKey: keccak256(key),
        metadataKey: key.to_owned(),
        metadataValue: Bytes::copy_from_slice(value),
    }
}

fn unknown(agent: u64) -> IdentityRegistry::ERC721NonexistentToken {
    IdentityRegistry::ERC721NonexistentToken {
        tokenId: U256::from(agent),
    }
}

fn moved(from: Address, to: Address, agent: U256) -> IdentityRegistry::Transfer {
    IdentityRegistry::Transfer {
        from,
        to,
        tokenId: agent,
    }
}

/// A1 and A6: three ways to register, each with all of it in the log.
async fn agents_are_numbered_from_zero_and_begin_as_they_are_told(chain: Chain) {
    let registry = chain.identity();
    let owner = OWNER.address();
    let entries = vec![
        MetadataEntry {
            metadataKey: "rialto.name".into(),
            metadataValue: Bytes::from_static(b"embed"),
        },
        MetadataEntry {
            metadataKey: String::new(),
            metadataValue: Bytes::new(),
        },
    ];
    let uri = "https://e.example/a.json";
    let receipts = [
        chain.send(registry.register_0().from(owner)).await,
        chain
            .send(registry.register_2(uri.into()).from(owner))
            .await,
        chain
            .send(registry.register_1(uri.into(), entries).from(owner))
            .await,
    ];
    for (number, receipt) in (0_u64..).zip(&receipts) {
        let agent = U256::from(number);
        let expected_uri = if number == 0 { "" } else { uri };
        emitted(receipt, &[moved(Address::ZERO, owner, agent)]);
        let registered = IdentityRegistry::Registered {
            agentId: agent,
            agentURI: expected_uri.into(),
            owner,
        };
        emitted(receipt, &[registered]);
        let mut values = vec![set(agent, "agentWallet", owner.as_slice())];
        if number == 2 {
            values.push(set(agent, "rialto.name", b"embed"));
            values.push(set(agent, "", b""));
        }
        emitted(receipt, &values);
        assert_eq!(registry.ownerOf(agent).call().await.unwrap(), owner);
        assert_eq!(registry.tokenURI(agent).call().await.unwrap(), expected_uri);
        assert_eq!(registry.getAgentWallet(agent).call().await.unwrap(), owner);
    }
    assert_eq!(
        registry.balanceOf(owner).call().await.unwrap(),
        U256::from(3),
        "A2"
    );
    let name = registry.getMetadata(U256::from(2), "rialto.name".into());
    assert_eq!(name.call().await.unwrap(), Bytes::from_static(b"embed"));
}

/// A3, for every way to change an agent.
async fn only_the_authorized_change_an_agent(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let value = Bytes::from_static(b"v");
    let set_uri = |who: Who| {
        registry
            .setAgentURI(agent, "ipfs://x".into())
            .from(who.address())
    };
    let set_value = |who: Who| {
        registry
            .setMetadata(agent, "k".into(), value.clone())
            .from(who.address())
    };
    let unset = |who: Who| registry.unsetAgentWallet(agent).from(who.address());
    for who in [Who::Stranger, NEXT] {
        reverts(set_uri(who), text("Not authorized")).await;
        reverts(set_value(who), text("Not authorized")).await;
        reverts(unset(who), text("Not authorized")).await;
        let may = registry.isAuthorizedOrOwner(who.address(), agent);
        assert!(!may.call().await.unwrap());
    }
    for who in [OWNER, OPERATOR, APPROVED] {
        let receipt = chain.send(set_uri(who)).await;
        emitted(
            &receipt,
            &[IdentityRegistry::URIUpdated {
                agentId: agent,
                newURI: "ipfs://x".into(),
                updatedBy: who.address(),
            }],
        );
        let receipt = chain.send(set_value(who)).await;
        emitted(&receipt, &[set(agent, "k", b"v")]);
        let receipt = chain.send(unset(who)).await;
        emitted(&receipt, &[set(agent, "agentWallet", b"")]);
        let may = registry.isAuthorizedOrOwner(who.address(), agent);
        assert!(may.call().await.unwrap());
    }
    // A dismissed operator and a replaced approval end.
    let dismissed = registry.setApprovalForAll(OPERATOR.address(), false);
    chain.send(dismissed.from(OWNER.address())).await;
    let nobody = registry.approve(Address::ZERO, agent);
    chain.send(nobody.from(OWNER.address())).await;
    for who in [OPERATOR, APPROVED] {
        reverts(set_uri(who), text("Not authorized")).await;
    }
}

/// A4: nobody writes a wallet as they would any other value.
async fn one_key_is_reserved(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let value = Bytes::copy_from_slice(NEXT.address().as_slice());
    let set_wallet = registry.setMetadata(agent, "agentWallet".into(), value.clone());
    reverts(set_wallet.from(OWNER.address()), text("reserved key")).await;
    let entry = MetadataEntry {
        metadataKey: "agentWallet".into(),
        metadataValue: value.clone(),
    };
    let register = registry.register_1(String::new(), vec![entry]);
    reverts(register.from(NEXT.address()), text("reserved key")).await;
    let other_case = registry.setMetadata(agent, "agentwallet".into(), value);
    chain.send(other_case.from(OWNER.address())).await;
    let wallet = registry.getAgentWallet(agent).call().await.unwrap();
    assert_eq!(wallet, OWNER.address());
}

/// A2, A4 and A5, by the owner, an operator and who is approved.
async fn agents_change_hands(chain: Chain) {
    let registry = chain.identity();
    let (owner, next) = (OWNER.address(), NEXT.address());
    for who in [OWNER, OPERATOR, APPROVED] {
        let agent = chain.agent().await;
        let name = registry.setMetadata(agent, "k".into(), Bytes::from_static(b"v"));
        chain.send(name.from(owner)).await;
        let before = registry.balanceOf(next).call().await.unwrap();
        let call = registry.transferFrom(owner, next, agent);
        let receipt = chain.send(call.from(who.address())).await;
        emitted(&receipt, &[moved(owner, next, agent)]);
        emitted(&receipt, &[set(agent, "agentWallet", b"")]);
        assert_eq!(registry.ownerOf(agent).call().await.unwrap(), next);
        let wallet = registry.getAgentWallet(agent).call().await.unwrap();
        assert_eq!(wallet, Address::ZERO, "A4");
        let approved = registry.getApproved(agent).call().await.unwrap();
        assert_eq!(approved, Address::ZERO, "A5");
        let held = registry.balanceOf(next).call().await.unwrap();
        assert_eq!(held, before + U256::from(1), "A2");
        assert_eq!(registry.balanceOf(owner).call().await.unwrap(), U256::ZERO);
        // Everything else goes along.
        let value = registry
            .getMetadata(agent, "k".into())
            .call()
            .await
            .unwrap();
        assert_eq!(value, Bytes::from_static(b"v"));
        for who in [OWNER, OPERATOR, APPROVED] {
            let back = registry.transferFrom(next, owner, agent);
            let refused = IdentityRegistry::ERC721InsufficientApproval {
                operator: who.address(),
                tokenId: agent,
            };
            reverts(back.from(who.address()), refused).await;
        }
    }
}

async fn nobody_takes_what_was_not_given(chain: Chain) {
    let registry = chain.identity();
    let agent = chain.agent().await;
    let (owner, next, stranger) = (OWNER.address(), NEXT.address(), Who::Stranger.address());
    let take = registry.transferFrom(owner, stranger, agent);
    let refused = IdentityRegistry::ERC721InsufficientApproval {
        operator: stranger,
        tokenId: agent,
    };
    reverts(take.from(stranger), refused).await;
    let wrong = registry.transferFrom(next, stranger, agent);
    let refused = IdentityRegistry::ERC721IncorrectOwner {
        sender: next,
        tokenId: agent,
        owner,
    };
    reverts(wrong.from(owner), refused).await;
    let burn = registry.transferFrom(owner, Address::ZERO, agent);
    let refused = IdentityRegistry::ERC721InvalidReceiver {
        receiver: Address::ZERO,
    };
    reverts(burn.from(owner), refused).await;
    for who in [APPROVED, Who::Stranger] {
        let approve = registry.approve(stranger, agent);
        let refused = IdentityRegistry::ERC721InvalidApprover {
            approver: who.address(),
        };
        reverts(approve.from(who.address()), refused).await;
    }
    let nobody = registry.setApprovalForAll(Address::ZERO, true);
    let refused = IdentityRegistry::ERC721InvalidOperator {
        operator: Address::ZERO,
    };
    reverts(nobody.from(owner), refused).await;

    let approve = registry.approve(stranger, agent).from(OPERATOR.address());
    let receipt = chain.send(approve).await;
    let approval = IdentityRegistry::Approval {
        owner,
        approved: stranger,
        tokenId: agent,
    };
    emitted(&receipt, &[approval]);
    let operate = registry.setApprovalForAll(stranger, true).from(owner);
    let receipt = chain.send(operate).await;
    let approval = IdentityRegistry::ApprovalForAll {
        owner,
        operator: stranger,
        approved: true,
    };
    emitted(&receipt, &[approval]);
    let operates = registry.isApprovedForAll(owner, stranger);
    assert!(operates.call().await.unwrap());
}

/// Contracts take agents, refuse them, or are not asked; and calling back changes nothing that is final.
async fn receivers_have_a_say(chain: Chain) {
    let registry = chain.identity();
    let contract = chain.receiver_contract().await;
    let (owner, to) = (OWNER.address(), *contract.address());
    let agent = chain.agent().await;
    let refused = || IdentityRegistry::ERC721InvalidReceiver { receiver: to };
    let plain = || registry.safeTransferFrom_0(owner, to, agent).from(owner);
    let with_data = || {
        let data = Bytes::from_static(b"x");
        registry
            .safeTransferFrom_1(owner, to, agent, data)
            .from(owner)
    };
    let register = || {
        let data = IdentityRegistry::register_0Call {}.abi_encode();
        contract.run(IDENTITY, data.into())
    };
    for mode in [REVERTS, NONSENSE] {
        chain
            .send(contract.setMode(mode, Address::ZERO, Bytes::new()))
            .await;
        reverts(plain(), refused()).await;
        reverts(with_data(), refused()).await;
        reverts(register(), refused()).await;
    }
    // The registry itself takes no tokens.
    let into_registry = registry.safeTransferFrom_0(owner, IDENTITY, agent);
    let deaf = IdentityRegistry::ERC721InvalidReceiver { receiver: IDENTITY };
    reverts(into_registry.from(owner), deaf).await;

    // It gives the agent away while it is being given it.
    let onward = IdentityRegistry::transferFromCall {
        from: to,
        to: NEXT.address(),
        tokenId: agent,
    };
    let mode = contract.setMode(CALLS, IDENTITY, onward.abi_encode().into());
    chain.send(mode).await;
    let receipt = chain.send(with_data()).await;
    let both = [moved(owner, to, agent), moved(to, NEXT.address(), agent)];
    emitted(&receipt, &both);
    let now = registry.ownerOf(agent).call().await.unwrap();
    assert_eq!(now, NEXT.address());
    for (account, held) in [(owner, 0), (to, 0), (NEXT.address(), 1)] {
        let found = registry.balanceOf(account).call().await.unwrap();
        assert_eq!(found, U256::from(held), "A2");
    }

    chain
        .send(contract.setMode(TAKES, Address::ZERO, Bytes::new()))
        .await;
    chain.send(register()).await;
    let own = registry
        .ownerOf(agent + U256::from(1))
        .call()
        .await
        .unwrap();
    assert_eq!(own, to);
}

async fn unknown_agents_are_refused(chain: Chain) {
    let registry = chain.identity();
    chain.agent().await;
    let (owner, none) = (OWNER.address(), U256::from(1));
    reverts(registry.ownerOf(none), unknown(1)).await;
    reverts(registry.tokenURI(none), unknown(1)).await;
    reverts(registry.getApproved(none), unknown(1)).await;
    reverts(registry.getAgentWallet(none), unknown(1)).await;
    reverts(registry.isAuthorizedOrOwner(owner, none), unknown(1)).await;
    reverts(registry.approve(owner, none), unknown(1)).await;
    reverts(registry.setAgentURI(none, String::new()), unknown(1)).await;
    reverts(registry.transferFrom(owner, owner, none), unknown(1)).await;
    let value = registry.getMetadata(none, "agentWallet".into());
    assert_eq!(value.call().await.unwrap(), Bytes::new());
    let nobody = IdentityRegistry::ERC721InvalidOwner {
        owner: Address::ZERO,
    };
    reverts(registry.balanceOf(Address::ZERO), nobody).await;
}

async fn interfaces_are_declared(chain: Chain) {
    let registry = chain.identity();
    for (id, expected) in [
        (0x01ff_c9a7_u32, true),
        (0x80ac_58cd, true),
        (0x5b5e_139f, true),
        (0xffff_ffff, false),
        (0, false),
    ] {
        let call = registry.supportsInterface(FixedBytes(id.to_be_bytes()));
        assert_eq!(call.call().await.unwrap(), expected, "{id:x}");
    }
    assert_eq!(registry.name().call().await.unwrap(), "AgentIdentity");
    assert_eq!(registry.symbol().call().await.unwrap(), "AGENT");
    // What other programs search for: the events' topics.
    let topic = |event: &str| B256::from(keccak256(event));
    let registered = topic("Registered(uint256,string,address)");
    let set = topic("MetadataSet(uint256,string,string,bytes)");
    let receipt = chain
        .send(registry.register_0().from(OWNER.address()))
        .await;
    let topics: Vec<_> = receipt
        .logs()
        .iter()
        .filter_map(|log| log.topic0())
        .collect();
    assert!(topics.contains(&&registered) && topics.contains(&&set));
}
