//! The gas table: what each operation costs on the in-process chain, compared with the committed
//! docs/gas.md. `RIALTO_WRITE_GAS=1` (`cargo xtask gas`) writes it anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use alloy::consensus::Transaction as _;
use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionReceipt;

use crate::abi::BatchSettlement::{ChannelConfig, VoucherClaim};
use crate::chain::{Chain, Kind};
use crate::permit2::{Permit2Consent, permit};
use crate::splitters::{PROVIDER, PUBLISHER, deployment};
use crate::world::{TOKEN, Who, batch_digest, config, refund_digest, row};

/// Committed numbers may be off by this part before the table counts as out of date.
const TOLERANCE_PERCENT: u64 = 2;

#[test]
fn gas_table_is_up_to_date() {
    crate::chain::run(Kind::Dev, async |chain: Chain| {
        let table = measure(&chain).await;
        check_goals(&table);
        let path = path();
        if std::env::var_os("RIALTO_WRITE_GAS").is_some() {
            std::fs::write(&path, document(&table)).unwrap();
            return;
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        for row in &table {
            let found = committed_row(&committed, row.what);
            for (was, is) in [(found.0, row.execution), (found.1, row.transaction)] {
                assert!(
                    was.abs_diff(is) * 100 <= is * TOLERANCE_PERCENT,
                    "{}: docs/gas.md says {was}, it is {is}; run `cargo xtask gas`",
                    row.what
                );
            }
        }
        let rows = committed.lines().filter(|l| l.ends_with('|')).count();
        assert_eq!(rows, table.len() + 2, "docs/gas.md has other rows");
    });
}

struct Cost {
    what: &'static str,
    /// Without the transaction's own price.
    execution: u64,
    transaction: u64,
}

struct Meter<'a> {
    chain: &'a Chain,
    table: Vec<Cost>,
}

impl Meter<'_> {
    async fn note(&mut self, what: &'static str, receipt: TransactionReceipt) {
        let cost = self.cost(what, &receipt).await;
        self.table.push(cost);
    }

    async fn cost(&self, what: &'static str, receipt: &TransactionReceipt) -> Cost {
        let hash = receipt.transaction_hash;
        let found = self.chain.provider.get_transaction_by_hash(hash).await;
        let transaction = found.unwrap().unwrap();
        let of_byte = |byte: &u8| if *byte == 0 { 4 } else { 16 };
        let calldata: u64 = transaction.input().iter().map(of_byte).sum();
        Cost {
            what,
            execution: receipt.gas_used - 21_000 - calldata,
            transaction: receipt.gas_used,
        }
    }
}

/// A channel of its own for each salt, so that every first is a first.
fn channel(salt: u64) -> ChannelConfig {
    ChannelConfig {
        salt: B256::from(U256::from(salt)),
        ..config(Who::Payer, Who::Receiver)
    }
}

async fn measure(chain: &Chain) -> Vec<Cost> {
    let mut meter = Meter {
        chain,
        table: Vec::new(),
    };
    deposits(&mut meter).await;
    claims(&mut meter).await;
    ways_back(&mut meter).await;
    royalties(&mut meter).await;
    meter.table
}

async fn deposits(meter: &mut Meter<'_>) {
    let chain = meter.chain;
    let by_permit2 = async |salt, nonce, permit: Bytes| {
        let consent = Permit2Consent::new(1000, nonce);
        let call = chain.permit2_deposit_call(&channel(salt), Who::Payer, &consent, permit);
        chain.send(call).await
    };
    // The contract's own balance is not its first, as on any chain in use.
    chain.deposit(&channel(1), Who::Payer, 1000, 1).await;
    let receipt = chain.deposit(&channel(2), Who::Payer, 1000, 2).await;
    meter.note("first deposit, EIP-3009", receipt).await;
    let receipt = chain.deposit(&channel(2), Who::Payer, 1000, 3).await;
    meter.note("further deposit, EIP-3009", receipt).await;
    let receipt = by_permit2(3, 1 << 8, permit(Who::Payer, 1000, 0)).await;
    meter
        .note("first deposit, Permit2 with EIP-2612", receipt)
        .await;
    chain.allow_permit2(Who::Payer, u128::MAX).await;
    let receipt = by_permit2(4, 1 << 9, Bytes::new()).await;
    meter.note("first deposit, Permit2", receipt).await;
    let receipt = by_permit2(4, 1 << 10, Bytes::new()).await;
    meter.note("further deposit, Permit2", receipt).await;
}

async fn claims(meter: &mut Meter<'_>) {
    let chain = meter.chain;
    let mut next = 100;
    let mut rows = async |count: u64| -> Vec<VoucherClaim> {
        let mut rows = Vec::new();
        for _ in 0..count {
            next += 1;
            let config = channel(next);
            chain.deposit(&config, Who::Payer, 1000, next).await;
            rows.push(row(&config, Who::Session, 900, 800));
        }
        rows
    };
    let one = rows(1).await;
    let receipt = chain.claim(one).await;
    meter
        .note("claim, 1 row, the receiver's first", receipt)
        .await;
    for (count, what) in [
        (1, "claim, 1 row"),
        (10, "claim, 10 rows"),
        (100, "claim, 100 rows"),
    ] {
        let many = rows(count).await;
        let receipt = chain.claim(many).await;
        meter.note(what, receipt).await;
    }
    let ten = rows(10).await;
    let signature = Who::Host.sign(batch_digest(&ten));
    let call = chain.settlement().claimWithSignature(ten, signature);
    let receipt = chain.send(call).await;
    meter.note("claimWithSignature, 10 rows", receipt).await;
    let settle = || chain.settlement().settle(Who::Receiver.address(), TOKEN);
    let receipt = chain.send(settle()).await;
    meter.note("settle, the receiver's first", receipt).await;
    let more = rows(1).await;
    chain.claim(more).await;
    let receipt = chain.send(settle()).await;
    meter.note("settle", receipt).await;
}

async fn ways_back(meter: &mut Meter<'_>) {
    let chain = meter.chain;
    let (plain, signed) = (channel(1), channel(2));
    let call = chain.settlement().refund(plain, 100);
    let receipt = chain.send(call.from(Who::Host.address())).await;
    meter.note("refund", receipt).await;
    let signature = Who::Host.sign(refund_digest(&signed, 0, 100));
    let call = chain
        .settlement()
        .refundWithSignature(signed, 100, U256::ZERO, signature);
    let receipt = chain.send(call).await;
    meter.note("refundWithSignature", receipt).await;
}

async fn royalties(meter: &mut Meter<'_>) {
    let chain = meter.chain;
    let factory = chain.factory();
    let deploy = deployment(PUBLISHER.address(), PROVIDER.address(), 500);
    let receipt = chain.send(factory.call_builder(&deploy)).await;
    meter.note("put a splitter in its place", receipt).await;
    let splitter = chain.splitter(500).await;
    let config = ChannelConfig {
        receiver: *splitter.address(),
        ..channel(9)
    };
    chain.deposit(&config, Who::Payer, 10_000, 9).await;
    for (total, what) in [
        (1000, "split settle, a splitter's first"),
        (2000, "split settle"),
    ] {
        chain
            .claim(vec![row(&config, Who::Session, total, total)])
            .await;
        let settle = chain.settlement().settle(*splitter.address(), TOKEN);
        let settle = chain.send(settle).await;
        let release = chain.send(splitter.release(TOKEN)).await;
        let (settle, release) = (
            meter.cost(what, &settle).await,
            meter.cost(what, &release).await,
        );
        meter.table.push(Cost {
            what,
            execution: settle.execution + release.execution,
            transaction: settle.transaction + release.transaction,
        });
    }
}

/// What the canonical contract is said to cost, counted as here: no worse than that.
fn check_goals(table: &[Cost]) {
    let of = |what: &str| {
        table
            .iter()
            .find(|cost| cost.what == what)
            .unwrap()
            .execution
    };
    let goals = [
        (
            "first deposit, EIP-3009",
            of("first deposit, EIP-3009"),
            112_000,
        ),
        (
            "claim, 1 row",
            of("claim, 1 row, the receiver's first"),
            40_000,
        ),
        (
            "each further row",
            (of("claim, 100 rows") - of("claim, 1 row")) / 99,
            17_000,
        ),
        ("settle", of("settle"), 31_000),
    ];
    for (what, found, goal) in goals {
        assert!(
            found <= goal,
            "{what} costs {found}, above the goal of {goal}"
        );
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gas.md")
}

/// A row's two numbers as the committed table has them.
fn committed_row(document: &str, what: &str) -> (u64, u64) {
    let head = format!("| {what} |");
    let line = document.lines().find(|line| line.starts_with(&head));
    let line = line.unwrap_or_else(|| panic!("docs/gas.md lacks `{what}`: run `cargo xtask gas`"));
    let number = |text: &str| text.trim().replace(',', "").parse::<u64>().unwrap();
    let mut cells = line[head.len()..].split('|').map(number);
    let both = (cells.next(), cells.next());
    (both.0.unwrap(), both.1.unwrap())
}

fn document(table: &[Cost]) -> String {
    let mut text = HEAD.to_owned();
    for Cost {
        what,
        execution,
        transaction,
    } in table
    {
        let (execution, transaction) = (grouped(*execution), grouped(*transaction));
        writeln!(text, "| {what} | {execution} | {transaction} |").unwrap();
    }
    text + TAIL
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const HEAD: &str = "\
# Gas

What our contracts cost on the in-process development chain (Prague rules). `cargo xtask gas` measures
and writes this file; a test fails when a number is off by more than 2%.

Two counts. **Execution** is what the contracts do: the transaction's gas less the 21,000 that any
transaction costs and its calldata (16 a non-zero byte, 4 a zero byte). It is what test frameworks report
for a call, except that here all storage is cold and refunds for cleared storage are taken off.
**Transaction** is what the sender pays for, all of it.

On a public chain the canonical contracts stand at these addresses, and cost what they cost; the royalty
splitter is ours everywhere.

| operation | execution | transaction |
|---|---:|---:|
";

const TAIL: &str = "
- A first deposit opens its channel; \"Permit2 with EIP-2612\" gives the allowance in the same transaction.
- The claim \"the receiver's first\" writes the receiver's total for the first time. Rows are of channels
  from which nothing was claimed before.
- A split settle is two transactions: settlement to the splitter, and its release to both parties. A
  splitter is put in its place once for each publisher, provider and share.

Goals, which the same test checks, as execution: first deposit 112,000, first claim of one row 40,000, each
further row 17,000, settle 31,000.
";
