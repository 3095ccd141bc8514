//! Receipts: signing, checking, chaining.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_channels::{
    Address, Amount, B256, ChannelId, SignatureError, SigningKey,
    receipt::{Receipt, ReceiptError, SignedReceipt, Usage},
};

fn host() -> SigningKey {
    SigningKey::from_bytes(&[3; 32]).unwrap()
}

fn receipt() -> Receipt {
    Receipt {
        id: B256::repeat_byte(1),
        channel: Some(ChannelId(B256::repeat_byte(2))),
        payer: Address::repeat_byte(3),
        provider: Address::repeat_byte(4),
        chain_id: 84532,
        token: Address::repeat_byte(5),
        service: "filetype".into(),
        version: "0.1.0".into(),
        component: B256::repeat_byte(6),
        models: vec![B256::repeat_byte(7)],
        method: "identify".into(),
        request: B256::repeat_byte(8),
        response: B256::repeat_byte(9),
        usage: Usage {
            guest_time_us: 1,
            ..Usage::default()
        },
        price: Amount::new(100),
        before: Amount::new(700),
        charged: Amount::new(90),
        after: Amount::new(790),
        issued_at: 1_700_000_000,
        engine: "tract 0.23".into(),
        deterministic: true,
        previous: B256::ZERO,
    }
}

#[test]
fn a_signed_receipt_is_the_hosts() {
    let signed = receipt().sign(&host());
    assert_eq!(signed.verify(host().address()), Ok(()));
    let other = signed.verify(Address::ZERO);
    assert_eq!(
        other,
        Err(ReceiptError::Signature(SignatureError::WrongSigner))
    );
}

#[test]
fn no_field_can_be_changed_after_signing() {
    let signed = receipt().sign(&host());
    let changes: Vec<fn(&mut Receipt)> = vec![
        |it| it.id = B256::ZERO,
        |it| it.channel = None,
        |it| it.payer = Address::ZERO,
        |it| it.provider = Address::ZERO,
        |it| it.chain_id = 1,
        |it| it.token = Address::ZERO,
        |it| it.service.push('x'),
        |it| it.version.push('1'),
        |it| it.component = B256::ZERO,
        |it| it.models.clear(),
        |it| it.models.push(B256::ZERO),
        |it| it.method.push('x'),
        |it| it.request = B256::ZERO,
        |it| it.response = B256::ZERO,
        |it| it.usage.guest_time_us = 0,
        |it| it.usage.host_time_us = 9,
        |it| it.usage.memory_peak_bytes = 9,
        |it| it.usage.host_calls = 9,
        |it| it.usage.input_bytes = 9,
        |it| it.usage.output_bytes = 9,
        |it| it.usage.tensor_runs = 9,
        |it| it.price = Amount::new(101),
        |it| it.before = Amount::new(701),
        |it| it.charged = Amount::new(91),
        |it| it.after = Amount::new(791),
        |it| it.issued_at = 0,
        |it| it.engine.push('x'),
        |it| it.deterministic = false,
        |it| it.previous = B256::repeat_byte(1),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = signed.clone();
        change(&mut changed.receipt);
        assert_ne!(
            changed.receipt.digest(),
            signed.receipt.digest(),
            "change {index}"
        );
        assert!(changed.verify(host().address()).is_err(), "change {index}");
    }
}

#[test]
fn a_hosts_own_wrong_sums_are_refused() {
    let check = |receipt: Receipt, expected| {
        let signed: SignedReceipt = receipt.sign(&host());
        assert_eq!(signed.verify(host().address()), Err(expected));
    };
    check(
        Receipt {
            after: Amount::new(791),
            ..receipt()
        },
        ReceiptError::Sum,
    );
    check(
        Receipt {
            price: Amount::new(89),
            ..receipt()
        },
        ReceiptError::AbovePrice,
    );
    let (before, after) = (Amount::MAX, Amount::new(89));
    check(
        Receipt {
            before,
            after,
            ..receipt()
        },
        ReceiptError::Sum,
    );
}

#[test]
fn receipts_chain_within_a_channel() {
    let first = receipt();
    let next = Receipt {
        before: first.after,
        after: first.after.checked_add(first.charged).unwrap(),
        previous: first.digest(),
        ..receipt()
    };
    assert!(next.follows(&first));
    assert!(!first.follows(&next));
    assert!(
        !Receipt {
            previous: B256::ZERO,
            ..next.clone()
        }
        .follows(&first)
    );
    assert!(
        !Receipt {
            before: Amount::ZERO,
            ..next.clone()
        }
        .follows(&first)
    );
    assert!(
        !Receipt {
            channel: None,
            ..next
        }
        .follows(&first)
    );
}
