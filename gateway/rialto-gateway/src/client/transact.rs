//! The wallet's own transactions: calls of contracts that nobody else makes for it.
//!
//! Not here: what is called. Withdrawals and what an author publishes are.

use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use tokio::time::{Instant, sleep};

use super::rpc::Rpc;
use super::transaction::Transaction;
use super::wallet::{self, SignContent, SignRequest};
use super::{ClientError, PayingClient};

impl PayingClient {
    /// Sends a call of a contract from the wallet, without money, and waits until it is in a block.
    ///
    /// # Errors
    /// [`ClientError::NoGas`] when the wallet cannot pay the fee, [`ClientError::FeeTooHigh`],
    /// [`ClientError::Chain`], [`ClientError::Wallet`].
    pub async fn call_contract(
        &self,
        chain_id: u64,
        to: Address,
        data: Vec<u8>,
        purpose: String,
    ) -> Result<B256, ClientError> {
        let rpc = self.rpc_of(chain_id, None).await?;
        self.transact(rpc, to, data, purpose).await
    }

    pub(super) async fn transact(
        &self,
        rpc: &Rpc,
        to: Address,
        data: Vec<u8>,
        purpose: String,
    ) -> Result<B256, ClientError> {
        let wallet = self.payer();
        let (fees, nonce, gas) =
            tokio::try_join!(rpc.fees(), rpc.nonce(wallet), rpc.gas(wallet, to, &data),)?;
        let transaction = Transaction {
            chain_id: rpc.chain_id(),
            nonce,
            tip_max: fees.tip_max,
            fee_max: fees.fee_max,
            // The estimate is of the newest state; a quarter more is room for another.
            gas_max: gas.saturating_add(gas / 4),
            to,
            data,
        };
        let needed = transaction
            .fee_max
            .saturating_mul(transaction.gas_max.into());
        let limit = self.inner.config.fee_max;
        if needed > limit {
            return Err(ClientError::FeeTooHigh { needed, limit });
        }
        let held = rpc.coins(wallet).await?;
        if held < needed {
            return Err(ClientError::NoGas {
                wallet,
                held,
                needed,
            });
        }
        let request = SignRequest {
            purpose,
            digest: transaction.digest(),
            content: SignContent::Transaction(transaction.shown()),
        };
        let signature = wallet::signature(self.inner.wallet.as_ref(), &request).await?;
        let raw = transaction.signed(&signature);
        let hash = keccak256(&raw);
        rpc.send(&raw).await?;
        let deadline = Instant::now() + BLOCK_WAIT;
        loop {
            match rpc.outcome(hash).await? {
                Some(true) => return Ok(hash),
                Some(false) => {
                    return Err(ClientError::Chain(format!(
                        "transaction {hash} was reverted"
                    )));
                }
                None if Instant::now() < deadline => sleep(BLOCK_PAUSE).await,
                None => {
                    return Err(ClientError::Chain(format!(
                        "transaction {hash} is sent and not in a block yet; run the command again later"
                    )));
                }
            }
        }
    }
}

const BLOCK_WAIT: Duration = Duration::from_secs(120);
const BLOCK_PAUSE: Duration = Duration::from_millis(250);
