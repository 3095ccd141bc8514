//! Receipts: signing, checking, chaining.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alloy_primitives::b256;
use proptest::{collection::vec, prelude::*};
use rialto_channels::{
    Address, Amount, B256, ChannelId, SignatureError, SigningKey,
    receipt::{
        ChainError, Contradiction, DOCUMENT_BYTES_MAX, DeviceUsage, DocumentError, HireUsage,
        LimitUsage, NoConflict, Receipt, ReceiptError, SignedReceipt, Usage, conflict,
        verify_chain,
    },
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
        parent: None,
    }
}

fn device() -> DeviceUsage {
    DeviceUsage {
        time_us: 1,
        multiply_adds: 2,
        moved_bytes: 3,
        tokens_read: 4,
        tokens_written: 5,
    }
}

fn hires() -> HireUsage {
    HireUsage {
        calls: 1,
        spent: Amount::new(2),
    }
}

fn limits() -> LimitUsage {
    LimitUsage {
        wall_time_us: 1,
        waited_us: 2,
        table_peak_elements: 3,
        handles_peak: 4,
        host_bytes: 5,
        tensor_peak_bytes: 6,
        session_peak_bytes: 7,
        outbound_requests: 8,
        outbound_bytes: 9,
        state_bytes: 10,
        log_lines: 11,
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
    let mut with_device = receipt();
    with_device.usage.device = device();
    let mut metered = with_device.clone();
    metered.usage.limits = limits();
    let mut linked = metered.clone();
    linked.usage.hires = hires();
    linked.parent = Some(B256::repeat_byte(10));
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
        |it| it.usage.device.time_us = 9,
        |it| it.usage.device.multiply_adds = 9,
        |it| it.usage.device.moved_bytes = 9,
        |it| it.usage.device.tokens_read = 9,
        |it| it.usage.device.tokens_written = 9,
        |it| it.usage.limits.wall_time_us = 99,
        |it| it.usage.limits.waited_us = 99,
        |it| it.usage.limits.table_peak_elements = 99,
        |it| it.usage.limits.handles_peak = 99,
        |it| it.usage.limits.host_bytes = 99,
        |it| it.usage.limits.tensor_peak_bytes = 99,
        |it| it.usage.limits.session_peak_bytes = 99,
        |it| it.usage.limits.outbound_requests = 99,
        |it| it.usage.limits.outbound_bytes = 99,
        |it| it.usage.limits.state_bytes = 99,
        |it| it.usage.limits.log_lines = 99,
        |it| it.usage.hires.calls = 99,
        |it| it.usage.hires.spent = Amount::new(99),
        |it| it.parent = Some(B256::repeat_byte(11)),
        |it| it.price = Amount::new(101),
        |it| it.before = Amount::new(701),
        |it| it.charged = Amount::new(91),
        |it| it.after = Amount::new(791),
        |it| it.issued_at = 0,
        |it| it.engine.push('x'),
        |it| it.deterministic = false,
        |it| it.previous = B256::repeat_byte(1),
    ];
    for signed in [receipt(), with_device, metered, linked].map(|receipt| receipt.sign(&host())) {
        for (index, change) in changes.iter().enumerate() {
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
}

#[test]
fn digests_are_those_of_typed_data_in_every_version() {
    // All computed by eth-account from the types alone; the first is what release 0.1 signs.
    let mut receipt = receipt();
    assert_eq!(receipt.digest(), PLAIN);
    receipt.usage.device = device();
    assert_eq!(receipt.digest(), WITH_DEVICE);
    receipt.usage.limits = limits();
    assert_eq!(receipt.digest(), METERED);
    receipt.usage.hires = hires();
    receipt.parent = Some(B256::repeat_byte(10));
    assert_eq!(receipt.digest(), LINKED);
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

fn signed(change: impl FnOnce(&mut Receipt)) -> SignedReceipt {
    let mut receipt = receipt();
    change(&mut receipt);
    receipt.sign(&host())
}

/// `count` receipts of one channel, each after the one before.
fn chain(count: u8) -> Vec<SignedReceipt> {
    let mut receipts: Vec<SignedReceipt> = Vec::new();
    for number in 0..count {
        let next = signed(|it| {
            it.id = B256::repeat_byte(number);
            if let Some(last) = receipts.last() {
                it.before = last.receipt.after;
                it.charged = Amount::new(u128::from(number));
                it.after = it.before.checked_add(it.charged).unwrap();
                it.previous = last.receipt.digest();
            }
        });
        receipts.push(next);
    }
    receipts
}

#[test]
fn two_statements_that_cannot_both_be_true_are_proven() {
    let one = signed(|_| {});
    let check = |other: SignedReceipt, expected| {
        let found = conflict(&one, &other).map(|it| (it.host, it.contradiction));
        assert_eq!(found, Ok((host().address(), expected)));
        let turned = conflict(&other, &one).map(|it| it.contradiction);
        assert_eq!(turned, Ok(expected));
    };
    let other_id = B256::repeat_byte(99);
    check(
        signed(|it| it.response = B256::ZERO),
        Contradiction::SameCall,
    );
    check(signed(|it| it.channel = None), Contradiction::SameCall);
    check(signed(|it| it.id = other_id), Contradiction::SamePlace);
    check(
        signed(|it| {
            it.id = other_id;
            it.previous = other_id;
            it.before = Amount::new(789);
            it.after = Amount::new(879);
        }),
        Contradiction::SameMoney,
    );
}

#[test]
fn what_can_both_be_true_or_is_not_one_hosts_proves_nothing() {
    let one = signed(|_| {});
    let check = |other: &SignedReceipt, expected| assert_eq!(conflict(&one, other), Err(expected));
    check(&one, NoConflict::Same);
    let later = |it: &mut Receipt| {
        it.id = B256::repeat_byte(99);
        it.previous = one.receipt.digest();
        it.before = one.receipt.after;
        it.after = it.before.checked_add(it.charged).unwrap();
    };
    check(&signed(later), NoConflict::Compatible);
    check(
        &signed(|it| {
            it.id = B256::repeat_byte(99);
            it.channel = Some(ChannelId(B256::ZERO));
        }),
        NoConflict::Compatible,
    );
    let stranger = SigningKey::from_bytes(&[4; 32]).unwrap();
    let forged = Receipt {
        response: B256::ZERO,
        ..receipt()
    }
    .sign(&stranger);
    let (first, second) = (host().address(), stranger.address());
    check(&forged, NoConflict::TwoHosts { first, second });
    // A forger cannot make a host contradict itself by changing what it signed.
    let mut changed = one.clone();
    changed.receipt.charged = Amount::ZERO;
    assert!(matches!(
        conflict(&one, &changed),
        Err(NoConflict::TwoHosts { .. } | NoConflict::SecondSignature(_))
    ));
}

#[test]
fn an_unbroken_chain_adds_up_and_its_neighbours_never_conflict() {
    let receipts = chain(6);
    let audited = verify_chain(&receipts, host().address()).unwrap();
    assert_eq!(audited.receipts, 6);
    assert_eq!(audited.before, Amount::new(700));
    assert_eq!(audited.after, Amount::new(790 + 1 + 2 + 3 + 4 + 5));
    assert_eq!(audited.previous, B256::ZERO);
    assert_eq!(audited.last, receipts[5].receipt.digest());
    let part = verify_chain(&receipts[2..4], host().address()).unwrap();
    assert_eq!(part.previous, receipts[1].receipt.digest());
    for (index, one) in receipts.iter().enumerate() {
        for other in &receipts[index + 1..] {
            assert_eq!(conflict(one, other), Err(NoConflict::Compatible));
        }
    }
}

#[test]
fn a_broken_chain_says_where_and_how() {
    let good = chain(4);
    let host = host().address();
    let check = |receipts: &[SignedReceipt], expected| {
        assert_eq!(verify_chain(receipts, host), Err(expected));
    };
    check(&[], ChainError::Empty);
    let missing = [good[0].clone(), good[2].clone()];
    check(
        &missing,
        ChainError::Gap {
            index: 1,
            named: good[1].receipt.digest(),
            expected: good[0].receipt.digest(),
        },
    );
    let twice = [good[0].clone(), good[0].clone()];
    check(&twice, ChainError::Twice { index: 1 });
    let reason = ReceiptError::Signature(SignatureError::WrongSigner);
    let forged = good[1]
        .receipt
        .clone()
        .sign(&SigningKey::from_bytes(&[4; 32]).unwrap());
    check(
        &[good[0].clone(), forged],
        ChainError::Receipt { index: 1, reason },
    );
    let elsewhere = signed(|it| it.channel = Some(ChannelId(B256::ZERO)));
    check(
        &[good[0].clone(), elsewhere],
        ChainError::OtherChannel { index: 1 },
    );
    check(
        &[signed(|it| it.channel = None)],
        ChainError::OtherChannel { index: 0 },
    );
    let skipped = signed(|it| {
        it.previous = good[0].receipt.digest();
        it.before = Amount::new(791);
        it.after = Amount::new(881);
    });
    check(
        &[good[0].clone(), skipped],
        ChainError::Count {
            index: 1,
            before: Amount::new(791),
            expected: Amount::new(790),
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Exactly the runs of neighbours are chains, and no honest pair is ever a conflict.
    #[test]
    fn only_neighbours_in_their_order_are_a_chain(picked in vec(0..5_usize, 1..5)) {
        let all = chain(5);
        let some: Vec<_> = picked.iter().map(|index| all[*index].clone()).collect();
        let neighbours = picked.windows(2).all(|pair| pair[1] == pair[0] + 1);
        prop_assert_eq!(verify_chain(&some, host().address()).is_ok(), neighbours);
        for pair in some.windows(2) {
            prop_assert!(conflict(&pair[0], &pair[1]).is_err());
        }
    }

    /// Whatever a host signs a second time about one place of its chain is held against it, and
    /// whatever else is changed without its key is not.
    #[test]
    fn a_second_statement_is_always_proven(
        place in 0..5_usize, response in any::<[u8; 32]>(), charged in 0..500_u128,
        keeps_id in any::<bool>(), id in any::<[u8; 32]>(),
    ) {
        let all = chain(5);
        let one = &all[place];
        let mut other = one.receipt.clone();
        other.response = response.into();
        other.charged = Amount::new(charged);
        other.after = other.before.checked_add(other.charged).unwrap();
        other.price = other.price.max(other.charged);
        if !keeps_id {
            other.id = id.into();
        }
        prop_assume!(other != one.receipt);
        let lie = other.sign(&host());
        let found = conflict(one, &lie).unwrap();
        prop_assert_eq!(found.host, host().address());
        prop_assert_eq!(found.channel, one.receipt.channel);
        let unsigned = SignedReceipt { signature: one.signature, ..lie };
        prop_assert!(conflict(one, &unsigned).is_err());
    }
}

const PLAIN: B256 = b256!("c554a2487ed108ba60a8257b8be85dcec8f3d024aea7718026a182e2f68fbc3c");
const METERED: B256 = b256!("a0138b746f33d7f57359b4da5737065a4bff8839f915bfa6e3ad330250659bd9");
const LINKED: B256 = b256!("50734877ae2c9a26c490c2e3f4b3378fd71d2405bb1fd181206ef63322da5968");
const WITH_DEVICE: B256 = b256!("e69e550e1f0e4c1166a53b2d183060d1651819effd21c2b2c50ca63358bca152");

#[test]
fn as_bytes_receipts_come_back_as_they_were() {
    let plain = receipt().sign(&host());
    let mut measured = receipt();
    measured.usage.limits.wall_time_us = 7;
    measured.usage.device.tokens_read = 9;
    measured.channel = None;
    let mut linked = measured.clone();
    linked.parent = Some(B256::repeat_byte(1));
    for signed in [plain, measured.sign(&host()), linked.sign(&host())] {
        let back = SignedReceipt::from_bytes(&signed.to_bytes()).unwrap();
        assert_eq!(back, signed);
        assert_eq!(back.verify(host().address()), Ok(()));
    }
}

#[test]
fn bytes_that_are_no_receipt_are_refused() {
    let bytes = receipt().sign(&host()).to_bytes();
    let read = SignedReceipt::from_bytes;
    assert_eq!(read(&[0; 64]), Err(DocumentError::Length(64)));
    let long = vec![0; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(read(&long), Err(DocumentError::Length(long.len())));
    let mut padded = bytes.clone();
    padded.splice(bytes.len() - 65..bytes.len() - 65, [0; 32]);
    assert_eq!(read(&padded), Err(DocumentError::Form));
    assert!(read(&bytes[32..]).is_err());
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x55;
        if let Ok(signed) = read(&changed) {
            assert_eq!(signed.to_bytes(), changed);
        }
    }
}
