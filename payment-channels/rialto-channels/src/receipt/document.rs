//! A signed receipt as bytes, for whoever is told their digest: the ABI encoding of the form that tells all
//! (of calls that have to do with others, a form of their own), and the signature. Any tool that reads Solidity's encoding reads it.

use alloy_sol_types::SolValue;

use super::{Receipt, SignedReceipt};
use crate::typed::receipts::{linked, metered};
use crate::{Signature, SignatureError};

/// Bytes that are no signed receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// More than [`DOCUMENT_BYTES_MAX`], or too few for a signature.
    #[error("a receipt has 65 to {DOCUMENT_BYTES_MAX} bytes, not {0}")]
    Length(usize),
    /// Not the encoding of a receipt.
    #[error("not a receipt's encoding")]
    Form,
    /// The last 65 bytes are no signature.
    #[error("the receipt's signature cannot be read")]
    Signature(#[from] SignatureError),
}

impl SignedReceipt {
    /// The receipt as bytes; equal receipts have equal ones.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = match self.receipt.is_linked() {
            true => linked::Receipt::from(&self.receipt).abi_encode(),
            false => metered::Receipt::from(&self.receipt).abi_encode(),
        };
        bytes.extend_from_slice(&self.signature.to_bytes());
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes). Who signed it is another question: [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`DocumentError`]; bytes that another encoding would not give back are refused, so that a receipt has
    /// one digest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        let length = bytes.len();
        let (text, signature) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .filter(|_| length <= DOCUMENT_BYTES_MAX)
            .ok_or(DocumentError::Length(length))?;
        let signature = Signature::parse(signature)?;
        let metered = metered::Receipt::abi_decode_validate(text).map(Receipt::from);
        let linked = linked::Receipt::abi_decode_validate(text).map(Receipt::from);
        let read = [metered, linked].into_iter().flatten();
        let mut signed = read.map(|receipt| Self { receipt, signature });
        signed
            .find(|signed| signed.to_bytes() == bytes)
            .ok_or(DocumentError::Form)
    }
}

/// The most bytes of a signed receipt: its texts are short, and models few.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 10;
const SIGNATURE_BYTES: usize = 65;
