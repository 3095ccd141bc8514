//! What the chain says about a payer's Permit2.

use alloy::eips::BlockId;
use alloy::primitives::{Address, U256};

use super::{ChainClient, ChainError};
use crate::contracts::{IErc3009, IPermit2};

impl ChainClient {
    /// Whether the owner's Permit2 nonce was used or invalidated.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn permit2_nonce_used(
        &self,
        owner: Address,
        nonce: U256,
    ) -> Result<bool, ChainError> {
        let word = nonce >> 8;
        let bit = nonce & U256::from(u8::MAX);
        let call = IPermit2::nonceBitmapCall { owner, word };
        let bits = self
            .read(self.contracts().permit2, call, BlockId::latest())
            .await?;
        Ok(bits.bit(bit.to::<usize>()))
    }

    /// What the owner allows Permit2 to take of the token, in base units.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn permit2_allowance(&self, owner: Address) -> Result<U256, ChainError> {
        let spender = self.contracts().permit2;
        let call = IErc3009::allowanceCall { owner, spender };
        self.read(self.contracts().token, call, BlockId::latest())
            .await
    }
}
