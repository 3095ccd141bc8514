//! The versions that were deployed, on disk: each a folder of the data folder, and a small record of which
//! runs. The services folder is the operator's and is only read.
//!
//! A version is copied beside and renamed, so that half of one is never seen; what a crash left of it is
//! removed at the next start. The record is durable before the version runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rialto_channels::royalty::{Royalty, Share};
use rialto_registry::{Digest, Manifest};
use serde::{Deserialize, Serialize};

use super::{COMPONENT, Candidate, MANIFEST};
use crate::manifest::{ManifestFileError, read_manifest};
use crate::shelf::{PendingError, Shelf};

/// All deployed versions of this node.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    records: Shelf<Record>,
}

/// What was done with a service since the node came to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name.
    pub(super) service: String,
    /// The version that runs; none for that of the services folder.
    pub(super) current: Option<String>,
    /// What the services folder held when this was written: if it changed since, it wins.
    pub(super) base: Option<String>,
    /// The versions that are kept, the one that ran last first.
    pub(super) kept: Vec<String>,
    /// Whether it takes no new calls.
    pub(super) is_drained: bool,
    /// Whether it was taken off this host.
    pub(super) is_removed: bool,
    /// The royalties of all versions that ever ran: what their splitters hold is released still.
    royalties: Vec<Promise>,
}

/// A royalty as text: publisher, and hundredths of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Promise {
    publisher: alloy_primitives::Address,
    bps: u16,
}

/// What a version is called: its number, and the first part of a digest over all of it.
pub(super) fn id_of(manifest: &Manifest, text: &[u8], component: &[u8]) -> String {
    let parts = [
        *Digest::of(text).as_bytes(),
        *Digest::of(component).as_bytes(),
    ];
    let digest = Digest::of(&parts.concat()).to_string();
    let short: String = digest
        .trim_start_matches("0x")
        .chars()
        .take(ID_DIGITS)
        .collect();
    format!("{}-{short}", manifest.version())
}

impl Kept {
    /// Reads what an earlier process left.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(super) fn open(data_dir: &Path) -> Result<Self, PendingError> {
        let folder = data_dir.join("versions");
        fs::create_dir_all(&folder).map_err(|source| PendingError::Io {
            path: folder.clone(),
            source,
        })?;
        let records = Shelf::open(data_dir.join("deployed"))?;
        let kept = Self { folder, records };
        kept.sweep();
        Ok(kept)
    }

    /// The record of a service; an empty one if nothing was ever done with it.
    pub(super) fn record(&self, service: &str) -> Record {
        self.records.get(service).unwrap_or_else(|| Record {
            service: service.to_owned(),
            ..Record::default()
        })
    }

    /// All records.
    pub(super) fn records(&self) -> BTreeMap<String, Record> {
        let all = self.records.all().into_iter();
        all.map(|record| (record.service.clone(), record)).collect()
    }

    /// Makes a record durable.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then it is as it was.
    pub(super) fn keep(&self, record: Record) -> Result<(), PendingError> {
        self.records.keep(record.service.clone(), record)
    }

    /// Where a version is.
    pub(super) fn folder(&self, service: &str, id: &str) -> PathBuf {
        self.folder.join(service).join(id)
    }

    /// Copies a version in, whole or not at all.
    pub(super) fn add(
        &self,
        service: &str,
        id: &str,
        text: &[u8],
        component: &[u8],
    ) -> io::Result<PathBuf> {
        let target = self.folder(service, id);
        if target.join(COMPONENT).is_file() {
            return Ok(target);
        }
        let parent = self.folder.join(service);
        let halfway = parent.join(format!("{HALFWAY}{id}"));
        if halfway.exists() {
            fs::remove_dir_all(&halfway)?;
        }
        fs::create_dir_all(&halfway)?;
        write_synced(&halfway.join(MANIFEST), text)?;
        write_synced(&halfway.join(COMPONENT), component)?;
        File::open(&halfway)?.sync_all()?;
        fs::rename(&halfway, &target)?;
        File::open(&parent)?.sync_all()?;
        Ok(target)
    }

    /// The models of all versions that are kept. Blocks.
    ///
    /// # Errors
    /// [`ManifestFileError`] for a version that cannot be read. One that is gone cannot come back.
    pub(super) fn models(&self) -> Result<BTreeSet<Digest>, ManifestFileError> {
        let mut models = BTreeSet::new();
        for record in self.records.all() {
            for id in &record.kept {
                let file = self.folder(&record.service, id).join(MANIFEST);
                match read_manifest(&file) {
                    Ok(manifest) => {
                        models.extend(manifest.models().iter().map(|model| model.digest));
                    }
                    Err(ManifestFileError::Read { source, .. })
                        if source.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(models)
    }

    /// Removes a version's files. Failing to costs disk alone.
    pub(super) fn remove(&self, service: &str, id: &str) {
        let folder = self.folder(service, id);
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "an old version cannot be removed");
        }
    }

    /// Removes what no record names: halves of versions, and what a crash left of a deployment.
    fn sweep(&self) {
        let entries = |folder: &Path| {
            let found = fs::read_dir(folder).into_iter().flatten();
            found.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        };
        for service in entries(&self.folder) {
            let record = self.record(&service);
            for id in entries(&self.folder.join(&service)) {
                if !record.kept.contains(&id) {
                    self.remove(&service, &id);
                }
            }
        }
    }
}

impl Record {
    /// A version runs now: it is the first of those that are kept.
    pub(super) fn ran(&mut self, id: &str, manifest: &Manifest) {
        self.kept.retain(|other| other != id);
        self.kept.insert(0, id.to_owned());
        self.current = Some(id.to_owned());
        self.is_removed = false;
        self.promised(manifest);
    }

    /// Remembers a version's royalty.
    pub(super) fn promised(&mut self, manifest: &Manifest) {
        let promise = manifest.royalty().map(|royalty| Promise {
            publisher: royalty.publisher,
            bps: royalty.share.bps(),
        });
        if let Some(promise) = promise
            && !self.royalties.contains(&promise)
        {
            self.royalties.push(promise);
        }
    }

    /// Those beyond `most`, which the record forgets.
    pub(super) fn beyond(&mut self, most: u32) -> Vec<String> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        self.kept.split_off(most.min(self.kept.len()))
    }

    /// The kept version that somebody names: by its number, or whole; the one that ran before this one if
    /// nobody names any.
    pub(super) fn find(&self, wanted: Option<&str>) -> Result<String, Unclear> {
        let Some(wanted) = wanted else {
            let current = if self.is_removed {
                None
            } else {
                self.current.as_ref()
            };
            let before = self.kept.iter().find(|id| Some(*id) != current);
            return before.cloned().ok_or(Unclear::None);
        };
        let names = |id: &&String| {
            let number = id
                .rsplit_once('-')
                .map_or(id.as_str(), |(number, _)| number);
            id.as_str() == wanted || number == wanted
        };
        let mut found = self.kept.iter().filter(names);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Unclear::Several),
            (None, _) => Err(Unclear::Unknown),
        }
    }

    /// The royalties that were ever promised.
    pub(super) fn royalties(&self) -> impl Iterator<Item = Royalty> {
        self.royalties.iter().filter_map(|promise| {
            Some(Royalty {
                publisher: promise.publisher,
                share: Share::from_bps(promise.bps).ok()?,
            })
        })
    }

    /// Which of a service's versions runs from the start: the one that was deployed, unless the services
    /// folder changed since. None if it was taken off this host.
    pub(super) fn choose(
        &mut self,
        kept: &Kept,
        folder: Option<(Box<Candidate>, String)>,
    ) -> Choice {
        if let Some((candidate, id)) = folder {
            if self.base.as_deref() != Some(&id) {
                let was_deployed = self.current.is_some() || self.is_removed;
                (self.base, self.current, self.is_removed) = (Some(id), None, false);
                return Choice::Folder {
                    candidate,
                    is_news: was_deployed,
                };
            }
            if self.current.is_none() && !self.is_removed {
                return Choice::Folder {
                    candidate,
                    is_news: false,
                };
            }
        }
        match &self.current {
            Some(id) if !self.is_removed => Choice::Kept(kept.folder(&self.service, id)),
            Some(_) | None => Choice::Nothing,
        }
    }
}

/// Which version runs from the start.
#[derive(Debug)]
pub(super) enum Choice {
    /// That of the services folder; news if another was deployed before.
    Folder {
        candidate: Box<Candidate>,
        is_news: bool,
    },
    /// The deployed one in this folder.
    Kept(PathBuf),
    /// None.
    Nothing,
}

/// Why no version is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unclear {
    None,
    Several,
    Unknown,
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    File::open(path)?.sync_all()
}

const ID_DIGITS: usize = 12;
const HALFWAY: &str = ".new-";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kept: &[&str], current: Option<&str>) -> Record {
        Record {
            service: "s".to_owned(),
            kept: kept.iter().map(|id| (*id).to_owned()).collect(),
            current: current.map(str::to_owned),
            ..Record::default()
        }
    }

    #[test]
    fn a_version_is_named_by_its_number_or_whole_or_is_the_one_before() {
        let found = record(&["2.0.0-aa", "1.0.0-bb", "1.0.0-cc"], Some("2.0.0-aa"));
        assert_eq!(found.find(None), Ok("1.0.0-bb".to_owned()));
        assert_eq!(found.find(Some("2.0.0")), Ok("2.0.0-aa".to_owned()));
        assert_eq!(found.find(Some("1.0.0-cc")), Ok("1.0.0-cc".to_owned()));
        assert_eq!(found.find(Some("1.0.0")), Err(Unclear::Several));
        assert_eq!(found.find(Some("3.0.0")), Err(Unclear::Unknown));
        assert_eq!(record(&["a-1"], Some("a-1")).find(None), Err(Unclear::None));
        let removed = Record {
            is_removed: true,
            ..record(&["a-1"], Some("a-1"))
        };
        assert_eq!(removed.find(None), Ok("a-1".to_owned()));
    }

    #[test]
    fn the_oldest_are_forgotten_and_the_running_one_never() {
        let mut many = record(&["3-a", "2-a", "1-a"], Some("3-a"));
        assert_eq!(many.beyond(2), ["1-a"]);
        assert_eq!(many.beyond(0), ["2-a"]);
        assert_eq!(many.kept, ["3-a"]);
    }

    #[test]
    fn models_are_those_of_all_versions_that_one_can_go_back_to() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        let digest = |byte: u8| Digest::new([byte; 32]);
        let add = |id: &str, model: u8| {
            let text = format!(
                "name = \"s\"\nversion = \"0.1.0\"\ndescription = \"A service.\"\n\
                 license = \"Apache-2.0\"\ngrants = {{ tensor = true }}\n[[models]]\nname = \"m\"\nsha256 = \"{}\"\n",
                digest(model)
            );
            kept.add("s", id, text.as_bytes(), b"c").unwrap();
        };
        add("1-a", 1);
        add("2-b", 2);
        add("3-c", 3);
        let record = Record {
            is_removed: true,
            ..record(&["3-c", "2-b", "0-gone"], Some("3-c"))
        };
        kept.keep(record).unwrap();
        let models: Vec<_> = kept.models().unwrap().into_iter().collect();
        assert_eq!(models, [digest(2), digest(3)]);
        fs::write(kept.folder("s", "2-b").join(MANIFEST), b"{").unwrap();
        assert!(kept.models().is_err());
    }

    #[test]
    fn half_a_version_and_one_that_no_record_names_are_gone_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        let folder = kept.add("s", "1-a", b"m", b"c").unwrap();
        kept.add("s", "2-b", b"m", b"c").unwrap();
        fs::create_dir_all(dir.path().join("versions/s/.new-3-c")).unwrap();
        kept.keep(record(&["1-a"], Some("1-a"))).unwrap();
        let again = Kept::open(dir.path()).unwrap();
        assert_eq!(again.record("s"), record(&["1-a"], Some("1-a")));
        let left = fs::read_dir(dir.path().join("versions/s")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [folder]);
    }
}
