//! Royalty splitters: put at their computed addresses when they are first needed, and emptied.
//!
//! Anyone may do either; the addresses bind what happens (`contracts/src/interfaces`, F1 and R1).

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::sol_types::{SolCall, SolEvent};
use rialto_channels::Amount;
use rialto_channels::royalty::Royalty;

use super::{ChainClient, ChainError};
use crate::contracts::{
    Artifact, CREATE2_DEPLOYER, IRoyaltySplitter, IRoyaltySplitterFactory, SPLITTER_FACTORY,
};

/// What a splitter paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The transaction.
    pub transaction: B256,
    /// The publisher's part, in base units.
    pub publisher: Amount,
    /// The provider's part, in base units.
    pub provider: Amount,
}

impl ChainClient {
    /// Pays publisher and provider what their splitter holds of `token`, and puts the splitter
    /// there first if it is not. Sends nothing, and returns nothing, if nothing is due.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `NothingReleased` if neither party can be paid. See
    /// [`ChainError`] for the rest.
    pub async fn release(
        &self,
        royalty: &Royalty,
        provider: Address,
        token: Address,
    ) -> Result<Option<Released>, ChainError> {
        let splitter = royalty.receiver(provider);
        if splitter == provider {
            return Ok(None);
        }
        if self.token_balance(splitter).await?.is_zero() {
            return Ok(None);
        }
        self.deploy_splitter(royalty, provider).await?;
        let call = IRoyaltySplitter::releaseCall { token };
        let receipt = self.send(splitter, call.abi_encode().into()).await?;
        let released = receipt.logs().iter().find_map(|log| {
            let event = IRoyaltySplitter::Released::decode_log(&log.inner).ok()?;
            (event.address == splitter).then_some(event.data)
        });
        let Some(event) = released else {
            // Somebody else released it in between.
            return Ok(None);
        };
        let amount = |word| Amount::try_from(word).map_err(|_| ChainError::OutOfRange("a part"));
        Ok(Some(Released {
            transaction: receipt.transaction_hash,
            publisher: amount(event.toPublisher)?,
            provider: amount(event.toProvider)?,
        }))
    }

    /// Puts the splitter of publisher and provider at its address, and the factory before it,
    /// unless they are there. Returns whether a transaction was needed.
    ///
    /// # Errors
    /// [`ChainError::BadAnswer`] if the chain has no CREATE2 deployer to put the factory there with.
    pub async fn deploy_splitter(
        &self,
        royalty: &Royalty,
        provider: Address,
    ) -> Result<bool, ChainError> {
        if royalty.publisher == provider || self.has_code(royalty.receiver(provider)).await? {
            return Ok(false);
        }
        self.deploy_factory().await?;
        let call = IRoyaltySplitterFactory::deployCall {
            publisher: royalty.publisher,
            provider,
            publisherBps: royalty.share.bps(),
        };
        self.send(SPLITTER_FACTORY, call.abi_encode().into())
            .await?;
        Ok(true)
    }

    /// Whether there is a contract at this address.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn has_code(&self, address: Address) -> Result<bool, ChainError> {
        let code = self.inner.provider.get_code_at(address).await;
        Ok(!code.map_err(|error| self.failed(error))?.is_empty())
    }

    async fn deploy_factory(&self) -> Result<(), ChainError> {
        if self.has_code(SPLITTER_FACTORY).await? {
            return Ok(());
        }
        if !self.has_code(CREATE2_DEPLOYER).await? {
            return Err(ChainError::BadAnswer(format!(
                "no CREATE2 deployer at {CREATE2_DEPLOYER}: royalties need one on this chain"
            )));
        }
        let factory = Artifact::splitter_factory()
            .map_err(|error| ChainError::BadAnswer(error.to_string()))?;
        let salt = [0; 32];
        let data: Bytes = [&salt, factory.bytecode.as_ref()].concat().into();
        self.send(CREATE2_DEPLOYER, data).await?;
        Ok(())
    }
}
