//! Vouchers: the payer's signed cumulative ceilings, and the rows claims are made of.

use alloy_primitives::Address;

use crate::{
    Amount, ChannelConfig, ChannelId, SettlementDomain, Signature, SignatureError, SigningKey,
    digest, recover,
};

/// A cumulative ceiling: the payee may claim up to `ceiling` from this channel, over its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The channel it is drawn on.
    pub channel: ChannelId,
    /// The cumulative ceiling, in base units (`maxClaimableAmount` on the wire).
    pub ceiling: Amount,
}

impl Voucher {
    /// Signs the voucher with the channel's payer authorizer key.
    #[must_use]
    pub fn sign(self, domain: &SettlementDomain, key: &SigningKey) -> SignedVoucher {
        let signature = key.sign(digest::voucher(domain, &self.channel, self.ceiling));
        SignedVoucher {
            voucher: self,
            signature,
        }
    }
}

/// A voucher with a signature that nobody has checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What was signed.
    pub voucher: Voucher,
    /// By whom is what [`SignedVoucher::verify`] finds out.
    pub signature: Signature,
}

impl SignedVoucher {
    /// Checks that `authorizer` signed this voucher under this settlement contract.
    ///
    /// # Errors
    /// [`SignatureError::WrongSigner`] if someone else did, or the reason nobody could be
    /// recovered. Either is the peer's fault.
    pub fn verify(
        self,
        domain: &SettlementDomain,
        authorizer: Address,
    ) -> Result<VerifiedVoucher, SignatureError> {
        let hash = digest::voucher(domain, &self.voucher.channel, self.voucher.ceiling);
        let signer = recover(hash, &self.signature)?;
        if signer != authorizer {
            return Err(SignatureError::WrongSigner);
        }
        Ok(VerifiedVoucher {
            signed: self,
            authorizer,
        })
    }
}

/// A voucher whose signature was checked; made by [`SignedVoucher::verify`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedVoucher {
    signed: SignedVoucher,
    authorizer: Address,
}

impl VerifiedVoucher {
    /// The voucher with its signature.
    #[must_use]
    pub fn signed(&self) -> SignedVoucher {
        self.signed
    }

    /// The channel it is drawn on.
    #[must_use]
    pub fn channel(&self) -> ChannelId {
        self.signed.voucher.channel
    }

    /// The cumulative ceiling.
    #[must_use]
    pub fn ceiling(&self) -> Amount {
        self.signed.voucher.ceiling
    }

    /// Who signed.
    #[must_use]
    pub fn authorizer(&self) -> Address {
        self.authorizer
    }
}

/// One row of a claim: enough for the contract to check the voucher and move the accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRow {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// The highest voucher held; its ceiling covers `total_claimed` (M2).
    pub voucher: SignedVoucher,
    /// The cumulative amount to have claimed after this row, in base units.
    pub total_claimed: Amount,
}
