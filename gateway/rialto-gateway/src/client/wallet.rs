//! The wallet's part: who signs deposits, and the wallet's own transactions.
//!
//! Vouchers are not signed here. A channel names a session key for them, so that a wallet, which
//! may have to ask a person, is needed for deposits and withdrawals alone.
//!
//! Not here: where keys are kept and how a person is asked (the command line's part).

use std::error::Error;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;

use alloy_primitives::{Address, B256};
use rialto_channels::{
    Signature, SignatureError, SigningKey, TokenDomain, TransferAuthorization, recover,
};
use serde_json::{Value, json};

/// A signature, when it is there.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Signature, WalletError>> + Send + 'a>>;

/// A key, when it is there; none from a wallet that gives none away.
pub type Unlocking<'a> =
    Pin<Box<dyn Future<Output = Result<Option<SigningKey>, WalletError>> + Send + 'a>>;

/// An account that signs. It may ask a person, and so take long.
pub trait Wallet: fmt::Debug + Send + Sync {
    /// The account.
    fn address(&self) -> Address;

    /// Signs the request's digest.
    fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a>;

    /// The key itself, for channels whose vouchers the wallet signs without a session key.
    fn key(&self) -> Unlocking<'_> {
        Box::pin(ready(Ok(None)))
    }
}

impl Wallet for SigningKey {
    fn address(&self) -> Address {
        Self::address(self)
    }

    fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a> {
        Box::pin(ready(Ok(Self::sign(self, request.digest))))
    }

    fn key(&self) -> Unlocking<'_> {
        Box::pin(ready(Ok(Some(self.clone()))))
    }
}

/// What a wallet is asked to sign, so that it can be shown and checked.
#[derive(Debug, Clone)]
pub struct SignRequest {
    /// What it is for, in a person's words.
    pub purpose: String,
    /// What is signed.
    pub digest: B256,
    /// Where the digest comes from.
    pub content: SignContent,
}

/// Where a digest comes from.
#[derive(Debug, Clone)]
pub enum SignContent {
    /// EIP-712 typed data, as wallets take it.
    TypedData(Value),
    /// An EIP-1559 transaction's fields.
    Transaction(Value),
}

impl SignRequest {
    /// A deposit by EIP-3009.
    pub(super) fn deposit(
        token: &TokenDomain,
        message: &TransferAuthorization,
        digest: B256,
        purpose: String,
    ) -> Self {
        Self {
            purpose,
            digest,
            content: SignContent::TypedData(typed_deposit(token, message)),
        }
    }
}

/// Asks the wallet, and believes only a signature that is its own.
pub(super) async fn signature(
    wallet: &dyn Wallet,
    request: &SignRequest,
) -> Result<Signature, WalletError> {
    let signature = wallet.sign(request).await?;
    let expected = wallet.address();
    let found = recover(request.digest, &signature)?;
    if found == expected {
        Ok(signature)
    } else {
        Err(WalletError::WrongSigner { expected, found })
    }
}

/// Why a wallet did not sign. Nothing left this machine.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// It cannot be reached, is locked, or the person said no.
    #[error("the wallet did not sign")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// What came back is no signature.
    #[error("the wallet's answer is no signature of this request")]
    NotASignature(#[from] SignatureError),
    /// Somebody else's signature came back.
    #[error("the wallet signed as {found}, and it should be {expected}")]
    WrongSigner {
        /// The wallet's account.
        expected: Address,
        /// Who signed.
        found: Address,
    },
    /// The wallet's key signs this channel's vouchers, and the wallet does not give it away.
    #[error("this channel has no session key, and the wallet signs no vouchers")]
    NoVouchers,
}

/// EIP-3009's message as EIP-712 JSON, the form that wallets and `eth_signTypedData_v4` take.
fn typed_deposit(token: &TokenDomain, message: &TransferAuthorization) -> Value {
    let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"),
                field("version", "string"),
                field("chainId", "uint256"),
                field("verifyingContract", "address"),
            ],
            "ReceiveWithAuthorization": [
                field("from", "address"),
                field("to", "address"),
                field("value", "uint256"),
                field("validAfter", "uint256"),
                field("validBefore", "uint256"),
                field("nonce", "bytes32"),
            ],
        },
        "primaryType": "ReceiveWithAuthorization",
        "domain": {
            "name": token.name,
            "version": token.version,
            "chainId": token.chain_id,
            "verifyingContract": token.token.to_checksum(None),
        },
        "message": {
            "from": message.from.to_checksum(None),
            "to": message.to.to_checksum(None),
            "value": message.value.to_string(),
            "validAfter": message.valid_after.to_string(),
            "validBefore": message.valid_before.to_string(),
            "nonce": message.nonce,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs with a key that is not the account's.
    #[derive(Debug)]
    struct Impostor(SigningKey);

    impl Wallet for Impostor {
        fn address(&self) -> Address {
            Address::repeat_byte(9)
        }

        fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a> {
            Wallet::sign(&self.0, request)
        }
    }

    fn request() -> SignRequest {
        SignRequest {
            purpose: "a test".to_owned(),
            digest: B256::repeat_byte(7),
            content: SignContent::TypedData(Value::Null),
        }
    }

    #[tokio::test]
    async fn only_the_accounts_own_signature_is_believed() {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap();
        let signed = signature(&key, &request()).await.unwrap();
        assert_eq!(recover(request().digest, &signed), Ok(key.address()));
        let found = key.address();
        match signature(&Impostor(key), &request()).await {
            Err(WalletError::WrongSigner { found: who, .. }) => assert_eq!(who, found),
            other => panic!("{other:?}"),
        }
    }
}
