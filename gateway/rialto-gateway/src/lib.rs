//! The HTTP door: services, x402 payments, OpenAPI and receipts.
