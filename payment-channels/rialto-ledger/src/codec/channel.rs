//! The record of a channel's state.

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{
    Amount, ChainTime, ChannelConfig, ChannelId, Signature, SignedVoucher, Voucher, Withdrawal,
    payee::ChannelSnapshot,
};
use serde::{Deserialize, Serialize};

use super::{Malformed, Row};

/// Version 1 of a channel's record. Fields are never reordered; a new layout is a new version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChannelRow {
    payer: [u8; 20],
    payer_authorizer: [u8; 20],
    receiver: [u8; 20],
    receiver_authorizer: [u8; 20],
    token: [u8; 20],
    withdraw_delay: u64,
    salt: [u8; 32],
    id: [u8; 32],
    version: u64,
    balance: u128,
    claimed: u128,
    charged: u128,
    best: Option<BestRow>,
    refund_nonce: [u8; 32],
    withdrawal: Option<WithdrawalRow>,
    synced_at: u64,
    last_receipt: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
struct BestRow {
    ceiling: u128,
    signature: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WithdrawalRow {
    amount: u128,
    finalizes_at: u64,
}

impl Row for ChannelRow {
    const NAME: &'static str = "channel";
    const VERSION: u8 = 1;
}

impl From<&ChannelSnapshot> for ChannelRow {
    fn from(channel: &ChannelSnapshot) -> Self {
        let config = &channel.config;
        Self {
            payer: config.payer.into(),
            payer_authorizer: config.payer_authorizer.into(),
            receiver: config.receiver.into(),
            receiver_authorizer: config.receiver_authorizer.into(),
            token: config.token.into(),
            withdraw_delay: config.withdraw_delay,
            salt: config.salt.0,
            id: channel.id.0.0,
            version: channel.version,
            balance: channel.balance.get(),
            claimed: channel.claimed.get(),
            charged: channel.charged.get(),
            best: channel.best.map(|best| BestRow {
                ceiling: best.voucher.ceiling.get(),
                signature: best.signature.to_bytes().to_vec(),
            }),
            refund_nonce: channel.refund_nonce.to_be_bytes(),
            withdrawal: channel.withdrawal.map(|withdrawal| WithdrawalRow {
                amount: withdrawal.amount.get(),
                finalizes_at: withdrawal.finalizes_at.get(),
            }),
            synced_at: channel.synced_at.get(),
            last_receipt: channel.last_receipt.0,
        }
    }
}

impl TryFrom<ChannelRow> for ChannelSnapshot {
    type Error = Malformed;

    fn try_from(row: ChannelRow) -> Result<Self, Malformed> {
        let id = ChannelId(B256::from(row.id));
        let best = row.best.map(|best| best.into_voucher(id)).transpose()?;
        Ok(Self {
            config: ChannelConfig {
                payer: Address::from(row.payer),
                payer_authorizer: Address::from(row.payer_authorizer),
                receiver: Address::from(row.receiver),
                receiver_authorizer: Address::from(row.receiver_authorizer),
                token: Address::from(row.token),
                withdraw_delay: row.withdraw_delay,
                salt: B256::from(row.salt),
            },
            id,
            version: row.version,
            balance: Amount::new(row.balance),
            claimed: Amount::new(row.claimed),
            charged: Amount::new(row.charged),
            best,
            refund_nonce: U256::from_be_bytes(row.refund_nonce),
            withdrawal: row.withdrawal.map(|withdrawal| Withdrawal {
                amount: Amount::new(withdrawal.amount),
                finalizes_at: ChainTime::new(withdrawal.finalizes_at),
            }),
            synced_at: ChainTime::new(row.synced_at),
            last_receipt: B256::from(row.last_receipt),
        })
    }
}

impl BestRow {
    fn into_voucher(self, channel: ChannelId) -> Result<SignedVoucher, Malformed> {
        let signature =
            Signature::parse(&self.signature).map_err(|_| Malformed(ChannelRow::NAME))?;
        Ok(SignedVoucher {
            voucher: Voucher {
                channel,
                ceiling: Amount::new(self.ceiling),
            },
            signature,
        })
    }
}
