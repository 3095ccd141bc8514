//! Pure payment-channel state machines: payer, payee, vouchers, pricing and receipts.
