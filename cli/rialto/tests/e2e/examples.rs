//! The examples do what their READMEs say, run as a reader runs them.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::installed::{in_repository, run};

/// An example's script.
fn script(example: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(in_repository(&format!("examples/{example}/run.sh")))
        .env("RIALTO", env!("CARGO_BIN_EXE_rialto"))
        .env("CALLS", "24");
    command
}

/// Runs a script; what it prints has to have all of these.
async fn prints(command: &mut Command, wanted: &[&str]) -> Result<String> {
    let done = run(command).await?;
    ensure!(done.success, "{}\n{}", done.stdout, done.stderr);
    for text in wanted {
        ensure!(
            done.stdout.contains(text),
            "`{text}` is not in:\n{}",
            done.stdout
        );
    }
    Ok(done.stdout)
}

async fn shows(example: &str, wanted: &[&str]) -> Result<String> {
    prints(&mut script(example), wanted).await
}

/// The amount before some words.
fn amount(text: &str, words: &str) -> Result<u64> {
    let before = text
        .split(words)
        .next()
        .and_then(|it| it.split_whitespace().last());
    let digits = before.context(words.to_owned())?.replace('.', "");
    digits
        .parse()
        .with_context(|| format!("{digits:?} before `{words}`"))
}

#[tokio::test]
async fn an_agent_reads_a_folder_and_shows_the_bill() -> Result<()> {
    let wanted = [
        "**cats.txt**: Generic text document, group 1",
        "**mouse.md**: Generic text document, group 1",
        "**rent.txt**: Generic text document, group 2",
        "**scan.png**: PNG image, group 2: Tax invoice",
        "├─ ocr.read",
        "└─ embed.embed",
        "0.000500 USDC for its own work",
    ];
    let shown = shows("01-folder-agent", &wanted).await?;
    // What the agent says, what its receipt says, and what the receipts below it come to are one.
    let told = amount(&shown, " in all for others;")?;
    let (others, all) = (
        amount(&shown, " USDC for that of others")?,
        amount(&shown, " USDC in all:")?,
    );
    ensure!((told, told + 500) == (others, all), "{shown}");
    let lines = shown.lines().filter(|line| line.contains("─ "));
    let each = lines.map(|line| amount(line, " USDC"));
    ensure!(each.sum::<Result<u64>>()? == told, "{shown}");
    Ok(())
}

#[tokio::test]
async fn an_agent_with_little_to_spend_says_what_it_left_out() -> Result<()> {
    let wanted = [
        "**rent.txt**: Generic text document, group 2",
        "**scan.png**: PNG image (left out: reading it may cost",
        "└─ embed.embed",
    ];
    prints(script("01-folder-agent").env("SPEND_MAX", "20000"), &wanted).await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_goes_on_where_another_refuses_and_where_there_is_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    prints(
        script("01-folder-agent").arg(folder.path()),
        &["0 in all for others"],
    )
    .await?;
    let scan = std::fs::read(in_repository("examples/01-folder-agent/scan.png"))?;
    std::fs::write(folder.path().join("half.png"), &scan[..scan.len() / 2])?;
    std::fs::write(
        folder.path().join("note.txt"),
        "The cat sleeps on the sofa.",
    )?;
    let wanted = [
        "**half.png**: PNG image (left out: ",
        "**note.txt**: Generic text document, group 1",
        "└─ embed.embed",
    ];
    prints(script("01-folder-agent").arg(folder.path()), &wanted).await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_finds_and_pays_for_tools_over_mcp() -> Result<()> {
    let wanted = [
        "tool     filetype_identify",
        "tool     embed_embed",
        "2 wishes for 321 base units",
        "filetype.identify",
    ];
    shows("02-agent-over-mcp", &wanted).await.map(drop)
}

#[tokio::test]
async fn an_app_that_knows_openai_alone_is_answered() -> Result<()> {
    let wanted = [
        "nearest  The library is closed on Mondays.",
        "the local door spent 0.0004",
    ];
    shows("03-openai-app", &wanted).await.map(drop)
}

#[tokio::test]
async fn curl_sees_the_price_and_a_client_of_x402_pays_it() -> Result<()> {
    let wanted = [
        "402 Payment Required",
        "batch-settlement up to",
        "charged  101 base units",
        "1 receipts of channel",
        "1 receipts outside channels",
    ];
    shows("04-curl-x402", &wanted).await.map(drop)
}

#[tokio::test]
async fn an_agent_shops_between_two_providers() -> Result<()> {
    let wanted = [
        "20 base units  kind-of-file",
        "kind-of-file  charged   21",
        "the cheap one is dead",
        "filetype      charged  101",
        "all 24 calls were answered",
    ];
    shows("05-two-providers", &wanted).await.map(drop)
}

#[tokio::test]
async fn a_loop_of_calls_never_stops_where_a_host_dies() -> Result<()> {
    shows("06-three-hosts", &["is dead", "the loop never stopped"])
        .await
        .map(drop)
}
