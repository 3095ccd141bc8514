//! `rialto artifacts`: what is in the artifact store, what must stay there, and getting more.
//!
//! Works beside a running node, which shares the store. Not here: peers, whom only a node knows.

use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use rialto_node::{
    ArtifactEntry, Artifacts, CollectedArtifacts, Config, Progress, fetch_artifacts,
};
use serde_json::{Value, json};

use crate::progress::Board;
use crate::{home, show};

#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactsCommand {
    /// Fetch one artifact, or what the services in a folder name, and check every digest.
    Fetch {
        /// An address (https, oci, s3, hf or file), or the digest of what is here already.
        #[arg(value_name = "SOURCE|DIGEST")]
        what: Option<String>,
        /// The bytes' SHA-256, which a source must fit; an OCI reference says it itself.
        #[arg(long, value_name = "DIGEST", requires = "what")]
        sha256: Option<String>,
        /// A folder of services (NAME/service.toml).
        #[arg(
            long,
            env = "RIALTO_SERVICES",
            value_name = "DIR",
            required_unless_present = "what"
        )]
        services: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List what is in the store: size, last use, and who pinned it.
    Ls {
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Let an artifact stay, whatever the store needs room for.
    Pin(PinArgs),
    /// Take back a pin.
    Unpin(PinArgs),
    /// Remove what is neither pinned nor in use, the least recently used first.
    Gc {
        /// Until no more than this is used, such as 0, 500MiB or 20GiB.
        #[arg(long, value_name = "SIZE")]
        to: Size,
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// One pin.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// The artifact's SHA-256.
    #[arg(value_name = "DIGEST")]
    digest: String,
    /// Who wants it to stay, or why.
    #[arg(long = "for", value_name = "OWNER", default_value = "operator")]
    owner: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// Which store.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The artifact store; without it, the node's.
    #[arg(long, env = "RIALTO_ARTIFACTS", value_name = "DIR")]
    store: Option<PathBuf>,
    /// The node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl StoreArgs {
    fn dir(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.store {
            return Ok(dir.clone());
        }
        let data_dir = home::data_dir(self.data_dir.as_deref())?;
        let file = data_dir.join("rialto.toml");
        let config = if file.exists() {
            Config::load(&data_dir, &file)?
        } else {
            Config::in_dir(&data_dir)
        };
        Ok(config.artifacts_dir)
    }

    fn open(&self) -> Result<Artifacts> {
        Ok(Artifacts::open(&self.dir()?)?)
    }
}

/// Bytes as people write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
        let factor = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            other => return Err(format!("{other:?} is no unit; use KiB, MiB, GiB or TiB")),
        };
        let number: u64 = number
            .parse()
            .map_err(|error: ParseIntError| error.to_string())?;
        let bytes = number.checked_mul(factor);
        bytes.map(Self).ok_or_else(|| "is too large".to_owned())
    }
}

/// Does what was asked.
pub(crate) async fn run(command: ArtifactsCommand) -> Result<()> {
    match command {
        ArtifactsCommand::Fetch {
            what: Some(what),
            sha256,
            store,
            ..
        } => fetch_one(&what, sha256.as_deref(), &store.open()?).await,
        ArtifactsCommand::Fetch {
            services, store, ..
        } => {
            let services = services.context("name what to fetch, or pass --services")?;
            fetch_all(&services, &store.dir()?).await
        }
        ArtifactsCommand::Ls { json, store } => list(&store.open()?.list()?, json),
        ArtifactsCommand::Pin(args) => {
            if !args.store.open()?.pin(&args.digest, &args.owner)? {
                show::note("not in the store yet; it will stay once it is fetched");
            }
            Ok(())
        }
        ArtifactsCommand::Unpin(args) => {
            if !args.store.open()?.unpin(&args.digest, &args.owner)? {
                bail!("{} has no pin for {}", args.digest, args.owner);
            }
            Ok(())
        }
        ArtifactsCommand::Gc { to, json, store } => {
            collected(&store.open()?.gc(to.0)?, to, json);
            Ok(())
        }
    }
}

/// A board and where to report to for it to show.
fn board() -> (Arc<Board>, Progress) {
    let board = Board::new(false);
    let sink = Arc::clone(&board);
    (board, Progress::new(move |step| sink.show(step)))
}

/// Fetches and checks what the services in a folder name.
async fn fetch_all(services: &Path, store: &Path) -> Result<()> {
    let (board, progress) = board();
    let fetched = fetch_artifacts(services, store, &progress)
        .await
        .with_context(|| format!("the models of {} are not complete", services.display()))?;
    board.finish();
    for (name, digest) in fetched {
        show::line(format!("{name}  {digest}"));
    }
    Ok(())
}

async fn fetch_one(what: &str, digest: Option<&str>, store: &Artifacts) -> Result<()> {
    let (board, progress) = board();
    let fetched = store.fetch(what, digest, &progress).await;
    board.finish();
    let (digest, path) = fetched?;
    show::line(format!("{digest}  {}", path.display()));
    Ok(())
}

fn list(entries: &[ArtifactEntry], json: bool) -> Result<()> {
    if json {
        show::json(&Value::from_iter(entries.iter().map(to_json)));
        return Ok(());
    }
    let mut table = show::table(&["sha256", "size", "pinned by", "last use"]);
    for entry in entries {
        let owners: Vec<&str> = entry.pins.iter().map(|owner| owner.as_str()).collect();
        table.add_row([
            entry.digest.to_string(),
            size(entry.bytes),
            owners.join(", "),
            show::moment(seconds(entry.last_used)),
        ]);
    }
    show::line(table.to_string());
    let total = entries.iter().map(|entry| entry.bytes).sum();
    show::line(format!("{} artifacts, {}", entries.len(), size(total)));
    Ok(())
}

fn to_json(entry: &ArtifactEntry) -> Value {
    let owners = entry.pins.iter().map(|owner| owner.as_str());
    json!({
        "sha256": entry.digest.to_string(),
        "bytes": entry.bytes,
        "pinned_by": Value::from_iter(owners),
        "last_used": seconds(entry.last_used),
    })
}

fn collected(done: &CollectedArtifacts, to: Size, json: bool) {
    if json {
        show::json(&json!({
            "evicted": Value::from_iter(done.evicted.iter().map(to_json)),
            "unfinished_bytes": done.unfinished_bytes,
            "bytes_used": done.bytes_used,
            "pinned": done.pinned,
            "in_use": done.in_use,
        }));
        return;
    }
    for entry in &done.evicted {
        show::line(format!("{}  {}", entry.digest, size(entry.bytes)));
    }
    let used = size(done.bytes_used);
    show::line(format!(
        "{} artifacts removed, {used} used",
        done.evicted.len()
    ));
    if done.bytes_used > to.0 {
        show::note(format!(
            "{} artifacts stay because they are pinned, {} because they are in use or were a moment ago",
            done.pinned, done.in_use
        ));
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Bytes, rounded down to tenths of the largest unit that they fill.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(bits, _)| bytes >> bits > 0);
    let Some((bits, unit)) = fits else {
        return format!("{bytes} B");
    };
    let rest = bytes & ((1 << bits) - 1);
    format!(
        "{}.{} {unit}",
        bytes >> bits,
        ((rest >> (bits - 10)) * 10) >> 10
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("10B", 10),
            ("500MiB", 500 << 20),
            ("2 GiB", 2 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "GiB", "1GB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(
            (size(1023), size(3584 << 10)),
            ("1023 B".to_owned(), "3.5 MiB".to_owned())
        );
    }
}
