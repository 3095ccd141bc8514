//! The development token: ERC-20 and minting.

use alloy::primitives::{Address, U256, keccak256};
use alloy::sol_types::SolValue;

use crate::abi::DevToken;
use crate::chain::{Chain, GENESIS_BALANCE, emitted, reverts};
use crate::world::{TOKEN, Who};

on_both!(
    describes_itself,
    transfers,
    allowances,
    mints_for_the_minter_only
);

async fn describes_itself(chain: Chain) {
    let token = chain.token();
    assert_eq!(token.name().call().await.unwrap(), "USDC");
    assert_eq!(token.symbol().call().await.unwrap(), "USDC");
    assert_eq!(token.version().call().await.unwrap(), "2");
    assert_eq!(token.decimals().call().await.unwrap(), 6);
    let supply = token.totalSupply().call().await.unwrap();
    assert_eq!(supply, U256::from(10 * GENESIS_BALANCE), "T1");
}

async fn transfers(chain: Chain) {
    let token = chain.token();
    let (from, to) = (Who::Payer.address(), Who::Receiver.address());
    let send = |to, value: u128| token.transfer(to, U256::from(value)).from(from);
    let receipt = chain.send(send(to, 5)).await;
    emitted(
        &receipt,
        &[DevToken::Transfer {
            from,
            to,
            value: U256::from(5),
        }],
    );
    chain.send(send(from, 7)).await;
    assert_eq!(
        chain.balance(from).await,
        GENESIS_BALANCE - 5,
        "a transfer to oneself"
    );
    assert_eq!(chain.balance(to).await, GENESIS_BALANCE + 5);

    let short = DevToken::ERC20InsufficientBalance {
        sender: from,
        balance: U256::from(GENESIS_BALANCE - 5),
        needed: U256::from(GENESIS_BALANCE),
    };
    reverts(send(to, GENESIS_BALANCE), short).await;
    let nowhere = DevToken::ERC20InvalidReceiver {
        receiver: Address::ZERO,
    };
    reverts(send(Address::ZERO, 1), nowhere).await;
}

async fn allowances(chain: Chain) {
    let token = chain.token();
    let (owner, spender) = (Who::Payer.address(), Who::Stranger.address());
    let approve = |spender, value| token.approve(spender, value).from(owner);
    let spend = |value: u64| {
        token
            .transferFrom(owner, spender, U256::from(value))
            .from(spender)
    };
    let short = |allowance: u64, needed: u64| DevToken::ERC20InsufficientAllowance {
        spender,
        allowance: U256::from(allowance),
        needed: U256::from(needed),
    };
    reverts(spend(1), short(0, 1)).await;
    let nobody = DevToken::ERC20InvalidSpender {
        spender: Address::ZERO,
    };
    reverts(approve(Address::ZERO, U256::from(1)), nobody).await;

    let receipt = chain.send(approve(spender, U256::from(10))).await;
    emitted(
        &receipt,
        &[DevToken::Approval {
            owner,
            spender,
            value: U256::from(10),
        }],
    );
    chain.send(spend(4)).await;
    assert_eq!(
        token.allowance(owner, spender).call().await.unwrap(),
        U256::from(6)
    );
    reverts(spend(7), short(6, 7)).await;

    chain.send(approve(spender, U256::MAX)).await;
    chain.send(spend(4)).await;
    assert_eq!(
        token.allowance(owner, spender).call().await.unwrap(),
        U256::MAX
    );
    assert_eq!(chain.balance(spender).await, GENESIS_BALANCE + 8);
}

/// T4, and T1 after it.
async fn mints_for_the_minter_only(chain: Chain) {
    let token = chain.token();
    let (minter, next) = (Who::Relay.address(), Who::Receiver2.address());
    chain.set_minter(minter).await;
    assert_eq!(token.minter().call().await.unwrap(), minter);
    let mint = |by, to| token.mint(to, U256::from(9)).from(by);
    let denied = |caller| DevToken::OnlyMinter { caller };
    reverts(mint(next, next), denied(next)).await;
    reverts(token.setMinter(next).from(next), denied(next)).await;
    let nowhere = DevToken::ERC20InvalidReceiver {
        receiver: Address::ZERO,
    };
    reverts(mint(minter, Address::ZERO), nowhere).await;

    let receipt = chain.send(mint(minter, next)).await;
    let (from, value) = (Address::ZERO, U256::from(9));
    emitted(
        &receipt,
        &[DevToken::Mint {
            minter,
            to: next,
            value,
        }],
    );
    emitted(
        &receipt,
        &[DevToken::Transfer {
            from,
            to: next,
            value,
        }],
    );
    assert_eq!(chain.balance(next).await, GENESIS_BALANCE + 9);
    let supply = token.totalSupply().call().await.unwrap();
    assert_eq!(supply, U256::from(10 * GENESIS_BALANCE + 9));
    let too_much = token.mint(next, U256::MAX).from(minter).call().await;
    assert!(too_much.is_err(), "the supply cannot overflow");

    let receipt = chain.send(token.setMinter(next).from(minter)).await;
    emitted(
        &receipt,
        &[DevToken::MinterChanged {
            previous: minter,
            next,
        }],
    );
    reverts(mint(minter, minter), denied(minter)).await;
    chain.send(token.setMinter(Address::ZERO).from(next)).await;
    reverts(mint(next, next), denied(next)).await;
}

impl Chain {
    /// Names the token's minter as a genesis would.
    async fn set_minter(&self, minter: Address) {
        self.set_slot(TOKEN, Self::token_slot("minter").into(), minter.into_word())
            .await;
    }

    /// The storage slot of an account's tokens.
    pub(crate) fn balance_slot(account: Address) -> alloy::primitives::B256 {
        keccak256((account, Self::token_slot("balances")).abi_encode())
    }

    /// The storage slot of an allowance.
    pub(crate) fn allowance_slot(owner: Address, spender: Address) -> alloy::primitives::B256 {
        let of_owner = keccak256((owner, Self::token_slot("allowances")).abi_encode());
        keccak256((spender, of_owner).abi_encode())
    }
}
