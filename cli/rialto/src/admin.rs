//! What a running node tells its own operator, and does for it: a socket in the data folder, which file
//! permissions guard. Nothing of it can be reached over a network, and who is not the folder's owner is not
//! answered.
//!
//! One line a connection: a question, which is a word and only reads, or an act, which is JSON and changes
//! which services run, never money. The answer is one JSON value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rialto_gateway::Requests;
use rialto_node::Node;
use serde_json::Value;

/// Answers questions while it lives.
#[derive(Debug)]
pub(crate) struct Desk {
    #[cfg(unix)]
    task: Option<tokio::task::JoinHandle<()>>,
    #[cfg(unix)]
    path: PathBuf,
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::time::Duration;

    use anyhow::{Context as _, bail};
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::Semaphore;

    use rialto_gateway::all_metrics;

    use super::{Arc, Desk, Node, Path, PathBuf, Requests, Result, Value};
    use crate::lifecycle::{self, Act};
    use crate::{ledger, top};

    impl Desk {
        /// Opens the desk; a data folder in which it cannot be opened only has none.
        pub(crate) fn open(node: &Node, requests: &Arc<Requests>) -> Self {
            let path = socket(&node.config().data_dir);
            let task = match listen(&path) {
                Ok(listener) => {
                    let known = (node.clone(), Arc::clone(requests));
                    Some(tokio::spawn(serve(listener, known)))
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "`rialto ledger` and `rialto top` cannot ask this node");
                    None
                }
            };
            Self { task, path }
        }
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            if let Some(task) = self.task.take() {
                task.abort();
                std::fs::remove_file(&self.path).ok();
            }
        }
    }

    /// Asks the node that runs in this data folder; none if there is none.
    pub(crate) async fn ask(data_dir: &Path, question: &str) -> Result<Option<Value>> {
        let Ok(stream) = UnixStream::connect(socket(data_dir)).await else {
            return Ok(None);
        };
        let (read, mut write) = stream.into_split();
        write.write_all(format!("{question}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        read.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        let answer: Value = serde_json::from_slice(&answer)
            .context("the running node's answer is cut short: is it stopping?")?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => bail!("the running node says: {error}"),
            None => Ok(Some(answer)),
        }
    }

    /// Of what the desk is asked.
    type Known = (Node, Arc<Requests>);

    async fn serve(listener: UnixListener, known: Known) {
        let guests = Arc::new(Semaphore::new(GUESTS_MAX));
        loop {
            let Ok(guest) = Arc::clone(&guests).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let known = known.clone();
                    tokio::spawn(async move {
                        let _guest = guest;
                        match tokio::time::timeout(PATIENCE, answer(stream, &known)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "a guest of the desk left"),
                            Err(_) => tracing::debug!("a guest of the desk was too slow"),
                        }
                    });
                }
                // Out of descriptors, most likely: what holds them is finished first.
                Err(error) => {
                    tracing::warn!(%error, "the desk cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn answer(stream: UnixStream, (node, requests): &Known) -> Result<()> {
        check_owner(&stream, &node.config().data_dir)?;
        let (read, mut write) = stream.into_split();
        let mut question = String::new();
        let mut bounded = BufReader::new(read.take(QUESTION_BYTES_MAX));
        bounded.read_line(&mut question).await?;
        let answer = match question.trim() {
            "accounts" => match node.accounts().await {
                Ok(accounts) => ledger::to_json(&accounts),
                Err(error) => json!({ "error": error.to_string() }),
            },
            "audit" => match node.audit().await {
                Ok(audit) => ledger::audit_json(&audit),
                Err(error) => json!({ "error": error.to_string() }),
            },
            "services" => lifecycle::standing_json(&node.standing()),
            act if act.starts_with('{') => match serde_json::from_str::<Act>(act) {
                Ok(act) => done(act, node).await,
                Err(error) => json!({ "error": format!("this version cannot do that: {error}") }),
            },
            "metrics" => top::to_json(&all_metrics(node, requests)),
            other => json!({ "error": format!("`{other}` is not a question of this version") }),
        };
        write.write_all(&serde_json::to_vec(&answer)?).await?;
        write.shutdown().await?;
        Ok(())
    }

    /// Does what was asked to its end, also when the one who asked goes away.
    async fn done(act: Act, node: &Node) -> Value {
        let node = node.clone();
        let done = tokio::spawn(async move { act.done_by(&node).await });
        match done.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => json!({ "error": format!("{error:#}") }),
            Err(error) => json!({ "error": format!("it crashed: {error}") }),
        }
    }

    /// Permissions of folders can be changed by mistake: this cannot.
    fn check_owner(stream: &UnixStream, data_dir: &Path) -> Result<()> {
        let asking = stream.peer_cred()?.uid();
        let owner = std::fs::metadata(data_dir)?.uid();
        if asking == owner || asking == 0 {
            return Ok(());
        }
        bail!("user {asking} is not the owner of the data folder");
    }

    fn listen(path: &Path) -> Result<UnixListener> {
        let folder = path.parent().context("a socket is in a folder")?;
        std::fs::create_dir_all(folder)?;
        // Before the socket is there: nobody else may enter the folder.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        // The ledger's own lock has proven that no other node runs in this data folder.
        std::fs::remove_file(path).ok();
        Ok(UnixListener::bind(path)?)
    }

    fn socket(data_dir: &Path) -> PathBuf {
        data_dir.join("admin").join("socket")
    }

    const GUESTS_MAX: usize = 4;
    /// An audit checks some ten thousand receipts a second.
    const PATIENCE: Duration = Duration::from_secs(600);
    const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
    /// A path has at most 4 KiB, of which each byte may be escaped.
    const QUESTION_BYTES_MAX: u64 = 32 << 10;
    /// A million journal lines.
    const ANSWER_BYTES_MAX: u64 = 1 << 30;
}

#[cfg(unix)]
pub(crate) use unix::ask;

#[cfg(not(unix))]
impl Desk {
    /// There are no such sockets here.
    pub(crate) fn open(_: &Node, _: &Arc<Requests>) -> Self {
        Self {}
    }
}

/// Asks the node that runs in this data folder: here nobody can.
#[cfg(not(unix))]
pub(crate) async fn ask(_: &Path, _: &str) -> Result<Option<Value>> {
    Ok(None)
}
