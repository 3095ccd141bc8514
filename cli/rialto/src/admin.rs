//! What a running node tells its own operator: a socket in the data folder, which file permissions
//! guard. Nothing of it can be reached over a network, and it only reads.
//!
//! One question a connection, a word and a line's end; the answer is one JSON value.

use std::path::{Path, PathBuf};

use anyhow::Result;
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
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Context as _, bail};
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::Semaphore;

    use super::{Desk, Node, Path, PathBuf, Result, Value};
    use crate::ledger;

    impl Desk {
        /// Opens the desk; a data folder in which it cannot be opened only has none.
        pub(crate) fn open(node: &Node) -> Self {
            let path = socket(&node.config().data_dir);
            let task = match listen(&path) {
                Ok(listener) => Some(tokio::spawn(serve(listener, node.clone()))),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "`rialto ledger` cannot ask this node");
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

    async fn serve(listener: UnixListener, node: Node) {
        let guests = Arc::new(Semaphore::new(GUESTS_MAX));
        loop {
            let Ok(guest) = Arc::clone(&guests).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let node = node.clone();
                    tokio::spawn(async move {
                        let _guest = guest;
                        match tokio::time::timeout(PATIENCE, answer(stream, &node)).await {
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

    async fn answer(stream: UnixStream, node: &Node) -> Result<()> {
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
            other => json!({ "error": format!("`{other}` is not a question of this version") }),
        };
        write.write_all(&serde_json::to_vec(&answer)?).await?;
        write.shutdown().await?;
        Ok(())
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
    const QUESTION_BYTES_MAX: u64 = 64;
    /// A million journal lines.
    const ANSWER_BYTES_MAX: u64 = 1 << 30;
}

#[cfg(unix)]
pub(crate) use unix::ask;

#[cfg(not(unix))]
impl Desk {
    /// There are no such sockets here.
    pub(crate) fn open(_: &Node) -> Self {
        Self {}
    }
}

/// Asks the node that runs in this data folder: here nobody can.
#[cfg(not(unix))]
pub(crate) async fn ask(_: &Path, _: &str) -> Result<Option<Value>> {
    Ok(None)
}
