//! A payer's channels on disk: a file for each, held by one program at a time, in which its state is JSON ([`places`]).
//!
//! Losing a file loses no money: the host's corrective answer and the chain give the state back.

pub(super) mod places;
pub(super) mod sealed;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use rialto_channels::payer::PayerSnapshot;
use rialto_channels::{Amount, ChainTime, ChannelConfig, ChannelId, Withdrawal};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::StoreError;
use places::{Keep, Places};

/// A channel as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChannel {
    /// The gateway that it pays.
    pub gateway: String,
    /// Its chain.
    pub chain_id: u64,
    /// Its state.
    pub snapshot: PayerSnapshot,
    /// The cumulative charge and the digest of the newest receipt.
    pub last_receipt: Option<(Amount, B256)>,
    /// The chain's RPC endpoint as it was last used, for when the gateway is gone.
    pub rpc_url: Option<String>,
    /// How the host broke its word: nothing more is signed on this channel.
    pub fault: Option<String>,
    /// What the host has counted as charged and no answer told of, since the channel was opened.
    pub unexplained: Amount,
}

impl StoredChannel {
    /// The file of the key that signs this channel's vouchers; absent where the wallet does.
    #[must_use]
    pub fn session_key(dir: &Path, id: ChannelId) -> PathBuf {
        dir.join(format!("{id}.key"))
    }
}

/// All channels kept in a folder; an absent folder keeps none.
///
/// # Errors
/// [`StoreError`] for the first file that cannot be read.
pub fn stored_channels(dir: &Path) -> Result<Vec<StoredChannel>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(at(dir, source)),
    };
    let mut channels = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| at(dir, source))?.path();
        if is_channel(&path) {
            channels.extend(read(&path)?);
        }
    }
    channels.sort_by_key(|channel| channel.snapshot.id);
    Ok(channels)
}

/// Other files share the folder: locks, keys, what was spent.
fn is_channel(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|stem| stem.parse::<ChannelId>().is_ok())
}

/// One channel's file, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct ChannelFile {
    path: PathBuf,
    places: Mutex<Places>,
    /// What was kept when it was opened.
    found: Option<Vec<u8>>,
    _lock: File,
}

impl ChannelFile {
    /// Takes the channel's lock, waiting at most `wait` for another program.
    pub(super) async fn open(
        dir: &Path,
        id: ChannelId,
        wait: Duration,
    ) -> Result<Self, StoreError> {
        private_folder(dir)?;
        let lock_path = dir.join(format!("{id}.lock"));
        let lock = private()
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|source| at(&lock_path, source))?;
        let deadline = Instant::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy { path: lock_path });
                }
                Err(TryLockError::Error(source)) => return Err(at(&lock_path, source)),
            }
        }
        let path = dir.join(format!("{id}.json"));
        let (places, found) = Places::open(&path)?;
        places.settle()?;
        Ok(Self {
            path,
            places: Mutex::new(places),
            found,
            _lock: lock,
        })
    }

    /// The state that was kept when this was opened, if there was one.
    pub(super) fn load(&self) -> Result<Option<StoredChannel>, StoreError> {
        let found = self.found.as_deref();
        found.map(|json| parse(&self.path, json)).transpose()
    }

    /// Replaces the kept state. Blocks.
    pub(super) fn save(&self, channel: &StoredChannel, keep: Keep) -> Result<(), StoreError> {
        let json = serde_json::to_string(&Record::from(channel));
        let json = json.map_err(|error| at(&self.path, io::Error::other(error)))?;
        self.places().write(&json, keep)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // A write that was cut short left the other place as it was.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces a file as a whole; durable when this returns. Blocks.
pub(crate) fn replace(path: &Path, json: &[u8]) -> Result<(), StoreError> {
    let fails = |source| at(path, source);
    let new = path.with_extension("json.new");
    let file = private().create(true).truncate(true).open(&new);
    let mut file = file.map_err(fails)?;
    file.write_all(json).map_err(fails)?;
    file.sync_all().map_err(fails)?;
    fs::rename(&new, path).map_err(fails)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fails)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    gateway: String,
    chain_id: u64,
    channel: B256,
    config: ConfigRecord,
    balance: String,
    claimed: String,
    charged: String,
    uncertain: String,
    signed_max: String,
    withdrawal: Option<(String, u64)>,
    last_receipt: Option<(String, B256)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rpc_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unexplained: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigRecord {
    payer: Address,
    payer_authorizer: Address,
    receiver: Address,
    receiver_authorizer: Address,
    token: Address,
    withdraw_delay: u64,
    salt: B256,
}

impl From<&StoredChannel> for Record {
    fn from(channel: &StoredChannel) -> Self {
        let state = &channel.snapshot;
        let config = &state.config;
        Self {
            format: FORMAT,
            gateway: channel.gateway.clone(),
            chain_id: channel.chain_id,
            channel: state.id.0,
            config: ConfigRecord {
                payer: config.payer,
                payer_authorizer: config.payer_authorizer,
                receiver: config.receiver,
                receiver_authorizer: config.receiver_authorizer,
                token: config.token,
                withdraw_delay: config.withdraw_delay,
                salt: config.salt,
            },
            balance: state.balance.to_string(),
            claimed: state.claimed.to_string(),
            charged: state.charged.to_string(),
            uncertain: state.uncertain.to_string(),
            signed_max: state.signed_max.to_string(),
            withdrawal: state
                .withdrawal
                .map(|w| (w.amount.to_string(), w.finalizes_at.get())),
            last_receipt: channel
                .last_receipt
                .map(|(after, digest)| (after.to_string(), digest)),
            rpc_url: channel.rpc_url.clone(),
            fault: channel.fault.clone(),
            unexplained: (!channel.unexplained.is_zero()).then(|| channel.unexplained.to_string()),
        }
    }
}

impl TryFrom<Record> for StoredChannel {
    type Error = String;

    fn try_from(record: Record) -> Result<Self, String> {
        if !(FORMAT_FIRST..=FORMAT).contains(&record.format) {
            return Err(format!(
                "format {} is not one of {FORMAT_FIRST} to {FORMAT}",
                record.format
            ));
        }
        let amount = |text: String| text.parse::<Amount>().map_err(|error| error.to_string());
        let config = record.config;
        let withdrawal = record.withdrawal.map(|(text, at)| {
            amount(text).map(|amount| Withdrawal {
                amount,
                finalizes_at: ChainTime::new(at),
            })
        });
        let last_receipt = record
            .last_receipt
            .map(|(after, digest)| amount(after).map(|after| (after, digest)));
        Ok(Self {
            gateway: record.gateway,
            chain_id: record.chain_id,
            snapshot: PayerSnapshot {
                config: ChannelConfig {
                    payer: config.payer,
                    payer_authorizer: config.payer_authorizer,
                    receiver: config.receiver,
                    receiver_authorizer: config.receiver_authorizer,
                    token: config.token,
                    withdraw_delay: config.withdraw_delay,
                    salt: config.salt,
                },
                id: ChannelId(record.channel),
                balance: amount(record.balance)?,
                claimed: amount(record.claimed)?,
                charged: amount(record.charged)?,
                uncertain: amount(record.uncertain)?,
                signed_max: amount(record.signed_max)?,
                withdrawal: withdrawal.transpose()?,
            },
            last_receipt: last_receipt.transpose()?,
            rpc_url: record.rpc_url,
            fault: record.fault,
            unexplained: amount(record.unexplained.unwrap_or_else(|| "0".to_owned()))?,
        })
    }
}

fn read(path: &Path) -> Result<Option<StoredChannel>, StoreError> {
    let json = places::read(path)?;
    json.map(|json| parse(path, &json)).transpose()
}

fn parse(path: &Path, json: &[u8]) -> Result<StoredChannel, StoreError> {
    let wrong = |problem: String| StoreError::Format {
        path: path.to_owned(),
        problem,
    };
    let record: Record = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
    StoredChannel::try_from(record).map_err(wrong)
}

/// Opens files to write, those that are made for their owner alone: an endpoint's URL may hold a
/// token, and receipts tell what was bought.
pub(crate) fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a folder for its owner alone, unless it is there.
pub(crate) fn private_folder(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| at(dir, source))
}

pub(crate) fn at(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

/// What is written; since 2 with the chain's endpoint and the host's fault, since 3 with what no
/// answer told of. How it lies in its file is not told here: one that is nothing but the record is read as well.
const FORMAT: u32 = 3;
const FORMAT_FIRST: u32 = 1;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
