//! `rialto artifacts fetch`: models into the store before anything runs.

use std::path::Path;

use anyhow::{Context, Result};
use rialto_node::{Progress, fetch_artifacts};

use crate::progress::Board;
use crate::show;

/// Fetches and checks what the services in a folder name.
pub(crate) async fn fetch(services: &Path, store: &Path) -> Result<()> {
    let board = Board::new(false);
    let sink = std::sync::Arc::clone(&board);
    let progress = Progress::new(move |step| sink.show(step));
    let fetched = fetch_artifacts(services, store, &progress)
        .await
        .with_context(|| format!("the models of {} are not complete", services.display()))?;
    board.finish();
    for (name, digest) in fetched {
        show::line(format!("{name}  {digest}"));
    }
    Ok(())
}
