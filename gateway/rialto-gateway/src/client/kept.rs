//! A channel's receipts on disk, a JSON line each, and the evidence against a host that broke its
//! word.
//!
//! The newest receipts are in `receipts/<channel>.jsonl`; older ones move to `.1.jsonl` and so on,
//! and the oldest are dropped: a payer's proof of what it was told, bounded. A receipt lost in a
//! power cut is fetched from its host again, so lines are not synced.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, ChannelId};
use serde_json::json;

use super::StoreError;
use super::receipts::Arrived;
use super::store::{at, private, private_folder};
use crate::record::ReceiptRecord;

/// All receipts kept of a channel, oldest first by arrival.
///
/// # Errors
/// [`StoreError`] for a file that cannot be read.
pub fn stored_receipts(dir: &Path, channel: ChannelId) -> Result<Vec<ReceiptRecord>, StoreError> {
    let mut receipts = Vec::new();
    for number in (0..FILES_MAX).rev() {
        read(&path(dir, channel, number), |receipt| {
            receipts.push(receipt)
        })?;
    }
    Ok(receipts)
}

/// The kept receipt of this id, in any channel.
///
/// # Errors
/// As [`stored_receipts`].
pub fn stored_receipt(dir: &Path, id: B256) -> Result<Option<ReceiptRecord>, StoreError> {
    let folder = dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(at(&folder, source)),
    };
    let mut found = None;
    for entry in entries {
        let path = entry.map_err(|source| at(&folder, source))?.path();
        read(&path, |receipt| {
            if receipt.id == id {
                found = Some(receipt);
            }
        })?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

/// Adds a receipt to a channel's, unless it is there. Blocks.
pub(super) fn keep(
    dir: &Path,
    channel: ChannelId,
    Arrived { signed, again }: &Arrived,
) -> Result<(), StoreError> {
    if *again {
        let stored = stored_receipts(dir, channel)?;
        if stored.iter().any(|stored| stored.id == signed.receipt.id) {
            return Ok(());
        }
    }
    let folder = dir.join(FOLDER);
    private_folder(&folder)?;
    let newest = path(dir, channel, 0);
    let full = fs::metadata(&newest).is_ok_and(|file| file.len() >= FILE_BYTES_MAX);
    if full {
        rotate(dir, channel)?;
    }
    let fails = |source| at(&newest, source);
    // The empty line ends what a power cut may have torn.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, &ReceiptRecord::from(signed))
        .map_err(|error| fails(io::Error::other(error)))?;
    line.push(b'\n');
    let mut file = private()
        .create(true)
        .append(true)
        .open(&newest)
        .map_err(fails)?;
    file.write_all(&line).map_err(fails)
}

/// What a host did wrong, and with what it can be shown.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) channel: ChannelId,
    pub(super) gateway: &'a str,
    pub(super) fault: &'a str,
    pub(super) receipt: Option<&'a SignedReceipt>,
    /// The cumulative charge and the digest of the receipt that it should have followed.
    pub(super) last: Option<(Amount, B256)>,
    /// What the host said that it charged.
    pub(super) charged: Option<Amount>,
}

/// Writes evidence that stays, with the channel's receipts so far. Blocks.
pub(super) fn accuse(dir: &Path, evidence: &Evidence<'_>) -> Result<PathBuf, StoreError> {
    let folder = dir.join(EVIDENCE);
    private_folder(&folder)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let random: u32 = rand::random();
    let path = folder.join(format!("{}-{now}-{random:08x}.json", evidence.channel));
    let fails = |source| at(&path, source);
    let document = json!({
        "channel": evidence.channel.to_string(),
        "gateway": evidence.gateway,
        "fault": evidence.fault,
        "noticed_at": now,
        "receipt": evidence.receipt.map(ReceiptRecord::from),
        "charged": evidence.charged.map(|charged| charged.to_string()),
        "expected_after": evidence.last.map(|(after, digest)| json!({
            "after": after.to_string(),
            "digest": digest,
        })),
        "receipts": stored_receipts(dir, evidence.channel)?,
    });
    let bytes =
        serde_json::to_vec_pretty(&document).map_err(|error| fails(io::Error::other(error)))?;
    let mut file = private().create_new(true).open(&path).map_err(fails)?;
    file.write_all(&bytes).map_err(fails)?;
    file.sync_all().map_err(fails)?;
    Ok(path)
}

fn rotate(dir: &Path, channel: ChannelId) -> Result<(), StoreError> {
    for number in (0..FILES_MAX.saturating_sub(1)).rev() {
        let from = path(dir, channel, number);
        match fs::rename(&from, path(dir, channel, number.saturating_add(1))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(at(&from, source)),
        }
    }
    Ok(())
}

fn read(path: &Path, mut visit: impl FnMut(ReceiptRecord)) -> Result<(), StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(at(path, source)),
    };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|source| at(path, source))?;
        match serde_json::from_str(&line) {
            Ok(receipt) => visit(receipt),
            // A power cut may have torn it; its host still has the receipt.
            Err(_) if line.is_empty() => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a kept line is no receipt");
            }
        }
    }
    Ok(())
}

fn path(dir: &Path, channel: ChannelId, number: u32) -> PathBuf {
    let name = match number {
        0 => format!("{channel}.jsonl"),
        _ => format!("{channel}.{number}.jsonl"),
    };
    dir.join(FOLDER).join(name)
}

const FOLDER: &str = "receipts";
const EVIDENCE: &str = "evidence";
/// About two thousand receipts a file, and so eight thousand a channel.
const FILE_BYTES_MAX: u64 = 2 << 20;
const FILES_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use rialto_channels::SigningKey;
    use rialto_channels::receipt::{Receipt, Usage};

    use super::*;

    fn arrived(number: u8) -> Arrived {
        Arrived {
            signed: receipt(number),
            again: false,
        }
    }

    fn receipt(number: u8) -> SignedReceipt {
        let host = SigningKey::from_bytes(&[7; 32]).unwrap();
        Receipt {
            id: B256::repeat_byte(number),
            channel: Some(ChannelId(B256::repeat_byte(2))),
            payer: Default::default(),
            provider: Default::default(),
            chain_id: 1,
            token: Default::default(),
            service: "s".to_owned(),
            version: "1".to_owned(),
            component: B256::ZERO,
            models: Vec::new(),
            method: "m".to_owned(),
            request: B256::ZERO,
            response: B256::ZERO,
            usage: Usage::default(),
            price: Amount::new(1),
            before: Amount::ZERO,
            charged: Amount::new(1),
            after: Amount::new(1),
            issued_at: 0,
            engine: String::new(),
            deterministic: false,
            previous: B256::ZERO,
            parent: None,
        }
        .sign(&host)
    }

    #[test]
    fn receipts_stay_in_order_and_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let channel = ChannelId(B256::repeat_byte(2));
        for number in 1..=5 {
            keep(dir.path(), channel, &arrived(number)).unwrap();
            rotate(dir.path(), channel).unwrap();
        }
        keep(dir.path(), channel, &arrived(6)).unwrap();
        let kept = stored_receipts(dir.path(), channel).unwrap();
        let ids: Vec<u8> = kept.iter().map(|record| record.id[0]).collect();
        assert_eq!(ids, [3, 4, 5, 6]);
        let found = stored_receipt(dir.path(), B256::repeat_byte(4)).unwrap();
        assert_eq!(found.as_ref(), kept.get(1));
        assert_eq!(
            stored_receipt(dir.path(), B256::repeat_byte(1)).unwrap(),
            None
        );
    }

    #[test]
    fn a_torn_line_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let channel = ChannelId(B256::repeat_byte(2));
        keep(dir.path(), channel, &arrived(1)).unwrap();
        let file = path(dir.path(), channel, 0);
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{whole}{{\"id\":")).unwrap();
        keep(dir.path(), channel, &arrived(2)).unwrap();
        let kept = stored_receipts(dir.path(), channel).unwrap();
        let ids: Vec<u8> = kept.iter().map(|record| record.id[0]).collect();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn evidence_holds_what_was_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let channel = ChannelId(B256::repeat_byte(2));
        keep(dir.path(), channel, &arrived(1)).unwrap();
        let path = accuse(
            dir.path(),
            &Evidence {
                channel,
                gateway: "http://h",
                fault: "forked",
                receipt: Some(&receipt(2)),
                last: Some((Amount::new(1), B256::repeat_byte(3))),
                charged: None,
            },
        )
        .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(document["fault"], "forked");
        assert_eq!(document["receipts"].as_array().unwrap().len(), 1);
        assert_eq!(document["receipt"]["id"], json!(B256::repeat_byte(2)));
    }
}
