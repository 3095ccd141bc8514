//! Every digest against values that a published client and the deployed contract agree on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Debug, str::FromStr};

use rialto_channels::{
    Address, Amount, B256, ChannelConfig, ChannelId, SettlementDomain, Signature, SignedVoucher,
    SigningKey, TokenDomain, TransferAuthorization, U256, Voucher, digest, recover,
};
use serde_json::Value;

struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("fixtures/digests.json")).unwrap())
    }

    fn get<T: FromStr<Err: Debug>>(&self, path: &str) -> T {
        self.0
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap()
            .parse()
            .unwrap()
    }

    fn number(&self, path: &str) -> u64 {
        self.0.pointer(path).and_then(Value::as_u64).unwrap()
    }

    fn domain(&self) -> SettlementDomain {
        SettlementDomain {
            chain_id: self.number("/domain/chain_id"),
            contract: self.get("/domain/contract"),
        }
    }

    fn config(&self) -> ChannelConfig {
        ChannelConfig {
            payer: self.get("/config/payer"),
            payer_authorizer: self.get("/config/payer_authorizer"),
            receiver: self.get("/config/receiver"),
            receiver_authorizer: self.get("/config/receiver_authorizer"),
            token: self.get("/token/address"),
            withdraw_delay: self.number("/config/withdraw_delay"),
            salt: self.get("/config/salt"),
        }
    }

    fn id(&self) -> ChannelId {
        self.get("/channel_id")
    }
}

/// The well-known key of the second development account.
fn payer_key() -> SigningKey {
    SigningKey::from_hex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
        .unwrap()
}

#[test]
fn domain_and_channel_id() {
    let vectors = Vectors::load();
    assert_eq!(
        vectors.domain().separator(),
        vectors.get::<B256>("/separator")
    );
    assert_eq!(vectors.config().id(&vectors.domain()), vectors.id());
    assert_eq!(vectors.id().to_string().parse(), Ok(vectors.id()));
}

#[test]
fn every_term_changes_the_channel_id() {
    let vectors = Vectors::load();
    let (config, domain) = (vectors.config(), vectors.domain());
    let other = Address::repeat_byte(9);
    let changed = [
        ChannelConfig {
            payer: other,
            ..config
        },
        ChannelConfig {
            payer_authorizer: other,
            ..config
        },
        ChannelConfig {
            receiver: other,
            ..config
        },
        ChannelConfig {
            receiver_authorizer: other,
            ..config
        },
        ChannelConfig {
            token: other,
            ..config
        },
        ChannelConfig {
            withdraw_delay: 901,
            ..config
        },
        ChannelConfig {
            salt: B256::repeat_byte(1),
            ..config
        },
    ];
    for config in changed {
        assert_ne!(config.id(&domain), vectors.id(), "{config:?}");
    }
    assert_ne!(
        config.id(&SettlementDomain {
            chain_id: 1,
            ..domain
        }),
        vectors.id()
    );
    assert_ne!(
        config.id(&SettlementDomain {
            contract: other,
            ..domain
        }),
        vectors.id()
    );
}

#[test]
fn voucher_digest_and_signature() {
    let vectors = Vectors::load();
    let (domain, id) = (vectors.domain(), vectors.id());
    let ceiling: Amount = vectors.get("/voucher/ceiling");
    let signature: Signature = vectors.get("/voucher/signature");
    let expected: B256 = vectors.get("/voucher/digest");
    assert_eq!(digest::voucher(&domain, &id, ceiling), expected);
    assert_eq!(recover(expected, &signature), Ok(payer_key().address()));

    let voucher = Voucher {
        channel: id,
        ceiling,
    };
    // Signing is deterministic (RFC 6979), so ours is theirs byte for byte.
    let ours = voucher.sign(&domain, &payer_key());
    assert_eq!(ours, SignedVoucher { voucher, signature });
    let verified = ours.verify(&domain, payer_key().address()).unwrap();
    assert_eq!((verified.channel(), verified.ceiling()), (id, ceiling));
}

#[test]
fn a_voucher_holds_for_its_channel_chain_and_ceiling_only() {
    let vectors = Vectors::load();
    let (domain, id, payer) = (vectors.domain(), vectors.id(), payer_key().address());
    let voucher = Voucher {
        channel: id,
        ceiling: vectors.get("/voucher/ceiling"),
    };
    let signature: Signature = vectors.get("/voucher/signature");
    let refused = |voucher, domain: SettlementDomain, authorizer| {
        let signed = SignedVoucher { voucher, signature };
        assert!(
            signed.verify(&domain, authorizer).is_err(),
            "{signed:?} {domain:?}"
        );
    };
    refused(
        Voucher {
            ceiling: Amount::new(1001),
            ..voucher
        },
        domain,
        payer,
    );
    refused(
        Voucher {
            channel: ChannelId(B256::ZERO),
            ..voucher
        },
        domain,
        payer,
    );
    refused(
        voucher,
        SettlementDomain {
            chain_id: 8453,
            ..domain
        },
        payer,
    );
    refused(
        voucher,
        SettlementDomain {
            contract: Address::ZERO,
            ..domain
        },
        payer,
    );
    refused(voucher, domain, Address::ZERO);
}

#[test]
fn refund_and_claim_digests() {
    let vectors = Vectors::load();
    let (domain, id) = (vectors.domain(), vectors.id());
    let nonce = U256::from(vectors.number("/refund/nonce"));
    assert_eq!(
        digest::refund(&domain, &id, nonce, vectors.get("/refund/amount")),
        vectors.get::<B256>("/refund/digest")
    );
    let entry = digest::ClaimEntry {
        channel: id,
        ceiling: vectors.get("/claim/ceiling"),
        total_claimed: vectors.get("/claim/total_claimed"),
    };
    let expected: B256 = vectors.get("/claim/digest");
    assert_eq!(digest::claim_batch(&domain, &[entry]), expected);
    assert_ne!(digest::claim_batch(&domain, &[entry, entry]), expected);
    assert_ne!(digest::claim_batch(&domain, &[]), expected);
}

#[test]
fn the_deposit_signature_commits_to_the_channel() {
    let vectors = Vectors::load();
    let token = TokenDomain {
        chain_id: vectors.domain().chain_id,
        token: vectors.get("/token/address"),
        name: vectors.get("/token/name"),
        version: vectors.get("/token/version"),
    };
    let nonce = digest::deposit_nonce(&vectors.id(), vectors.get("/deposit/salt"));
    assert_eq!(nonce, vectors.get::<B256>("/deposit/nonce"));
    let message = TransferAuthorization {
        from: payer_key().address(),
        to: vectors.get("/collector"),
        value: vectors.get("/deposit/amount"),
        valid_after: vectors.number("/deposit/valid_after"),
        valid_before: vectors.number("/deposit/valid_before"),
        nonce,
    };
    let signature: Signature = vectors.get("/deposit/signature");
    let digest = digest::receive_authorization(&token, &message);
    assert_eq!(recover(digest, &signature), Ok(payer_key().address()));
    assert_eq!(payer_key().sign(digest), signature);
    // The same fields as a plain transfer are another message.
    assert_ne!(digest::transfer_authorization(&token, &message), digest);
    let other = TransferAuthorization {
        nonce: B256::ZERO,
        ..message
    };
    assert_ne!(digest::receive_authorization(&token, &other), digest);
}
