//! The parts of a paid call that can be measured alone, each in processor time: signatures, the
//! ledger, and the payment's way through JSON and base64.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_channels::digest::deposit_nonce;
use rialto_channels::payee::ChannelSnapshot;
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, B256, ChainTime, SigningKey, U256};
use rialto_gateway::record::ReceiptRecord;
use rialto_gateway::x402::{header, payment};
use rialto_ledger::{Config, Entry, Ledger, PaymentRecord, StoredAnswer};
use rialto_testkit::mesh::Mesh;

use crate::cpu;
use crate::exchange::{Call, Connection, address};
use crate::payer::{Channel, Payer};
use crate::throughput::PAID_PATH;

/// One round's figures, in microseconds of processor time for one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// Recovering a voucher's signer.
    pub(crate) verify: f64,
    /// Signing a receipt.
    pub(crate) sign: f64,
    /// Looking for an earlier answer to the same payment.
    pub(crate) lookup: f64,
    /// A charge in the ledger, in groups of up to 64.
    pub(crate) commit: f64,
    /// Reading the payment header.
    pub(crate) read_header: f64,
    /// Writing the receipt's header.
    pub(crate) write_header: f64,
}

/// Measures each part alone, round by round.
///
/// # Errors
/// The mesh refuses the call that gives the receipt, or the disk fails.
pub(crate) async fn measure(mesh: &Mesh, scratch: &Path, rounds: u32) -> Result<Vec<Parts>> {
    let mut sample = Sample::take(mesh).await?;
    let ledger = Ledger::open(&scratch.join("ledger"), Config::default())?;
    let mut serial = 0;
    let mut parts = Vec::new();
    for round in 0..=rounds {
        let measured = Parts {
            verify: sample.verify()?,
            sign: sample.sign(),
            lookup: lookup(&ledger)?,
            commit: sample.commit(&ledger, &mut serial).await?,
            read_header: sample.read_header()?,
            write_header: sample.write_header()?,
        };
        if round > 0 {
            // The first one warmed up.
            parts.push(measured);
        }
    }
    Ok(parts)
}

/// A real payment and its receipt.
struct Sample {
    payer: Arc<Payer>,
    channel: Channel,
    host: SigningKey,
    receipt: SignedReceipt,
}

impl Sample {
    async fn take(mesh: &Mesh) -> Result<Self> {
        let call = Call::json(PAID_PATH, r#"{"name":"world"}"#);
        let payer = Payer::new(mesh, &call).await?;
        let mut connection = Connection::open(address(mesh.gateway())?).await?;
        let salt = u64::MAX;
        let mut channel = payer.open(&mut connection, &call, salt, 10).await?;
        let payment = channel.next()?;
        let answer = connection.send(call.request(Some(payment))?).await?;
        let value = answer.headers.get(header::RIALTO_RECEIPT);
        let value = value.context("no receipt")?.as_bytes();
        let receipt = header::decode::<ReceiptRecord>(value)?.try_into()?;
        Ok(Self {
            payer,
            channel,
            host: SigningKey::from_bytes(&[7; 32])?,
            receipt,
        })
    }

    fn verify(&mut self) -> Result<f64> {
        let vouchers: Vec<_> = (0..REPEATS).map(|_| self.channel.voucher()).collect();
        let authorizer = self.channel.config().payer_authorizer;
        timed(vouchers, |voucher| {
            Ok(voucher.verify(self.payer.domain(), authorizer)?)
        })
    }

    fn sign(&self) -> f64 {
        let receipts = vec![self.receipt.receipt.clone(); REPEATS];
        let signed = timed(receipts, |receipt| Ok(receipt.sign(&self.host)));
        signed.unwrap_or_default()
    }

    fn read_header(&mut self) -> Result<f64> {
        let headers: Result<Vec<_>> = (0..REPEATS).map(|_| self.channel.next()).collect();
        timed(headers?, |value| Ok(payment::parse(value.as_bytes())?))
    }

    fn write_header(&self) -> Result<f64> {
        timed(vec![(); REPEATS], |()| {
            Ok(header::encode(&ReceiptRecord::from(&self.receipt))?)
        })
    }

    /// The writer's thread and the queue's both ends: all of this process.
    async fn commit(&mut self, ledger: &Ledger, serial: &mut u64) -> Result<f64> {
        let mut entries = Vec::with_capacity(COMMITS);
        for _ in 0..COMMITS {
            *serial += 1;
            entries.push(self.charge(*serial));
        }
        let start = cpu::own_process();
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let pending: Result<Vec<_>, _> = entries
                .by_ref()
                .take(GROUP)
                .map(|entry| ledger.enqueue(entry))
                .collect();
            for pending in pending? {
                pending.await?;
            }
        }
        Ok(each_us(cpu::own_process().saturating_sub(start), COMMITS))
    }

    /// The charge of call number `serial`, each on one of as many channels as a group has entries.
    fn charge(&mut self, serial: u64) -> Entry {
        let best = self.channel.voucher();
        let mut config = *self.channel.config();
        config.salt = B256::from(U256::from(serial % GROUP as u64));
        let id = config.id(self.payer.domain());
        let mut receipt = self.receipt.clone();
        // Any hash: as with real ones, neighbours in time are no neighbours in the tables.
        receipt.receipt.id = deposit_nonce(&id, B256::from(U256::from(serial)));
        let mut voucher = best;
        voucher.voucher.channel = id;
        let snapshot = ChannelSnapshot {
            config,
            id,
            version: serial,
            balance: Amount::new(u128::MAX),
            claimed: Amount::ZERO,
            charged: Amount::new(u128::from(serial)),
            best: Some(voucher),
            refund_nonce: U256::ZERO,
            withdrawal: None,
            synced_at: ChainTime::new(serial),
            last_receipt: receipt.receipt.previous,
        };
        Entry::Charge {
            snapshot: Some(snapshot),
            payment: PaymentRecord {
                key: deposit_nonce(&id, receipt.receipt.id).0,
                receipt,
                answer: Some(StoredAnswer {
                    content_type: "application/json".to_owned(),
                    body: Bytes::from_static(b"\"hello, world\"").to_vec(),
                }),
            },
        }
    }
}

fn lookup(ledger: &Ledger) -> Result<f64> {
    timed(vec![[0xff; 32]; REPEATS], |key| Ok(ledger.payment(&key)?))
}

/// Processor time of this thread for one item, in microseconds.
fn timed<T, R>(items: Vec<T>, mut work: impl FnMut(T) -> Result<R>) -> Result<f64> {
    let count = items.len();
    let start = cpu::own_thread();
    for item in items {
        black_box(work(item)?);
    }
    Ok(each_us(cpu::own_thread().saturating_sub(start), count))
}

fn each_us(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

const REPEATS: usize = 1_000;
const COMMITS: usize = 2_048;
const GROUP: usize = 64;
