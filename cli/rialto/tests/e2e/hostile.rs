//! Bad input of every kind: each gets its own clear error, none is charged, and the host goes on.

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use rialto_channels::{ChannelId, SettlementDomain, SigningKey};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::payer::{Payer, Reply};

const PRICE: u128 = 100;
const DEPOSIT: u128 = 100_000;
const ECHO: &str = "/services/hostile/echo";
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n";

/// Opens a channel with one good call, whose charge is then the only one.
async fn open(payer: &Payer) -> Result<()> {
    let payment = payer.deposit(payer.voucher(1_000), DEPOSIT, 1)?;
    let reply = payer
        .call("echo", &json!({ "text": "first" }), &payment)
        .await?;
    ensure!(reply.status == 200, "the first call failed: {reply:?}");
    ensure!(payer.charged().await? == PRICE);
    Ok(())
}

fn check(what: &str, reply: &Reply, status: u16, code: &str) -> Result<()> {
    ensure!(
        reply.status == status,
        "{what}: expected {status}, got {reply:?}"
    );
    ensure!(
        reply.code.contains(code),
        "{what}: expected `{code}`, got {reply:?}"
    );
    ensure!(!reply.message.is_empty(), "{what}: no message");
    ensure!(reply.receipt.is_none(), "{what}: a receipt for nothing");
    Ok(())
}

/// Payments that are each wrong in one place, and a part of the code that says so.
fn bad_vouchers(payer: &Payer, thief: &str) -> Result<[(&'static str, Value, &'static str); 7]> {
    let thief = SigningKey::from_hex(thief)?;
    let other_chain = SettlementDomain {
        chain_id: 1,
        ..payer.domain
    };
    let other_channel = ChannelId(U256::from(7).into());
    let (domain, channel) = (&payer.domain, payer.channel());
    Ok([
        (
            "forged",
            payer.payment(payer.voucher_by(&thief, domain, channel, 1_100)),
            "voucher_signature",
        ),
        (
            "wrong chain",
            payer.payment(payer.voucher_by(&payer.key, &other_chain, channel, 1_100)),
            "voucher_signature",
        ),
        (
            "lower",
            payer.payment(payer.voucher(PRICE)),
            "cumulative_amount_mismatch",
        ),
        ("zero", payer.payment(payer.voucher(0)), ""),
        (
            "overdrawn",
            payer.payment(payer.voucher(DEPOSIT + 1)),
            "cumulative_exceeds_balance",
        ),
        (
            "wrong channel",
            payer.payment(payer.voucher_by(&payer.key, domain, other_channel, 1_100)),
            "channel_id_mismatch",
        ),
        (
            "high s",
            payer.payment(high_s(payer.voucher(1_100))?),
            "signature",
        ),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_vouchers_are_refused_and_charge_nothing() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    let payer = Payer::new(&mesh, mesh.test_key(0), 1).await?;
    open(&payer).await?;
    let before = fixture
        .token_balance(&mesh, &payer.key.address().to_string())
        .await?;

    for (what, payment, code) in bad_vouchers(&payer, mesh.test_key(1))? {
        let reply = payer
            .call("echo", &json!({ "text": what }), &payment)
            .await?;
        ensure!(matches!(reply.status, 400 | 402), "{what}: {reply:?}");
        ensure!(
            reply.code.contains(code) || reply.message.contains(code),
            "{what}: expected `{code}`, got {reply:?}"
        );
        ensure!(reply.receipt.is_none(), "{what}: a receipt for nothing");
        ensure!(payer.charged().await? == PRICE, "{what} was charged");
    }
    let unknown = Payer::new(&mesh, mesh.test_key(0), 99).await?;
    let reply = unknown
        .call(
            "echo",
            &json!({ "text": "x" }),
            &unknown.payment(unknown.voucher(1_000)),
        )
        .await?;
    check("a channel without money", &reply, 402, "missing_channel")?;

    let after = fixture
        .token_balance(&mesh, &payer.key.address().to_string())
        .await?;
    ensure!(before == after, "the payer's wallet changed");
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_payment_gets_the_stored_answer_once_charged() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    let payer = Payer::new(&mesh, mesh.test_key(0), 1).await?;
    open(&payer).await?;
    let payment = payer.payment(payer.voucher(1_200));
    let parameters = json!({ "text": "again" });
    let first = payer.call("echo", &parameters, &payment).await?;
    let second = payer.call("echo", &parameters, &payment).await?;
    ensure!(
        first.status == 200 && second.status == 200,
        "{first:?} {second:?}"
    );
    let id = |reply: &Reply| {
        reply.receipt.as_ref().and_then(|receipt| {
            receipt
                .pointer("/receipt/id")
                .or(receipt.get("id"))
                .cloned()
        })
    };
    ensure!(
        id(&first).is_some() && id(&first) == id(&second),
        "two receipts: {first:?} {second:?}"
    );
    ensure!(first.body == second.body);
    ensure!(payer.charged().await? == 2 * PRICE, "charged twice");

    let named = |text: &str| {
        let mut payment = payer.payment(payer.voucher(1_300));
        payment["extensions"] =
            json!({ "payment-identifier": { "info": { "id": "the-one-and-only-payment" } } });
        (json!({ "text": text }), payment)
    };
    let (parameters, payment) = named("one");
    ensure!(payer.call("echo", &parameters, &payment).await?.status == 200);
    let (parameters, payment) = named("another");
    check(
        "a payment id used twice",
        &payer.call("echo", &parameters, &payment).await?,
        409,
        "payment_conflict",
    )?;
    ensure!(payer.charged().await? == 3 * PRICE);
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deposits_that_would_fail_are_refused_before_gas_is_spent() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    let payer = Payer::new(&mesh, mesh.test_key(0), 1).await?;
    let wallet = payer.key.address().to_string();
    let before = fixture.token_balance(&mesh, &wallet).await?;
    let text = json!({ "text": "x" });

    let too_small = payer.deposit(payer.voucher(1_000), 1_000, 1)?;
    check(
        "too small",
        &payer.call("echo", &text, &too_small).await?,
        402,
        "deposit_below_min",
    )?;
    let unfunded = payer.deposit(payer.voucher(1_000), before + 1, 2)?;
    check(
        "more than the wallet holds",
        &payer.call("echo", &text, &unfunded).await?,
        402,
        "deposit",
    )?;
    let mut forged = payer.deposit(payer.voucher(1_000), DEPOSIT, 3)?;
    forged["payload"]["deposit"]["amount"] = json!((DEPOSIT + 1).to_string());
    check(
        "another amount than signed",
        &payer.call("echo", &text, &forged).await?,
        402,
        "deposit",
    )?;

    ensure!(payer.charged().await? == 0);
    ensure!(
        fixture.token_balance(&mesh, &wallet).await? == before,
        "the wallet changed"
    );
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_guests_are_stopped_each_with_its_own_error() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    let payer = Payer::new(&mesh, mesh.test_key(0), 1).await?;
    open(&payer).await?;
    let payment = payer.payment(payer.voucher(1_100));
    let cases = [
        ("hostile", "trap", 502, "service_crashed"),
        ("hostile", "spin", 504, "service_timeout"),
        ("hostile", "grow", 502, "service_memory_exceeded"),
        ("hostile", "grow_many", 502, "service_memory_exceeded"),
        ("hostile", "grow_table", 502, "service_table_exceeded"),
        ("hostile", "recurse", 502, "service_stack_exhausted"),
        ("hostile", "big_text", 502, "service_output_too_large"),
        ("hostile", "big_bytes", 502, "service_output_too_large"),
        ("hostile", "refuse", 422, "service_refused"),
        ("flood", "run", 502, "service_host_calls_exceeded"),
    ];
    for (service, method, status, code) in cases {
        let reply = payer
            .call_service(service, method, &json!({}), &payment)
            .await?;
        check(method, &reply, status, code)?;
        ensure!(payer.charged().await? == PRICE, "{method} was charged");
    }
    let reply = payer
        .call("echo", &json!({ "text": "still here" }), &payment)
        .await?;
    ensure!(
        reply.status == 200 && reply.body == json!("still here"),
        "{reply:?}"
    );
    ensure!(payer.charged().await? == 2 * PRICE);
    mesh.stop()
}

/// What is wrong, the request, the status and the code that it gets.
type Case = (&'static str, reqwest::RequestBuilder, u16, &'static str);

/// Calls that no service could serve.
fn senseless_calls(gateway: &str) -> Vec<Case> {
    let client = reqwest::Client::new();
    let post = |path: &str| client.post(format!("{gateway}{path}"));
    let good = json!({ "text": "x" });
    vec![
        (
            "unknown service",
            post("/services/nothing/echo").json(&good),
            404,
            "service_unknown",
        ),
        (
            "unknown method",
            post("/services/hostile/nothing").json(&good),
            404,
            "method_unknown",
        ),
        (
            "wrong type",
            post(ECHO).json(&json!({ "text": 5 })),
            400,
            "arguments_invalid",
        ),
        (
            "missing parameter",
            post(ECHO).json(&json!({ "words": "x" })),
            400,
            "arguments_invalid",
        ),
        ("no object", post(ECHO).json(&json!(["x"])), 400, ""),
        (
            "no JSON",
            post(ECHO)
                .header("content-type", "application/json")
                .body("{"),
            400,
            "body_malformed",
        ),
        (
            "too large a body",
            post(ECHO)
                .header("content-type", "application/json")
                .body(vec![b' '; 17 << 20]),
            413,
            "body_too_large",
        ),
        (
            "no receipt",
            client.get(format!("{gateway}/receipts/zz")),
            400,
            "id_malformed",
        ),
        (
            "no page",
            client.get(format!("{gateway}/nothing")),
            404,
            "route_unknown",
        ),
    ]
}

/// Payment headers that are no payments.
fn senseless_headers(gateway: &str) -> Vec<Case> {
    let paid = |header: String| {
        let request = reqwest::Client::new().post(format!("{gateway}{ECHO}"));
        request
            .json(&json!({ "text": "x" }))
            .header("payment-signature", header)
    };
    let malformed = |what, header: String| (what, paid(header), 400, "payment_malformed");
    vec![
        malformed("no payment in the header", "%%%".to_owned()),
        malformed("base64 of no JSON", "aGVsbG8=".to_owned()),
        malformed("another version", "eyJ4NDAyVmVyc2lvbiI6OX0=".to_owned()),
        malformed("too large a header", "A".repeat(20 << 10)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_told_why() -> Result<()> {
    let fixture = Fixture::hostile(PRICE, CONFIG)?;
    let mesh = fixture.start()?;
    let gateway = mesh.gateway();
    let post = || reqwest::Client::new().post(format!("{gateway}{ECHO}"));
    let good = json!({ "text": "x" });
    let mut cases = senseless_calls(gateway);
    cases.extend(senseless_headers(gateway));
    for (what, request, status, code) in cases {
        let reply = Reply::read(request.send().await.context(what)?).await?;
        check(what, &reply, status, code)?;
    }
    let wrong = Reply::read(post().json(&json!({ "text": ["a"] })).send().await?).await?;
    ensure!(
        wrong.message.contains("`text`") && wrong.message.contains("string"),
        "not precise: {wrong:?}"
    );
    ensure!(
        Reply::read(post().json(&good).send().await?).await?.status == 402,
        "an unpaid call costs"
    );
    mesh.stop()
}

/// The same signature's other form, which Ethereum forbids.
fn high_s(mut voucher: Value) -> Result<Value> {
    let order: U256 =
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse()?;
    let hex = voucher["signature"]
        .as_str()
        .context("signature")?
        .trim_start_matches("0x")
        .to_owned();
    let s = U256::from_str_radix(hex.get(64..128).context("s")?, 16)?;
    let v = if hex.ends_with("1b") { "1c" } else { "1b" };
    voucher["signature"] = json!(format!("0x{}{:064x}{v}", &hex[..64], order - s));
    Ok(voucher)
}
