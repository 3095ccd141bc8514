//! `rialto receipt`: what hosts signed, checked without asking anybody.

pub(crate) mod rate;
mod tree;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use alloy_primitives::{Address, B256};
use anyhow::{Context, Result, bail};
use rialto_channels::receipt::{Audited, Contradiction, conflict, verify_chain};
use rialto_channels::receipt::{DeviceUsage, HireUsage, LimitUsage, Receipt, SignedReceipt};
use rialto_channels::{ChannelId, recover};
use rialto_gateway::client::{stored_receipt, stored_receipts};
use rialto_gateway::record::ReceiptRecord;
use serde_json::{Value, json};

use crate::args::{GatewayArgs, ReceiptCommand, WalletOptions};
use crate::exit::Breach;
use crate::services::get;
use crate::show::money;
use crate::{channel, home, show};

/// Verifies, shows, lists, or proves a contradiction.
pub(crate) async fn run(command: ReceiptCommand) -> Result<()> {
    match command {
        ReceiptCommand::Verify { file, host, json } => verify(&file, host.as_deref(), json),
        ReceiptCommand::Show { id, gateway } => one(&id, &gateway).await,
        ReceiptCommand::Tree { id, gateway } => tree::run(&id, &gateway).await,
        ReceiptCommand::Ls { channel, options } => list(channel.as_deref(), &options),
        ReceiptCommand::Rate { id, value, payer } => rate::run(&id, value, &payer).await,
        ReceiptCommand::Conflict {
            first,
            second,
            json,
        } => contradiction(&first, &second, json),
    }
}

/// What a file's receipts add up to.
#[derive(Debug)]
struct Verdict {
    /// Each channel's chain.
    chains: Vec<(Address, Audited)>,
    /// Receipts outside channels, by who signed them.
    single: BTreeMap<Address, usize>,
}

fn verify(file: &Path, host: Option<&str>, json: bool) -> Result<()> {
    let receipts = read(file)?;
    let host = host
        .map(|text| {
            text.parse()
                .with_context(|| format!("--host `{text}` is not an address"))
        })
        .transpose()?;
    let verdict = check(receipts, host)?;
    if json {
        let chains: Vec<Value> = verdict
            .chains
            .iter()
            .map(|(host, chain)| {
                json!({
                    "channel": chain.channel.to_string(),
                    "host": host.to_checksum(None),
                    "receipts": chain.receipts,
                    "before": chain.before.to_string(),
                    "after": chain.after.to_string(),
                    "previous": chain.previous,
                    "last": chain.last,
                })
            })
            .collect();
        let single: Vec<Value> = (verdict.single.iter())
            .map(|(host, count)| json!({ "host": host.to_checksum(None), "receipts": count }))
            .collect();
        show::json(&json!({ "good": true, "chains": chains, "outside_channels": single }));
        return Ok(());
    }
    for (host, chain) in &verdict.chains {
        let charged = chain.after.checked_sub(chain.before)?;
        let from = match chain.previous.is_zero() {
            true => "from the channel's first receipt on",
            false => "from the middle of the channel's life",
        };
        show::line(format!(
            "{} good: {} receipts of channel {}, an unbroken chain {from}\n  signed by {host}, {} charged",
            show::green("●"),
            chain.receipts,
            show::short(&chain.channel.to_string()),
            money(charged),
        ));
    }
    for (host, count) in &verdict.single {
        show::line(format!(
            "{} good: {count} receipts outside channels, each by itself\n  signed by {host}",
            show::green("●"),
        ));
    }
    if host.is_none() {
        show::note(
            "anybody can sign: compare the signer with the host that you paid, or name it with --host",
        );
    }
    Ok(())
}

/// Checks receipts in any order: those of one channel must be one chain of one host.
fn check(receipts: Vec<SignedReceipt>, host: Option<Address>) -> Result<Verdict> {
    let mut channels: BTreeMap<ChannelId, Vec<SignedReceipt>> = BTreeMap::new();
    let mut single = BTreeMap::new();
    for signed in receipts {
        match signed.receipt.channel {
            Some(channel) => channels.entry(channel).or_default().push(signed),
            None => {
                let signer = host.map_or_else(|| signer(&signed), Ok)?;
                signed
                    .verify(signer)
                    .map_err(|error| breach(&signed.receipt, &error))?;
                let count: &mut usize = single.entry(signer).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    let mut chains = Vec::new();
    for (channel, mut receipts) in channels {
        receipts.sort_by_key(|signed| (signed.receipt.before, signed.receipt.after));
        receipts.dedup();
        let first = receipts.first().context("a channel without receipts")?;
        let signer = host.map_or_else(|| signer(first), Ok)?;
        let chain = verify_chain(&receipts, signer)
            .map_err(|error| Breach(format!("channel {channel}: {error}{}", because(&error))))?;
        chains.push((signer, chain));
    }
    Ok(Verdict { chains, single })
}

fn because(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

fn breach(receipt: &Receipt, error: &dyn std::error::Error) -> Breach {
    Breach(format!("receipt {}: {error}{}", receipt.id, because(error)))
}

/// Whoever signed it: without `--host` a receipt proves that one host said it, not which.
fn signer(signed: &SignedReceipt) -> Result<Address> {
    recover(signed.receipt.digest(), &signed.signature)
        .map_err(|error| breach(&signed.receipt, &error).into())
}

async fn one(id: &str, args: &GatewayArgs) -> Result<()> {
    let (record, signed, source) = fetch(id, args).await?;
    let host = signer(&signed)?;
    if args.json {
        show::json(&serde_json::to_value(&record)?);
        return Ok(());
    }
    show_receipt(&signed.receipt, host, source);
    Ok(())
}

/// A receipt that is kept here, or else the gateway's, whose signature and sums are good.
async fn fetch(
    id: &str,
    args: &GatewayArgs,
) -> Result<(ReceiptRecord, SignedReceipt, &'static str)> {
    let number: B256 = id
        .parse()
        .with_context(|| format!("`{id}` is no receipt's id: 0x and 64 hexadecimal digits"))?;
    let dir = home::channels_dir(&home::data_dir(args.data.data_dir.as_deref())?);
    let (record, source) = match stored_receipt(&dir, number)? {
        Some(record) => (record, "kept here"),
        None => {
            let answer = get(&args.gateway, &format!("/receipts/{number}")).await;
            let answer = answer.context("it is not kept here, and the gateway does not have it")?;
            (serde_json::from_value(answer)?, "asked of the gateway")
        }
    };
    let signed = SignedReceipt::try_from(record.clone())?;
    let found = signed.receipt.id;
    if found != number {
        bail!("receipt {found} came back, and {number} was asked for: do not trust this gateway");
    }
    let host = signer(&signed)?;
    signed
        .verify(host)
        .map_err(|error| breach(&signed.receipt, &error))?;
    Ok((record, signed, source))
}

fn show_receipt(receipt: &Receipt, host: Address, source: &str) {
    let channel = receipt.channel.map_or_else(
        || "none (one payment)".to_owned(),
        |channel| channel.to_string(),
    );
    let models: Vec<String> = receipt.models.iter().map(ToString::to_string).collect();
    let mut table = show::table(&["receipt", source]);
    for (name, value) in [
        ("id", receipt.id.to_string()),
        (
            "service",
            format!("{} {}", receipt.service, receipt.version),
        ),
        ("method", receipt.method.clone()),
        ("signed by", host.to_string()),
        ("at", show::moment(receipt.issued_at)),
        ("price, at most", money(receipt.price)),
        ("charged", money(receipt.charged)),
        ("channel", channel),
        (
            "channel's count",
            format!("{} to {}", money(receipt.before), money(receipt.after)),
        ),
        ("payer", receipt.payer.to_string()),
        ("provider", receipt.provider.to_string()),
        ("component", receipt.component.to_string()),
        ("models", models.join("\n")),
        ("request", receipt.request.to_string()),
        ("response", receipt.response.to_string()),
        ("engine", receipt.engine.clone()),
        ("deterministic", receipt.deterministic.to_string()),
        ("guest time", format!("{} us", receipt.usage.guest_time_us)),
        ("host time", format!("{} us", receipt.usage.host_time_us)),
        (
            "memory",
            format!("{} bytes", receipt.usage.memory_peak_bytes),
        ),
        ("device", device(&receipt.usage.device)),
        ("of its limits", limited(&receipt.usage.limits)),
        ("other services", hired(&receipt.usage.hires)),
        (
            "made for",
            receipt
                .parent
                .map_or_else(String::new, |parent| parent.to_string()),
        ),
        ("follows", receipt.previous.to_string()),
        ("digest", receipt.digest().to_string()),
    ] {
        table.add_row([name, &value]);
    }
    show::line(table.to_string());
}

fn device(usage: &DeviceUsage) -> String {
    used(&[
        (usage.time_us, "us"),
        (usage.multiply_adds, "multiply-adds"),
        (usage.moved_bytes, "bytes moved"),
        (usage.tokens_read, "tokens read"),
        (usage.tokens_written, "tokens written"),
    ])
}

fn limited(usage: &LimitUsage) -> String {
    used(&[
        (usage.wall_time_us, "us from call to answer"),
        (usage.waited_us, "us waiting for a place"),
        (usage.table_peak_elements, "table elements"),
        (usage.handles_peak, "handles"),
        (usage.host_bytes, "bytes through host calls"),
        (usage.tensor_peak_bytes, "bytes of tensors"),
        (usage.session_peak_bytes, "bytes of sessions"),
        (usage.outbound_requests, "outbound requests"),
        (usage.outbound_bytes, "outbound bytes"),
        (usage.state_bytes, "bytes of state changed"),
        (usage.log_lines, "lines of log"),
    ])
}

fn hired(usage: &HireUsage) -> String {
    match usage.calls {
        0 if usage.spent.is_zero() => "not used".to_owned(),
        calls => format!("{calls} calls for {}", money(usage.spent)),
    }
}

/// What there is any of, a line each.
fn used(parts: &[(u64, &str)]) -> String {
    let used = parts.iter().filter(|(count, _)| *count > 0);
    let used: Vec<String> = used
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if used.is_empty() {
        "not used".to_owned()
    } else {
        used.join("\n")
    }
}

fn list(prefix: Option<&str>, options: &WalletOptions) -> Result<()> {
    let dir = home::channels_dir(&home::data_dir(options.data.data_dir.as_deref())?);
    let mut fitting = channel::stored(&options.data)?
        .into_iter()
        .filter(|stored| {
            let own = stored.snapshot.id.to_string();
            prefix.is_none_or(|prefix| own.starts_with(prefix.trim_end_matches('…')))
        });
    let stored = match (fitting.next(), fitting.next()) {
        (Some(only), None) => only,
        (None, _) => bail!("no such channel: `rialto channel ls` lists them"),
        (Some(_), Some(_)) => {
            bail!("several channels fit: name one, as `rialto channel ls` prints it")
        }
    };
    let receipts = stored_receipts(&dir, stored.snapshot.id)?.into_iter();
    let mut receipts = receipts
        .map(SignedReceipt::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    // Kept as they arrived, and calls at once overtake each other: the chain has one order.
    receipts.sort_by_key(|signed| (signed.receipt.before, signed.receipt.after));
    if options.json {
        let records: Vec<ReceiptRecord> = receipts.iter().map(ReceiptRecord::from).collect();
        show::json(&serde_json::to_value(&records)?);
        return Ok(());
    }
    let mut table = show::table(&["receipt", "when", "what", "charged", "count after"]);
    for SignedReceipt { receipt, .. } in receipts {
        table.add_row([
            show::short(&receipt.id.to_string()),
            show::moment(receipt.issued_at),
            format!("{}.{}", receipt.service, receipt.method),
            money(receipt.charged),
            money(receipt.after),
        ]);
    }
    show::line(table.to_string());
    show::line("check them: rialto receipt ls --json | rialto receipt verify -");
    Ok(())
}

fn contradiction(first: &Path, second: &Path, json: bool) -> Result<()> {
    let (a, b) = (single(first)?, single(second)?);
    let proof = conflict(&a, &b)?;
    let says = match proof.contradiction {
        Contradiction::SameCall => "both are about one call, and say different things of it",
        Contradiction::SamePlace => "both name the same receipt as the one before them",
        Contradiction::SameMoney => "both charge the same part of the channel",
    };
    if json {
        show::json(&json!({
            "contradiction": match proof.contradiction {
                Contradiction::SameCall => "same-call",
                Contradiction::SamePlace => "same-place",
                Contradiction::SameMoney => "same-money",
            },
            "host": proof.host.to_checksum(None),
            "channel": proof.channel.map(|channel| channel.to_string()),
            "says": says,
            "receipts": [ReceiptRecord::from(&a), ReceiptRecord::from(&b)],
            "check": "save each of `receipts` to a file, then: rialto receipt conflict A B",
        }));
        return Ok(());
    }
    show::line(format!(
        "{} proven: {} signed two receipts that cannot both be true",
        show::bold("●"),
        proof.host
    ));
    show::line(format!("  {says}"));
    let mut table = show::table(&["", "one", "the other"]);
    for (name, one, other) in differences(&a.receipt, &b.receipt) {
        table.add_row([name, &one, &other]);
    }
    show::line(table.to_string());
    show::line("with --json: a proof that anybody can check");
    Ok(())
}

/// A receipt's field by name, as people read it.
type Field = (&'static str, fn(&Receipt) -> String);

/// What two receipts say differently.
fn differences(a: &Receipt, b: &Receipt) -> Vec<(&'static str, String, String)> {
    let fields: [Field; 13] = [
        ("id", |receipt| receipt.id.to_string()),
        ("service", |receipt| {
            format!("{} {}", receipt.service, receipt.version)
        }),
        ("method", |receipt| receipt.method.clone()),
        ("request", |receipt| receipt.request.to_string()),
        ("response", |receipt| receipt.response.to_string()),
        ("component", |receipt| receipt.component.to_string()),
        ("price", |receipt| receipt.price.to_string()),
        ("before", |receipt| receipt.before.to_string()),
        ("charged", |receipt| receipt.charged.to_string()),
        ("after", |receipt| receipt.after.to_string()),
        ("follows", |receipt| receipt.previous.to_string()),
        ("signed at", |receipt| show::moment(receipt.issued_at)),
        ("digest", |receipt| receipt.digest().to_string()),
    ];
    fields
        .into_iter()
        .map(|(name, field)| (name, field(a), field(b)))
        .filter(|(_, one, other)| one != other)
        .collect()
}

fn single(file: &Path) -> Result<SignedReceipt> {
    let mut receipts = read(file)?;
    match (receipts.pop(), receipts.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => bail!("{} must hold one receipt", file.display()),
    }
}

/// Receipts of a file: one, a JSON list, one a line, or the evidence that a client kept.
fn read(file: &Path) -> Result<Vec<SignedReceipt>> {
    let mut text = String::new();
    let named = || format!("cannot read {}", file.display());
    match file.to_str() {
        Some("-") => std::io::stdin()
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text),
        _ => std::fs::File::open(file)
            .with_context(named)?
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text),
    }
    .with_context(named)?;
    parse(&text).with_context(|| format!("{} holds something else than receipts", file.display()))
}

fn parse(text: &str) -> Result<Vec<SignedReceipt>> {
    let mut records: Vec<ReceiptRecord> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let mut value = value?;
        if let Some(kept) = value.get_mut("receipts") {
            value = kept.take();
        }
        if value.is_array() {
            records.extend(serde_json::from_value::<Vec<ReceiptRecord>>(value)?);
        } else {
            records.push(serde_json::from_value(value)?);
        }
    }
    if records.is_empty() {
        bail!("there is no receipt in it");
    }
    records
        .into_iter()
        .map(|record| SignedReceipt::try_from(record).map_err(Into::into))
        .collect()
}

/// More than eight thousand receipts, which is what a client keeps of a channel.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use rialto_channels::receipt::Usage;
    use rialto_channels::{Amount, SigningKey};

    use super::*;

    fn host() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn receipt(before: u64, previous: B256) -> Receipt {
        Receipt {
            id: B256::repeat_byte(u8::try_from(before).unwrap() + 1),
            channel: Some(ChannelId(B256::repeat_byte(2))),
            payer: Address::repeat_byte(3),
            provider: Address::repeat_byte(4),
            chain_id: 84532,
            token: Address::repeat_byte(5),
            service: "embed".to_owned(),
            version: "0.1.0".to_owned(),
            component: B256::ZERO,
            models: Vec::new(),
            method: "embed".to_owned(),
            request: B256::ZERO,
            response: B256::ZERO,
            usage: Usage::default(),
            price: Amount::new(10),
            before: before.into(),
            charged: Amount::new(10),
            after: (before + 10).into(),
            issued_at: 0,
            engine: String::new(),
            deterministic: false,
            previous,
            parent: None,
        }
    }

    fn chain() -> Vec<SignedReceipt> {
        let first = receipt(0, B256::ZERO);
        let second = receipt(10, first.digest());
        let third = receipt(20, second.digest());
        [first, second, third]
            .map(|receipt| receipt.sign(&host()))
            .to_vec()
    }

    fn text(receipts: &[SignedReceipt]) -> String {
        let records: Vec<_> = receipts.iter().map(ReceiptRecord::from).collect();
        serde_json::to_string(&records).unwrap()
    }

    #[test]
    fn a_chain_is_good_in_any_order_and_in_every_form() {
        let mut receipts = chain();
        receipts.reverse();
        receipts.push(receipts[0].clone());
        let lines: String = receipts
            .iter()
            .map(|signed| serde_json::to_string(&ReceiptRecord::from(signed)).unwrap() + "\n")
            .collect();
        let evidence = format!("{{\"fault\": \"x\", \"receipts\": {}}}", text(&receipts));
        for form in [text(&receipts), lines, evidence] {
            let verdict = check(parse(&form).unwrap(), Some(host().address())).unwrap();
            let (signer, chain) = &verdict.chains[0];
            assert_eq!((*signer, chain.receipts), (host().address(), 3));
            assert_eq!(chain.after, Amount::new(30));
        }
    }

    #[test]
    fn forged_torn_and_broken_receipts_are_named() {
        let say = |receipts: Vec<SignedReceipt>, host: Option<Address>| {
            let error = check(receipts, host).unwrap_err();
            assert!(error.is::<Breach>(), "{error}");
            error.to_string()
        };
        let mut gap = chain();
        gap.remove(1);
        assert!(say(gap, None).contains("receipt 1 follows"));
        let mut forged = chain();
        forged[1].receipt.response = B256::repeat_byte(9);
        assert!(say(forged, None).contains("signature"));
        assert!(say(chain(), Some(Address::ZERO)).contains("signature"));
        let mut sums = chain();
        let mut wrong = sums[2].receipt.clone();
        wrong.after = Amount::new(31);
        sums[2] = wrong.sign(&host());
        assert!(say(sums, None).contains("add up"));
        assert!(parse("{}").is_err());
        assert!(parse("").is_err());
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn a_contradiction_shows_what_differs() {
        let one = receipt(0, B256::ZERO);
        let other = Receipt {
            charged: Amount::new(9),
            after: Amount::new(9),
            ..one.clone()
        };
        let names: Vec<_> = differences(&one, &other)
            .iter()
            .map(|(name, ..)| *name)
            .collect();
        assert_eq!(names, ["charged", "after", "digest"]);
        assert!(conflict(&one.sign(&host()), &other.sign(&host())).is_ok());
    }
}
