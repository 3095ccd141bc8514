//! Offers: what signs, what is refused, and that what is signed reads back.

use proptest::prelude::*;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

fn peer() -> PeerKey {
    PeerKey::from_seed(&[8; 32])
}

fn offer() -> Offer {
    Offer {
        service: "embed".parse().unwrap(),
        manifest: Digest::of(b"manifest"),
        version: Version::new(0, 1, 0),
        registry: "eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e"
            .parse()
            .unwrap(),
        interfaces: vec!["rialto:embed/api@0.1.0".to_owned()],
        tags: vec!["text".parse().unwrap()],
        region: Some("eu-west".parse().unwrap()),
        hardware: vec!["cpu".parse().unwrap()],
        prices: [("embed-all".parse().unwrap(), Amount::new(120))].into(),
        payee: Payee {
            chain_id: 84_532,
            token: Address::repeat_byte(1),
            payout: Address::repeat_byte(2),
            receiver: Address::repeat_byte(2),
            host: key().address(),
        },
        gateways: vec!["https://host.example".to_owned()],
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        capacity: 16,
        load: 120,
        seq: 3,
        issued: 1_000,
        expires: 2_800,
    }
}

fn signed(change: impl FnOnce(&mut Offer)) -> Result<SignedOffer, OfferError> {
    let mut offer = offer();
    change(&mut offer);
    SignedOffer::sign(offer, &peer(), &key())
}

#[test]
fn what_is_signed_reads_back() {
    let signed = signed(|_| {}).unwrap();
    let read = SignedOffer::parse(signed.bytes()).unwrap();
    assert_eq!(read.offer(), &offer());
    assert_eq!(read.peer(), peer().peer());
    assert_eq!(read, signed);
}

#[test]
fn nobody_offers_in_another_hosts_name() {
    let other = SigningKey::from_bytes(&[9; 32]).unwrap();
    let stolen = SignedOffer::sign(offer(), &peer(), &other);
    assert_eq!(stolen, Err(OfferError::Host(key().address())));
    // The host's signature is for one peer and one payout: it cannot be carried elsewhere.
    let honest = signed(|_| {}).unwrap();
    let opened = envelope::open(honest.bytes(), DOMAIN, KIND).unwrap();
    let thief = PeerKey::from_seed(&[1; 32]);
    let bytes = envelope::seal(&thief, DOMAIN, KIND, &opened.payload);
    assert_eq!(
        SignedOffer::parse(&bytes),
        Err(OfferError::Host(key().address()))
    );
    let text = String::from_utf8(opened.payload).unwrap();
    let redirected = text.replace(&"02".repeat(20), &"03".repeat(20));
    assert_ne!(text, redirected);
    let bytes = envelope::seal(&peer(), DOMAIN, KIND, redirected.as_bytes());
    assert!(matches!(
        SignedOffer::parse(&bytes),
        Err(OfferError::Host(_))
    ));
}

#[test]
fn an_offer_is_good_between_its_times() {
    let signed = signed(|_| {}).unwrap();
    for (now, good) in [
        (939, false),
        (940, true),
        (1_000, true),
        (2_799, true),
        (2_800, false),
    ] {
        assert_eq!(signed.check_time(now).is_ok(), good, "{now}");
    }
}

#[test]
fn fields_out_of_their_bounds_are_refused() {
    let check = |field: &str, change: fn(&mut Offer)| {
        let error = signed(change).unwrap_err();
        assert!(
            matches!(&error, OfferError::Field { field: found, .. } if *found == field),
            "{field}: {error}"
        );
    };
    check("expires", |o| o.expires = o.issued);
    check("expires", |o| o.expires = o.issued + OFFER_SECS_MAX + 1);
    check("load", |o| o.load = 1_001);
    check("tags", |o| o.tags = vec!["a".parse().unwrap(); 9]);
    check("hardware", |o| o.hardware = vec!["a".parse().unwrap(); 9]);
    check("interfaces", |o| o.interfaces = vec![String::new()]);
    check("prices", |o| o.prices.clear());
    check("payee", |o| o.payee.payout = Address::ZERO);
    check("payee", |o| o.payee.receiver = Address::ZERO);
    check("gateways", |o| o.gateways = vec!["ftp://a".to_owned()]);
    check("gateways", |o| o.gateways = vec!["http://a/?x#".to_owned()]);
    check("gateways", |o| o.gateways = vec!["http://a".to_owned(); 5]);
    check("addresses", |o| {
        o.addresses = vec!["/ip4/1.2.3.4 /tcp/1".to_owned()]
    });
    check("addresses", |o| {
        o.addresses.clear();
        o.gateways.clear();
    });
    let long = signed(|o| o.addresses = vec!["/dns/".to_owned() + &"a".repeat(4_000)]);
    assert!(matches!(long, Err(OfferError::TooLong(_))));
}

#[test]
fn fields_of_later_releases_are_passed_over() {
    let honest = signed(|_| {}).unwrap();
    let opened = envelope::open(honest.bytes(), DOMAIN, KIND).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&opened.payload).unwrap();
    value["later"] = serde_json::json!({ "a": 1 });
    let bytes = envelope::seal(&peer(), DOMAIN, KIND, value.to_string().as_bytes());
    assert_eq!(SignedOffer::parse(&bytes).unwrap().offer(), &offer());
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        prop_assert!(SignedOffer::parse(&bytes).is_err());
        let sealed = envelope::seal(&peer(), DOMAIN, KIND, &bytes);
        prop_assert!(SignedOffer::parse(&sealed).is_err());
    }

    #[test]
    fn numbers_read_back(seq: u64, capacity: u32, load in 0_u16..=1_000, issued in 0_u64..1 << 40, price: u128) {
        let signed = signed(|o| {
            (o.seq, o.capacity, o.load) = (seq, capacity, load);
            (o.issued, o.expires) = (issued, issued + 60);
            o.prices.insert("b".parse().unwrap(), Amount::new(price));
        }).unwrap();
        let read = SignedOffer::parse(signed.bytes()).unwrap();
        prop_assert_eq!(read.offer().seq, seq);
        prop_assert_eq!(read.offer().prices[&"b".parse().unwrap()], Amount::new(price));
        prop_assert_eq!(read, signed);
    }
}
