//! Runs one transaction or call on revm against a read-only view of the state.
//!
//! Non-goals: block building and state changes; the caller applies what comes back.

use std::convert::Infallible;

use alloy::consensus::Transaction as _;
use alloy::consensus::TxEnvelope;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::result::{EVMError, InvalidTransaction, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::database_interface::WrapDatabaseRef;
use revm::primitives::eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE;
use revm::primitives::hardfork::SpecId;
use revm::{Context, ExecuteEvm, MainBuilder};

use super::state::View;

/// The rules the chain runs by: Prague, as public chains do since May 2025.
const SPEC: SpecId = SpecId::PRAGUE;

/// The block that a transaction or call runs in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub(super) chain_id: u64,
    pub(super) number: u64,
    pub(super) timestamp: u64,
    pub(super) base_fee: u64,
    pub(super) gas_limit: u64,
    pub(super) randomness: B256,
}

/// A call without a signature: `eth_call`, `eth_estimateGas`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) from: Address,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) gas: u64,
}

/// Why revm refused to run a transaction at all.
pub(super) type Refused = EVMError<Infallible, InvalidTransaction>;

/// Runs a signed transaction whose sender is known, with nonce, balance and fee checks.
pub(super) fn run_transaction(
    view: &View<'_>,
    around: &Surroundings,
    envelope: &TxEnvelope,
    sender: Address,
) -> Result<ResultAndState, Refused> {
    let tx = TxEnv {
        tx_type: envelope.tx_type().into(),
        caller: sender,
        gas_limit: envelope.gas_limit(),
        gas_price: envelope.max_fee_per_gas(),
        kind: envelope.kind(),
        value: envelope.value(),
        data: envelope.input().clone(),
        nonce: envelope.nonce(),
        chain_id: envelope.chain_id(),
        access_list: envelope.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: envelope.max_priority_fee_per_gas(),
        ..TxEnv::default()
    };
    run(view, around, tx, rules(around))
}

/// Runs a call free of charge: no nonce check, gas price and base fee zero.
pub(super) fn run_call(
    view: &View<'_>,
    around: &Surroundings,
    call: &Call,
) -> Result<ResultAndState, Refused> {
    let tx = TxEnv {
        caller: call.from,
        gas_limit: call.gas,
        gas_price: 0,
        kind: call.to,
        value: call.value,
        data: call.data.clone(),
        nonce: view.account(call.from).nonce,
        chain_id: Some(around.chain_id),
        ..TxEnv::default()
    };
    let mut rules = rules(around);
    rules.disable_nonce_check = true;
    let around = Surroundings {
        base_fee: 0,
        ..*around
    };
    run(view, &around, tx, rules)
}

fn rules(around: &Surroundings) -> CfgEnv {
    let mut rules = CfgEnv::new_with_spec(SPEC);
    rules.chain_id = around.chain_id;
    rules
}

fn run(
    view: &View<'_>,
    around: &Surroundings,
    tx: TxEnv,
    rules: CfgEnv,
) -> Result<ResultAndState, Refused> {
    let mut block = BlockEnv {
        number: U256::from(around.number),
        timestamp: U256::from(around.timestamp),
        gas_limit: around.gas_limit,
        basefee: around.base_fee,
        prevrandao: Some(around.randomness),
        ..BlockEnv::default()
    };
    block.set_blob_excess_gas_and_price(0, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE);
    let context: Context<BlockEnv, TxEnv, CfgEnv, _> = Context::new(WrapDatabaseRef(view), SPEC);
    context
        .with_cfg(rules)
        .with_block(block)
        .build_mainnet()
        .transact(tx)
}
