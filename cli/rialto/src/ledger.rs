//! `rialto ledger`: a provider's books: balances, open exposure, what was claimed and settled.
//!
//! A running node is asked over its desk in the data folder; without one the ledger is opened here.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Color, Table};
use rialto_node::{Accounts, AccountsError, Audited, Finding};
use serde_json::{Value, json};

use crate::args::{LedgerArgs, LedgerCommand, LedgerFormat, LedgerView};
use crate::exit::Breach;
use crate::{admin, home, show};

/// Shows the books.
pub(crate) async fn run(args: LedgerArgs) -> Result<()> {
    let (format, sheet) = match args.command {
        None => {
            let books = books(&args.format).await?;
            let sheet = match args.by {
                LedgerView::Channel => by_channel(&books),
                LedgerView::Provider => by_provider(&books),
                LedgerView::Day => by_day(&books),
            };
            (args.format, sheet)
        }
        Some(LedgerCommand::Journal(format)) => {
            let books = books(&format).await?;
            let sheet = journal(&books);
            (format, sheet)
        }
        Some(LedgerCommand::Audit { json, data_dir }) => {
            return audit(data_dir.as_deref(), json).await;
        }
    };
    show_sheet(&sheet, &format)?;
    if sheet.balanced {
        Ok(())
    } else {
        Err(Breach("the books do not balance: debits and credits differ".to_owned()).into())
    }
}

/// The books as JSON: what the desk says, and what `--json` prints the rows of.
pub(crate) fn to_json(accounts: &Accounts) -> Value {
    let channels: Vec<Value> = accounts
        .channels
        .iter()
        .map(|channel| {
            json!({
                "channel": channel.id.to_string(),
                "payer": channel.payer.to_checksum(None),
                "receiver": channel.receiver.to_checksum(None),
                "token": channel.token.to_checksum(None),
                "balance": channel.balance.to_string(),
                "charged": channel.charged.to_string(),
                "exposure": channel.exposure.to_string(),
                "claimable": channel.claimable.to_string(),
                "claimed": channel.claimed.to_string(),
                "withdrawing": channel.is_withdrawing,
            })
        })
        .collect();
    let balances: Vec<Value> = accounts
        .balances
        .iter()
        .map(|line| {
            json!({
                "receiver": line.receiver.to_checksum(None),
                "token": line.token.to_checksum(None),
                "account": line.account,
                "debit": line.debit.to_string(),
                "credit": line.credit.to_string(),
            })
        })
        .collect();
    let journal: Vec<Value> = accounts
        .journal
        .iter()
        .map(|line| {
            json!({
                "day": line.day,
                "channel": line.channel.map(|channel| channel.to_string()),
                "receiver": line.receiver.to_checksum(None),
                "token": line.token.to_checksum(None),
                "from": line.from,
                "to": line.to,
                "amount": line.amount.to_string(),
            })
        })
        .collect();
    json!({
        "channels": channels,
        "balances": balances,
        "journal": journal,
        "balanced": accounts.balanced,
    })
}

/// What an audit found, for the desk.
pub(crate) fn audit_json(audit: &Result<Audited, Finding>) -> Value {
    match audit {
        Ok(audited) => json!({
            "good": true,
            "receipts": audited.receipts,
            "channels": audited.channels,
        }),
        Err(finding) => json!({ "good": false, "finding": finding.to_string() }),
    }
}

/// The running node audits itself: only it has both the ledger and the chain.
async fn audit(data_dir: Option<&std::path::Path>, json: bool) -> Result<()> {
    let data_dir = home::data_dir(data_dir)?;
    if !json {
        show::note("· reading the chain, checking every receipt …");
    }
    let answer = admin::ask(&data_dir, "audit").await?.with_context(|| {
        format!(
            "no node answers in {}: the audit compares the ledger with the chain, so start the node with `rialto up` first",
            data_dir.display()
        )
    })?;
    if json {
        show::json(&answer);
    }
    if answer["good"] == json!(true) {
        if !json {
            show::line(format!(
                "{} the books are right: {} receipts and {} channels agree with their vouchers, with each other and with the chain",
                show::green("●"),
                answer["receipts"],
                answer["channels"]
            ));
        }
        return Ok(());
    }
    let finding = answer["finding"].as_str().unwrap_or("no reason given");
    Err(Breach(format!(
        "the first difference: {finding} (calls that were charged during the audit can look like one: stop new calls and repeat it)"
    ))
    .into())
}

async fn books(format: &LedgerFormat) -> Result<Value> {
    let data_dir = home::data_dir(format.data_dir.as_deref())?;
    if let Some(books) = admin::ask(&data_dir, "accounts").await? {
        check(&books)?;
        return Ok(books);
    }
    match Accounts::of_data_dir(&data_dir).await {
        Ok(accounts) => Ok(to_json(&accounts)),
        Err(error @ AccountsError::Open(_)) => Err(error).with_context(|| {
            format!(
                "a node uses the ledger in {} and does not answer here: run this as the node's user, or stop the node",
                data_dir.display()
            )
        }),
        Err(error) => Err(error.into()),
    }
}

/// Rows under headings, for every format.
#[derive(Debug)]
struct Sheet {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    balanced: bool,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Long and hexadecimal: cut short for people.
    Id,
    Money,
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
    }
}

const fn id(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Id,
    }
}

const fn amount(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Money,
    }
}

fn by_channel(books: &Value) -> Sheet {
    let columns = vec![
        id("channel"),
        id("payer"),
        id("receiver"),
        amount("balance"),
        amount("charged"),
        amount("exposure"),
        amount("claimable"),
        amount("claimed"),
    ];
    let rows = list(books, "channels")
        .iter()
        .map(|channel| {
            columns
                .iter()
                .map(|column| channel[column.name].clone())
                .collect()
        })
        .collect();
    Sheet {
        columns,
        rows,
        balanced: is_balanced(books),
    }
}

/// One row a provider and token: what is in each account, and what of `exact` was booked and never
/// came: it is in no account any more.
fn by_provider(books: &Value) -> Sheet {
    let accounts = [
        "deposits",
        "earned",
        "claimed",
        "settled",
        "refunded",
        "withdrawn",
        "exact",
    ];
    let mut columns = vec![id("receiver"), id("token")];
    columns.extend(accounts.map(amount));
    columns.push(amount(UNPAID));
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for line in list(books, "balances") {
        let Some(at) = accounts.iter().position(|name| line["account"] == *name) else {
            continue; // The payers' own wallets are nobody's provider.
        };
        let key = [line["receiver"].clone(), line["token"].clone()];
        let row = match rows.iter().position(|row| row.starts_with(&key)) {
            Some(found) => found,
            None => {
                let mut row = key.to_vec();
                row.resize(columns.len(), json!("0"));
                rows.push(row);
                rows.len() - 1
            }
        };
        let Some(row) = rows.get_mut(row) else {
            continue;
        };
        if let Some(cell) = row.get_mut(at + key.len()) {
            *cell = json!(difference(line));
        }
        if line["account"] == "exact"
            && let Some(cell) = row.last_mut()
        {
            *cell = json!(units(&line["credit"]).to_string());
        }
    }
    Sheet {
        columns,
        rows,
        balanced: is_balanced(books),
    }
}

/// One row a day: what was deposited, charged, claimed, settled, given back. What a reorganisation
/// undid is subtracted from what it undid, and so is what of `exact` never came: that is shown beside.
fn by_day(books: &Value) -> Sheet {
    let flows = [
        ("deposited", "wallets", "deposits"),
        ("charged", "deposits", "earned"),
        ("claimed", "earned", "claimed"),
        ("settled", "claimed", "settled"),
        ("refunded", "deposits", "refunded"),
        ("withdrawn", "deposits", "withdrawn"),
        ("exact", "wallets", "exact"),
    ];
    let mut columns = vec![text("day")];
    columns.extend(flows.map(|(name, ..)| amount(name)));
    columns.push(amount(UNPAID));
    let mut days: BTreeMap<&str, [Sum; 7]> = BTreeMap::new();
    for line in list(books, "journal") {
        let sums = days
            .entry(line["day"].as_str().unwrap_or_default())
            .or_default();
        for (sum, (_, from, to)) in sums.iter_mut().zip(flows) {
            if line["from"] == from && line["to"] == to {
                sum.moved = sum.moved.saturating_add(units(&line["amount"]));
            } else if line["from"] == to && line["to"] == from {
                sum.undone = sum.undone.saturating_add(units(&line["amount"]));
            }
        }
    }
    let rows = days.into_iter().map(|(day, sums)| {
        // Of the last flow, `exact`.
        let unpaid = sums.last().map_or(U256::ZERO, |exact| exact.undone);
        let sums = sums.map(|sum| json!(less(sum.moved, sum.undone)));
        let cells = [json!(day)].into_iter().chain(sums);
        cells.chain([json!(unpaid.to_string())]).collect()
    });
    Sheet {
        columns,
        rows: rows.collect(),
        balanced: is_balanced(books),
    }
}

/// What was booked for answered calls and never came.
const UNPAID: &str = "unpaid";

/// What moved one way and back.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    moved: U256,
    undone: U256,
}

fn journal(books: &Value) -> Sheet {
    let columns = vec![
        text("day"),
        id("channel"),
        id("receiver"),
        text("from"),
        text("to"),
        amount("amount"),
    ];
    let rows = list(books, "journal")
        .iter()
        .map(|line| {
            columns
                .iter()
                .map(|column| line[column.name].clone())
                .collect()
        })
        .collect();
    Sheet {
        columns,
        rows,
        balanced: is_balanced(books),
    }
}

fn show_sheet(sheet: &Sheet, format: &LedgerFormat) -> Result<()> {
    if format.json {
        let rows: Vec<Value> = sheet
            .rows
            .iter()
            .map(|row| {
                let fields = sheet.columns.iter().zip(row);
                Value::Object(
                    fields
                        .map(|(column, value)| (column.name.to_owned(), value.clone()))
                        .collect(),
                )
            })
            .collect();
        show::json(&json!({ "rows": rows, "balanced": sheet.balanced }));
    } else if format.csv {
        let names: Vec<&str> = sheet.columns.iter().map(|column| column.name).collect();
        show::line(names.join(","));
        for row in &sheet.rows {
            // Names, dates and numbers: nothing here needs quotes.
            show::line(row.iter().map(plain).collect::<Vec<_>>().join(","));
        }
    } else if sheet.rows.is_empty() {
        show::line("nothing has moved yet");
    } else {
        show::line(table(sheet).to_string());
    }
    Ok(())
}

fn table(sheet: &Sheet) -> Table {
    let names: Vec<&str> = sheet.columns.iter().map(|column| column.name).collect();
    let mut table = show::table(&names);
    for row in &sheet.rows {
        table.add_row(
            sheet
                .columns
                .iter()
                .zip(row)
                .map(|(column, value)| cell(*column, value)),
        );
    }
    table
}

fn cell(column: Column, value: &Value) -> Cell {
    let plain = plain(value);
    match column.kind {
        Kind::Text => Cell::new(plain),
        Kind::Id => Cell::new(show::short(&plain)),
        Kind::Money => {
            let cell = Cell::new(tokens(&plain)).set_alignment(CellAlignment::Right);
            match (column.name, plain.as_str()) {
                (_, "0") => cell.fg(Color::DarkGrey),
                ("exposure" | "earned", _) => cell.fg(Color::Yellow),
                (UNPAID, _) => cell.fg(Color::Red),
                ("settled", _) => cell.fg(Color::Green),
                _ => cell,
            }
        }
    }
}

/// Base units as the token's own, without its name: `0.000100`.
fn tokens(units: &str) -> String {
    let (sign, digits) = match units.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", units),
    };
    let digits = format!("{digits:0>7}");
    let (whole, part) = digits.split_at(digits.len() - 6);
    format!("{sign}{whole}.{part}")
}

/// What is in an account: what entered less what left.
fn difference(line: &Value) -> String {
    less(units(&line["debit"]), units(&line["credit"]))
}

fn less(sum: U256, other: U256) -> String {
    match sum.checked_sub(other) {
        Some(left) => left.to_string(),
        None => format!("-{}", other.saturating_sub(sum)),
    }
}

fn units(value: &Value) -> U256 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

fn list<'a>(books: &'a Value, name: &str) -> &'a [Value] {
    books[name]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Refuses books that are not of this form: what cannot be read would count as nothing.
///
/// # Errors
/// Says what is missing, and what to do.
fn check(books: &Value) -> Result<()> {
    let parts = [
        ("journal", &["day", "from", "to"][..], &["amount"][..]),
        ("balances", &["account"], &["debit", "credit"]),
    ];
    for (part, texts, amounts) in parts {
        let lines = books[part].as_array();
        let lines = lines.with_context(|| foreign(&format!("they have no `{part}`")))?;
        for (at, line) in lines.iter().enumerate() {
            let wrong = |field: &str| foreign(&format!("{part}[{at}] has no {field}"));
            if let Some(field) = texts.iter().find(|field| !line[**field].is_string()) {
                bail!(wrong(field));
            }
            let is_amount =
                |value: &Value| value.as_str().is_some_and(|t| t.parse::<U256>().is_ok());
            if let Some(field) = amounts.iter().find(|field| !is_amount(&line[**field])) {
                bail!(wrong(field));
            }
        }
    }
    Ok(())
}

fn foreign(why: &str) -> String {
    format!(
        "the node's books cannot be read: {why}. Is it of another version? Restart it with this one"
    )
}

fn is_balanced(books: &Value) -> bool {
    books["balanced"] == json!(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> Value {
        let line = |account: &str, debit: &str, credit: &str| json!({"receiver": "0xab", "token": "0xcd", "account": account, "debit": debit, "credit": credit});
        let moved = |day: &str, from: &str, to: &str, amount: &str| json!({"day": day, "channel": "0x12", "receiver": "0xab", "token": "0xcd", "from": from, "to": to, "amount": amount});
        json!({
            "channels": [],
            "balances": [
                line("wallets", "0", "10000"),
                line("deposits", "10000", "300"),
                line("earned", "300", "0"),
                line("exact", "80", "30"),
            ],
            "journal": [
                moved("2026-11-21", "wallets", "deposits", "10000"),
                moved("2026-11-22", "deposits", "earned", "100"),
                moved("2026-11-22", "deposits", "earned", "200"),
                moved("2026-11-22", "earned", "claimed", "300"),
                moved("2026-11-23", "claimed", "earned", "250"),
                moved("2026-11-23", "wallets", "exact", "80"),
                moved("2026-11-24", "exact", "wallets", "30"),
            ],
            "balanced": true,
        })
    }

    #[test]
    fn accounts_are_summed_by_provider_and_by_day() {
        let sheet = by_provider(&books());
        let row: Vec<String> = sheet.rows[0].iter().map(plain).collect();
        assert_eq!(
            row,
            [
                "0xab", "0xcd", "9700", "300", "0", "0", "0", "0", "50", "30"
            ]
        );
        let sheet = by_day(&books());
        let rows: Vec<Vec<String>> = sheet
            .rows
            .iter()
            .map(|row| row.iter().map(plain).collect())
            .collect();
        assert_eq!(rows[0][..3], ["2026-11-21", "10000", "0"]);
        assert_eq!(rows[1][..4], ["2026-11-22", "0", "300", "300"]);
        // Only that a claim was undone, not that anything was charged.
        assert_eq!(rows[2][..4], ["2026-11-23", "0", "0", "-250"]);
        assert_eq!(rows[2][7..], ["80", "0"]);
        assert_eq!(rows[3][..2], ["2026-11-24", "0"]);
        assert_eq!(rows[3][7..], ["-30", "30"]);
        assert_eq!(journal(&books()).rows.len(), 7);
    }

    #[test]
    fn books_of_another_form_are_refused_and_not_counted_as_nothing() {
        check(&books()).unwrap();
        for (part, field) in [
            ("journal", "amount"),
            ("journal", "day"),
            ("balances", "debit"),
        ] {
            let mut foreign = books();
            foreign[part][0][field] = json!(7);
            let told = check(&foreign).unwrap_err().to_string();
            assert!(
                told.contains(&format!("{part}[0] has no {field}")),
                "{told}"
            );
        }
        assert!(check(&json!({"journal": []})).is_err());
    }

    #[test]
    fn units_are_shown_as_tokens_to_the_last_one() {
        assert_eq!(tokens("0"), "0.000000");
        assert_eq!(tokens("101"), "0.000101");
        assert_eq!(tokens("12345678"), "12.345678");
    }
}
