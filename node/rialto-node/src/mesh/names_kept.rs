//! How far the chain was read for names, and what was read, kept on disk: a start goes on where the last
//! process stopped.
//!
//! The file is a copy of what the chain says, so nothing rests on it. One that is missing, damaged, or of
//! another chain, registry or first block is left alone, and names are read from the first block again.
//! As many claims are kept as there are in memory: `NAMES_MAX` agents with a name.
//! Not here: asking the chain whether it still is the one that was read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use rialto_chain::client::BlockRef;
use rialto_registry::names::Position;
use rialto_registry::{AgentId, Name, NameBook, RegistryId};
use serde::{Deserialize, Serialize};

use crate::shelf::replace;

/// How far the chain was read for names.
#[derive(Debug)]
pub(super) struct Reading {
    place: Arc<Place>,
    /// The first block whose claims were not taken in.
    next: u64,
    /// A block that was read, and its hash then: if the chain has another one there, it changed.
    last: Option<BlockRef>,
    /// What an earlier process read, until the chain was asked.
    recalled: Option<Recalled>,
    /// Since when the chain has been shorter than what an earlier process read.
    behind_since: Option<Instant>,
    /// Up to where what was read is on disk.
    kept_next: u64,
    /// Whether there are claims that are not on disk.
    has_news: bool,
    /// Whether this process has kept nothing yet.
    is_first: bool,
    keep_again: Instant,
}

/// Which file, and what it has to be of.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    registry: RegistryId,
    from_block: u64,
    /// One after the other: who waits for a file to be written may go away meanwhile.
    writing: Mutex<()>,
}

/// What an earlier process read.
#[derive(Debug)]
struct Recalled {
    names: NameBook,
    last: BlockRef,
}

impl Reading {
    /// Begins where an earlier process stopped, or at `from_block`.
    pub(super) fn open(data_dir: &Path, registry: RegistryId, from_block: u64) -> Self {
        let place = Place {
            path: data_dir.join("names.json"),
            registry,
            from_block,
            writing: Mutex::default(),
        };
        let recalled = match place.read() {
            Ok(recalled) => Some(recalled),
            Err(Unfit::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, path = %place.path.display(), "names are read from the chain again");
                None
            }
        };
        Self {
            next: from_block,
            last: None,
            recalled,
            behind_since: None,
            kept_next: from_block,
            has_news: false,
            is_first: true,
            keep_again: Instant::now() + KEEP_EVERY,
            place: Arc::new(place),
        }
    }

    /// The first block whose claims were not taken in.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The last block that an earlier process read: before anything is read, the chain has to be asked whether
    /// it has it.
    pub(super) fn to_check(&self) -> Option<BlockRef> {
        self.recalled.as_ref().map(|recalled| recalled.last)
    }

    /// What an earlier process read, from where reading goes on: the chain is still the same.
    pub(super) fn recall(&mut self) -> Option<NameBook> {
        let recalled = self.recalled.take()?;
        self.next = recalled.last.number.saturating_add(1);
        self.last = Some(recalled.last);
        self.kept_next = self.next;
        Some(recalled.names)
    }

    /// Whether the chain has been shorter than what an earlier process read for so long; from the first
    /// question on.
    pub(super) fn is_behind_for(&mut self, patience: Duration) -> bool {
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        since.elapsed() >= patience
    }

    /// Forgets what was read: the chain is another one.
    pub(super) fn begin_anew(&mut self) {
        self.recalled = None;
        self.last = None;
        self.next = self.place.from_block;
        self.kept_next = self.next;
        self.has_news = true;
    }

    /// A block that was read, and its hash then.
    pub(super) const fn last(&self) -> Option<BlockRef> {
        self.last
    }

    /// The chain was read up to the block before `next`; with news if there were claims. `last` is that block,
    /// where it was asked for.
    pub(super) fn went_on(&mut self, next: u64, is_news: bool, last: Option<BlockRef>) {
        self.next = next;
        self.has_news |= is_news;
        self.last = last.or(self.last);
    }

    /// Whether what was read up to `next` should be kept. Blocks without claims are soon read again, so few of
    /// them are not worth a file.
    pub(super) fn is_due(&self, next: u64, is_news: bool, is_caught_up: bool) -> bool {
        let blocks = next.saturating_sub(self.kept_next);
        let is_worth_it = is_news || self.has_news || blocks >= BLOCKS_WORTH_KEEPING;
        let is_time = Instant::now() >= self.keep_again || (is_caught_up && self.is_first);
        is_worth_it && is_time
    }

    /// Whether anything was read that is not on disk.
    pub(super) const fn has_unkept(&self) -> bool {
        self.has_news || self.next > self.kept_next
    }

    /// Keeps the claims that stand after the last block whose hash is known; nothing, if more was read.
    pub(super) async fn keep(&mut self, claims: Vec<(AgentId, Name, Position)>) {
        let last = self.last.filter(|last| last.number + 1 == self.next);
        let Some(last) = last else {
            return;
        };
        let begun = Instant::now();
        let place = Arc::clone(&self.place);
        let written = tokio::task::spawn_blocking(move || place.write(last, claims)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.kept_next = self.next;
                self.has_news = false;
                self.is_first = false;
            }
            Err(error) => {
                tracing::warn!(%error, "names that were read are not kept: the next start reads them again");
            }
        }
        // A file of a million names takes its time: writing is never what this node mostly does.
        let pause = begun.elapsed().saturating_mul(WRITING_SHARE);
        self.keep_again = Instant::now() + pause.max(KEEP_EVERY);
    }
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    chain_id: u64,
    /// The identity registry.
    registry: Address,
    from_block: u64,
    /// The first block that was not read.
    next: u64,
    /// The hash of the block before.
    block_hash: B256,
    /// The claims that stand, in the chain's order: agent, name, block, index in the block.
    claims: Vec<(U256, String, u64, u64)>,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the names that were read cannot be read")]
    Io(#[from] io::Error),
    #[error("the file is damaged, or of another version")]
    Json(#[from] serde_json::Error),
    #[error("the file is of another {0}")]
    Other(&'static str),
    #[error("the file's claims make no sense")]
    Claims,
}

impl Place {
    fn read(&self) -> Result<Recalled, Unfit> {
        let file: File = serde_json::from_slice(&std::fs::read(&self.path)?)?;
        let fits = [
            ("version", file.version == VERSION),
            ("chain", file.chain_id == self.registry.chain_id),
            ("registry", file.registry == self.registry.address),
            ("first block", file.from_block == self.from_block),
        ];
        if let Some((what, _)) = fits.into_iter().find(|(_, fits)| !fits) {
            return Err(Unfit::Other(what));
        }
        let number = file.next.checked_sub(1).ok_or(Unfit::Claims)?;
        Ok(Recalled {
            last: BlockRef {
                number,
                hash: file.block_hash,
            },
            names: self.book(file.claims, file.next).ok_or(Unfit::Claims)?,
        })
    }

    /// The claims as they were read; none if they cannot have been.
    fn book(&self, claims: Vec<(U256, String, u64, u64)>, next: u64) -> Option<NameBook> {
        let mut book = NameBook::default();
        let count = claims.len();
        let mut newest = None;
        for (token, name, block, index) in claims {
            let at = Position { block, index };
            let is_later = newest.is_none_or(|newest| at > newest);
            if !is_later || !(self.from_block..next).contains(&block) {
                return None;
            }
            newest = Some(at);
            let name: Name = name.parse().ok()?;
            let registry = self.registry;
            book.claim(AgentId { registry, token }, name.as_str().as_bytes(), at);
        }
        (book.standing().len() == count).then_some(book)
    }

    fn write(&self, last: BlockRef, claims: Vec<(AgentId, Name, Position)>) -> io::Result<()> {
        let claims = claims.into_iter();
        let file = File {
            version: VERSION,
            chain_id: self.registry.chain_id,
            registry: self.registry.address,
            from_block: self.from_block,
            next: last.number.saturating_add(1),
            block_hash: last.hash,
            claims: claims
                .map(|(agent, name, at)| (agent.token, name.to_string(), at.block, at.index))
                .collect(),
        };
        let bytes = serde_json::to_vec(&file)?;
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&self.path, &bytes)
    }
}

const VERSION: u32 = 1;
/// What was read is kept no more often, but for the first time and the last.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// Writing the file takes one part of so many of the time.
const WRITING_SHARE: u32 = 100;
/// So many blocks without a claim are one question to the chain.
const BLOCKS_WORTH_KEEPING: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: BlockRef = BlockRef {
        number: 41,
        hash: B256::repeat_byte(7),
    };

    fn registry(chain_id: u64) -> RegistryId {
        let address = Address::repeat_byte(4);
        RegistryId { chain_id, address }
    }

    fn agent(token: u64) -> AgentId {
        let (registry, token) = (registry(1), U256::from(token));
        AgentId { registry, token }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A folder with two names, read up to [`LAST`].
    async fn kept() -> (tempfile::TempDir, NameBook) {
        let dir = tempfile::tempdir().unwrap();
        let mut reading = Reading::open(dir.path(), registry(1), 5);
        assert!(reading.to_check().is_none() && reading.next() == 5);
        let mut book = NameBook::default();
        for (token, text, block) in [(1, "embed", 6), (2, "embed", 7), (3, "chat", 7)] {
            let at = Position {
                block,
                index: token,
            };
            book.claim(agent(10 - token), text.as_bytes(), at);
        }
        reading.went_on(42, true, Some(LAST));
        reading.keep(book.standing()).await;
        assert!(!reading.has_unkept());
        (dir, book)
    }

    fn open(dir: &tempfile::TempDir) -> Reading {
        Reading::open(dir.path(), registry(1), 5)
    }

    #[tokio::test]
    async fn a_start_goes_on_where_the_last_process_stopped() {
        let (dir, book) = kept().await;
        let mut reading = open(&dir);
        // Nothing counts before the chain was asked.
        assert_eq!((reading.next(), reading.to_check()), (5, Some(LAST)));
        let again = reading.recall().unwrap();
        assert_eq!(again.standing(), book.standing());
        assert_eq!(again.owner(&name("embed")), book.owner(&name("embed")));
        assert_eq!((reading.next(), reading.to_check()), (42, None));
        assert_eq!(reading.last(), Some(LAST));
        assert!(!reading.has_unkept());
        let files = std::fs::read_dir(dir.path()).unwrap();
        assert_eq!(files.count(), 1, "nothing is left halfway");
    }

    #[tokio::test]
    async fn another_chain_begins_at_the_first_block() {
        let (dir, _) = kept().await;
        let mut reading = open(&dir);
        reading.begin_anew();
        assert_eq!((reading.next(), reading.to_check()), (5, None));
        assert!(reading.recall().is_none());
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_not_read() {
        let (dir, _) = kept().await;
        let moved = RegistryId {
            address: Address::repeat_byte(5),
            ..registry(1)
        };
        for (registry, from) in [(registry(2), 5), (moved, 5), (registry(1), 4)] {
            let reading = Reading::open(dir.path(), registry, from);
            assert_eq!((reading.next(), reading.to_check()), (from, None));
        }
        assert!(open(&dir).to_check().is_some());
    }

    #[tokio::test]
    async fn a_broken_file_is_not_read() {
        let (dir, _) = kept().await;
        let path = dir.path().join("names.json");
        let good = std::fs::read_to_string(&path).unwrap();
        let half = &good[..good.len() / 2];
        let broken = [
            String::new(),
            half.to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"next\":42", "\"next\":0"),
            // Claims that come later than what was read, and names that are none.
            good.replace("\"next\":42", "\"next\":7"),
            good.replace("chat", "No Name"),
            good.replace(",6,1]", ",8,1]"),
        ];
        for text in broken {
            assert_ne!(text, good);
            std::fs::write(&path, &text).unwrap();
            assert!(open(&dir).to_check().is_none(), "{text}");
        }
        // It is replaced by the next one.
        let mut reading = open(&dir);
        reading.went_on(42, false, Some(LAST));
        reading.keep(Vec::new()).await;
        assert_eq!(open(&dir).to_check(), Some(LAST));
    }

    #[tokio::test]
    async fn little_is_not_worth_a_file_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut reading = open(&dir);
        assert!(!reading.is_due(42, false, true) && !reading.is_due(42, true, false));
        assert!(reading.is_due(42, true, true));
        reading.went_on(42, true, Some(LAST));
        reading.went_on(43, true, None);
        // Of what was read last it is not known which chain it is of.
        reading.keep(Vec::new()).await;
        assert!(reading.has_unkept() && open(&dir).to_check().is_none());
        let number = LAST.number + 1;
        reading.went_on(43, false, Some(BlockRef { number, ..LAST }));
        reading.keep(Vec::new()).await;
        assert!(!reading.has_unkept() && !reading.is_due(44, true, true));
        assert_eq!(open(&dir).to_check().map(|last| last.number), Some(number));
        reading.keep_again = Instant::now();
        assert!(reading.is_due(44, true, false) && !reading.is_due(44, false, true));
    }

    #[tokio::test]
    async fn a_chain_that_is_shorter_gets_some_time() {
        let (dir, _) = kept().await;
        let mut reading = open(&dir);
        assert!(!reading.is_behind_for(Duration::from_secs(60)));
        assert!(reading.is_behind_for(Duration::ZERO));
    }
}
