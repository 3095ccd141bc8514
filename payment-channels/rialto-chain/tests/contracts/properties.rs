//! Random runs of several payers and receivers: the contract does what the model does, refuses
//! what it refuses for the same reason, and never makes or loses a base unit.
//!
//! `PROPTEST_CASES` sets the number of runs; a few by default.

use alloy::contract::{CallBuilder, CallDecoder};
use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::sol_types::SolCall;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::abi::BatchSettlement::{self, ChannelConfig, VoucherClaim};
use crate::chain::{Chain, GENESIS_BALANCE, Kind, outcome};
use crate::model::{
    By, CHANNELS, Channel, Consented, Earned, Model, Op, PAYERS, RECEIVERS, Refused, Row, payer_of,
    receiver_of,
};
use crate::permit2::Permit2Consent;
use crate::strategies::any_op;
use crate::world::{
    COLLECTOR, Consent, SETTLEMENT, TOKEN, Who, batch_digest, config, id, refund_digest, row,
};

#[test]
fn dev_random_runs() {
    random_runs(&[Kind::Dev], 16);
}

#[test]
fn random_runs_on_both_chains() {
    random_runs(&[Kind::Dev, Kind::Anvil], 6);
}

/// Each run is made on every one of `kinds`. As each must do exactly what the model does, revert
/// data included, the chains are compared with each other too.
fn random_runs(kinds: &[Kind], cases: u32) {
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(cases),
    };
    let config = Config {
        max_shrink_iters: 200,
        failure_persistence: None,
        ..config
    };
    let mut runner = TestRunner::new(config);
    let ops = prop::collection::vec(any_op(), 1..40);
    let outcome = runner.run(&ops, |ops| {
        for kind in kinds {
            crate::chain::run(*kind, async |chain| run(chain, &ops).await);
        }
        Ok(())
    });
    outcome.unwrap();
}

async fn run(chain: Chain, ops: &[Op]) {
    for payer in PAYERS {
        chain.allow_permit2(payer, u128::MAX).await;
    }
    let mut world = World {
        chain,
        model: Model::new(),
        deposits: 0,
    };
    for op in ops {
        world.step(op).await;
    }
    world.check_wallets().await;
}

struct World {
    chain: Chain,
    model: Model,
    /// So that every deposit has a salt of its own.
    deposits: u64,
}

fn channel_config(channel: usize) -> ChannelConfig {
    config(PAYERS[payer_of(channel)], RECEIVERS[receiver_of(channel)])
}

fn claim_rows(rows: &[Row]) -> Vec<VoucherClaim> {
    let signed = |r: &Row| {
        let signer = if r.forged {
            Who::Stranger
        } else {
            Who::Session
        };
        row(&channel_config(r.channel), signer, r.ceiling, r.total)
    };
    rows.iter().map(signed).collect()
}

fn sender(how: Consented, receiver: usize) -> Who {
    match how {
        Consented::ByReceiver => RECEIVERS[receiver],
        Consented::ByHost => Who::Host,
        Consented::Signed | Consented::Not => Who::Stranger,
    }
}

impl World {
    /// Does one operation in the model and on the chain, and compares.
    async fn step(&mut self, op: &Op) {
        let refund_nonces = self.model.channels.clone().map(|c| c.refund_nonce);
        let expected = self.model.apply(op);
        let settlement = self.chain.settlement();
        match *op {
            Op::Deposit {
                channel,
                amount,
                by,
            } => {
                self.deposit(op, (channel, amount, by), expected).await;
            }
            Op::Claim { ref rows, how } => {
                let from = sender(how, rows.first().map_or(0, |r| receiver_of(r.channel)));
                let rows = claim_rows(rows);
                if matches!(how, Consented::Signed) {
                    let signature = Who::Host.sign(batch_digest(&rows));
                    let call = settlement.claimWithSignature(rows, signature);
                    self.run(op, call.from(from.address()), expected).await;
                } else {
                    self.run(op, settlement.claim(rows).from(from.address()), expected)
                        .await;
                }
            }
            Op::Settle { receiver } => {
                let call = settlement.settle(RECEIVERS[receiver].address(), TOKEN);
                self.run(op, call, expected).await;
            }
            Op::Refund {
                channel,
                amount,
                how,
            } => {
                let config = channel_config(channel);
                let from = sender(how, receiver_of(channel)).address();
                if matches!(how, Consented::Signed) {
                    let nonce = refund_nonces[channel];
                    let signature = Who::Host.sign(refund_digest(&config, nonce, amount));
                    let nonce = U256::from(nonce);
                    let call = settlement.refundWithSignature(config, amount, nonce, signature);
                    self.run(op, call.from(from), expected).await;
                } else {
                    self.run(op, settlement.refund(config, amount).from(from), expected)
                        .await;
                }
            }
            Op::Withdraw { channel, amount } => {
                let call = settlement.initiateWithdraw(channel_config(channel), amount);
                let from = PAYERS[payer_of(channel)].address();
                self.run(op, call.from(from), expected).await;
            }
            Op::Finalize { channel } => {
                let call = settlement.finalizeWithdraw(channel_config(channel));
                self.run(op, call.from(Who::Session.address()), expected)
                    .await;
            }
            Op::Wait { secs } => self.chain.advance(secs).await,
        }
        self.check_state(op).await;
    }

    async fn deposit(
        &mut self,
        op: &Op,
        (channel, amount, by): (usize, u128, By),
        expected: Result<(), Refused>,
    ) {
        self.deposits += 1;
        let (config, payer) = (channel_config(channel), PAYERS[payer_of(channel)]);
        let call = match by {
            By::Erc3009 => {
                let consent = Consent::new(amount, self.deposits);
                self.chain.deposit_call(&config, payer, &consent)
            }
            By::Permit2 => {
                let consent = Permit2Consent::new(amount, self.deposits);
                let none = Bytes::new();
                self.chain
                    .permit2_deposit_call(&config, payer, &consent, none)
            }
        };
        self.run(op, call, expected).await;
    }

    async fn run<P: Provider + Clone, D: CallDecoder + Clone + Unpin>(
        &self,
        op: &Op,
        call: CallBuilder<P, D>,
        expected: Result<(), Refused>,
    ) {
        let done = outcome(call.clone()).await;
        assert_eq!(done, expected, "{op:?}");
        if done.is_ok() {
            self.chain.send(call).await;
        }
    }

    /// The contract's whole state, read in one call, is the model's; and I1, I2 and I5 hold.
    async fn check_state(&self, op: &Op) {
        let ids: Vec<B256> = (0..CHANNELS).map(|c| id(&channel_config(c))).collect();
        let mut reads: Vec<Bytes> = Vec::new();
        for &id in &ids {
            reads.push(
                BatchSettlement::channelsCall { channelId: id }
                    .abi_encode()
                    .into(),
            );
            reads.push(
                BatchSettlement::refundNonceCall { channelId: id }
                    .abi_encode()
                    .into(),
            );
            let pending = BatchSettlement::pendingWithdrawalsCall { channelId: id };
            reads.push(pending.abi_encode().into());
        }
        for who in RECEIVERS {
            let read = BatchSettlement::receiversCall {
                receiver: who.address(),
                token: TOKEN,
            };
            reads.push(read.abi_encode().into());
        }
        let answers = self
            .chain
            .settlement()
            .multicall(reads)
            .call()
            .await
            .unwrap();
        for (n, words) in answers[..3 * CHANNELS].chunks(3).enumerate() {
            let found = channel_of(words);
            let model = &self.model.channels[n];
            assert_eq!(found.balance, model.balance, "channel {n} after {op:?}");
            assert_eq!(found.claimed, model.claimed, "channel {n} after {op:?}");
            assert_eq!(
                found.refund_nonce, model.refund_nonce,
                "channel {n} after {op:?}"
            );
            let amount = |c: &Channel| c.pending.map(|(amount, _)| amount);
            assert_eq!(amount(&found), amount(model), "channel {n} after {op:?}");
            assert!(found.claimed <= found.balance, "I2");
        }
        for (n, words) in answers[3 * CHANNELS..].iter().enumerate() {
            let r = BatchSettlement::receiversCall::abi_decode_returns(words).unwrap();
            let found = Earned {
                claimed: r.totalClaimed,
                settled: r.totalSettled,
            };
            assert_eq!(found, self.model.earned[n], "receiver {n} after {op:?}");
            let of_channels = (0..CHANNELS).filter(|&c| receiver_of(c) == n);
            let sum: u128 = of_channels.map(|c| self.model.channels[c].claimed).sum();
            assert_eq!(found.claimed, sum, "I5");
        }
        assert_eq!(
            self.chain.balance(SETTLEMENT).await,
            self.model.escrow(),
            "I1 after {op:?}"
        );
    }

    /// Everyone has what the model says, and the sum is what it was.
    async fn check_wallets(&self) {
        let (model, chain) = (&self.model, &self.chain);
        let mut sum = chain.balance(SETTLEMENT).await + chain.balance(COLLECTOR).await;
        for (who, expected) in PAYERS
            .iter()
            .zip(model.payers)
            .chain(RECEIVERS.iter().zip(model.receivers))
        {
            let found = chain.balance(who.address()).await;
            assert_eq!(found, expected, "{who:?}");
            sum += found;
        }
        for who in [
            Who::Relay,
            Who::Session,
            Who::Host,
            Who::Host2,
            Who::Stranger,
        ] {
            let found = chain.balance(who.address()).await;
            assert_eq!(found, GENESIS_BALANCE, "{who:?} neither pays nor earns");
            sum += found;
        }
        assert_eq!(sum, 10 * GENESIS_BALANCE, "T1");
    }
}

/// A channel's state from the answers of its three reads.
fn channel_of(words: &[Bytes]) -> Channel {
    let c = BatchSettlement::channelsCall::abi_decode_returns(&words[0]).unwrap();
    let nonce = BatchSettlement::refundNonceCall::abi_decode_returns(&words[1]).unwrap();
    let w = BatchSettlement::pendingWithdrawalsCall::abi_decode_returns(&words[2]).unwrap();
    let started_at: u64 = w.initiatedAt.to();
    Channel {
        balance: c.balance,
        claimed: c.totalClaimed,
        refund_nonce: nonce.to(),
        pending: (started_at != 0).then_some((w.amount, started_at)),
    }
}
