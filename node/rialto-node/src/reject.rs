//! Turns the cores' and drivers' refusals into what the caller is told.

use std::error::Error;

use rialto_channels::SignatureError;
use rialto_channels::payee::{PayeeChannel, Reject, WireCode};

use crate::api::{CallError, PaymentError};
use crate::book;

/// A refusal that no state of ours would help the payer to mend.
pub(crate) fn refused(reject: &Reject) -> PaymentError {
    PaymentError::Invalid {
        code: reject.wire_code().as_str(),
        message: reject.to_string(),
    }
}

/// A refusal of a voucher; where the payer's count is off, the channel's state goes with it.
pub(crate) fn refused_on(channel: &PayeeChannel, reject: &Reject) -> PaymentError {
    if reject.is_corrective() {
        PaymentError::Resync {
            code: reject.wire_code().as_str(),
            channel: Box::new(book::view(channel)),
        }
    } else {
        refused(reject)
    }
}

/// A signature that is not the payer's.
pub(crate) fn bad_signature(error: &SignatureError) -> PaymentError {
    invalid(
        WireCode::VoucherSignature,
        format!("the voucher's signature is no good: {error}"),
    )
}

/// A refusal with a scheme's code and words for people.
pub(crate) fn invalid(code: WireCode, message: impl Into<String>) -> PaymentError {
    PaymentError::Invalid {
        code: code.as_str(),
        message: message.into(),
    }
}

/// An operator's fault: nothing is charged, the caller may try again.
pub(crate) fn unavailable(
    what: &'static str,
    source: impl Error + Send + Sync + 'static,
) -> CallError {
    CallError::Unavailable {
        what,
        source: Box::new(source),
    }
}
