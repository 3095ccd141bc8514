//! `rialto wallet`: makes, takes over, lists, chooses and hands out wallets.

use std::path::Path;

use alloy_primitives::Address;
use anyhow::{Context, Result, bail};
use rialto_channels::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use super::files::{self, Selected};
use super::keystore::{Cost, Keystore, RANDOM_BYTES};
use super::password::{self, Source};
use super::{Kind, Signer, kind_of_plain, open, open_keystore};
use crate::args::{WalletArgs, WalletCommand, WalletOptions};
use crate::{home, show};

/// Runs one of the wallet's commands; none shows the wallet in use.
pub(crate) async fn run(args: WalletArgs) -> Result<()> {
    match args.command {
        None => super::show::run(args.payer).await,
        Some(WalletCommand::Show(payer)) => super::show::run(payer).await,
        Some(WalletCommand::New { select, options }) => make(select, &options),
        Some(WalletCommand::Import {
            file,
            select,
            options,
        }) => import(file.as_deref(), select, &options),
        Some(WalletCommand::Encrypt(options)) => encrypt(&options),
        Some(WalletCommand::Ls(options)) => list(&options),
        Some(WalletCommand::Use {
            address,
            signer,
            options,
        }) => choose(address.as_deref(), signer.as_deref(), &options).await,
        Some(WalletCommand::Export {
            address,
            plain,
            confirm,
            options,
        }) => export(address.as_deref(), plain, confirm.as_deref(), &options),
    }
}

fn make(select: bool, options: &WalletOptions) -> Result<()> {
    let bytes = loop {
        let candidate: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        if SigningKey::from_bytes(&candidate).is_ok() {
            break candidate;
        }
    };
    keep(&bytes, select, options)
}

/// Takes over a key file of another wallet, or a private key as hexadecimal digits: from a file, or
/// typed without echo.
fn import(file: Option<&Path>, select: bool, options: &WalletOptions) -> Result<()> {
    let source = options.source();
    let bytes = match file {
        None => from_hex(&password::prompt("private key (64 hexadecimal digits): ")?)?,
        Some(path) => {
            let text = Zeroizing::new(files::read_bounded(path)?);
            if text.trim_start().starts_with('{') {
                let keystore = files::read_keystore(path)?;
                let whose = keystore
                    .address()
                    .map_or_else(|| "the key file".to_owned(), |address| address.to_string());
                open_keystore(&keystore, &source.ask(&whose)?, path)?
            } else {
                from_hex(&text).with_context(|| {
                    format!("{} is no key file and no private key", path.display())
                })?
            }
        }
    };
    keep(&bytes, select, options)
}

/// Encrypts the plain key of the first release, and removes it when its encrypted form is proven.
fn encrypt(options: &WalletOptions) -> Result<()> {
    let dir = options.dir()?;
    let plain = dir.join("wallet.key");
    if !plain.exists() {
        bail!("there is no plain key here: nothing to encrypt");
    }
    let bytes = from_hex(&Zeroizing::new(files::read_bounded(&plain)?))?;
    let key = SigningKey::from_bytes(&bytes)?;
    if kind_of_plain(&key) == Kind::Development {
        bail!(
            "{} is a development key, which everybody knows: a password would protect nothing. `rialto wallet new` makes a wallet of your own",
            key.address()
        );
    }
    let password = options.source().ask_new()?;
    let path = seal(&dir, &bytes, &password)?;
    let proof = open_keystore(&files::read_keystore(&path)?, &password, &path)?;
    if *proof != *bytes {
        bail!(
            "{} does not hold the key: the plain file stays",
            path.display()
        );
    }
    let address = key.address();
    files::select(&dir, &Selected::Keystore { address })?;
    std::fs::remove_file(&plain).with_context(|| format!("cannot remove {}", plain.display()))?;
    done(
        options,
        address,
        &format!("encrypted in {}; the plain file is gone", path.display()),
    );
    Ok(())
}

fn list(options: &WalletOptions) -> Result<()> {
    let dir = options.dir()?;
    let choice = files::selected(&dir)?;
    let mut rows = Vec::new();
    let plain = dir.join("wallet.key");
    if plain.exists() {
        let key = rialto_node::keys::load(&plain)?;
        let in_use = matches!(choice, None | Some(Selected::Plain));
        rows.push((key.address(), kind_of_plain(&key), in_use));
    }
    for address in files::keystores(&dir)? {
        let in_use = choice == Some(Selected::Keystore { address });
        rows.push((address, Kind::Encrypted, in_use));
    }
    if let Some(Selected::Signer { address, .. }) = &choice {
        rows.push((*address, Kind::External, true));
    }
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(address, kind, in_use)| {
                json!({ "address": address.to_checksum(None), "kind": kind.name(), "in_use": in_use })
            })
            .collect();
        show::json(&rows.into());
        return Ok(());
    }
    if rows.is_empty() {
        show::line("no wallets yet: `rialto wallet new` makes one");
        return Ok(());
    }
    let mut table = show::table(&["", "address", "kept as"]);
    for (address, kind, in_use) in rows {
        let mark = if in_use { "in use" } else { "" };
        table.add_row([mark, &address.to_checksum(None), kind.describe()]);
    }
    show::line(table.to_string());
    Ok(())
}

async fn choose(
    address: Option<&str>,
    signer: Option<&str>,
    options: &WalletOptions,
) -> Result<()> {
    let dir = options.dir()?;
    let asked = address
        .filter(|name| *name != "plain")
        .map(|text| find(&dir, text, signer.is_some()))
        .transpose()?;
    let (choice, found) = match (signer, asked) {
        (Some(command), asked) => {
            let found = Signer::introduce(command).await?;
            if let Some(asked) = asked.filter(|asked| *asked != found) {
                bail!("the signer signs for {found}, not for {asked}");
            }
            let command = command.to_owned();
            (
                Selected::Signer {
                    address: found,
                    command,
                },
                found,
            )
        }
        (None, Some(address)) => (Selected::Keystore { address }, address),
        (None, None) if address == Some("plain") => {
            let key = rialto_node::keys::load(&dir.join("wallet.key"))?;
            (Selected::Plain, key.address())
        }
        (None, None) => bail!("which wallet? name its address, or pass --signer 'COMMAND'"),
    };
    files::select(&dir, &choice)?;
    done(options, found, "is in use now");
    Ok(())
}

/// Prints a key file, encrypted as it is; the private key itself only after the address is typed.
fn export(
    address: Option<&str>,
    plain: bool,
    confirm: Option<&str>,
    options: &WalletOptions,
) -> Result<()> {
    let dir = options.dir()?;
    let address = match (address, files::selected(&dir)?) {
        (Some(text), _) => find(&dir, text, false)?,
        (None, Some(Selected::Keystore { address })) => address,
        (None, _) => bail!("the wallet in use has no key file: name one of `rialto wallet ls`"),
    };
    let path = files::key_path(&dir, address);
    let keystore = files::read_keystore(&path)?;
    if !plain {
        show::line(keystore.to_text()?);
        return Ok(());
    }
    let name = address.to_checksum(None);
    let typed = match confirm {
        Some(text) => text.to_owned(),
        None => {
            show::note("Whoever sees the private key can take everything that the wallet holds.");
            show::ask(&format!("type the address {name} to see it: "))?
        }
    };
    if !typed.trim().eq_ignore_ascii_case(&name) {
        bail!("that is not the address: nothing was shown");
    }
    let key = open_keystore(&keystore, &options.source().ask(&name)?, &path)?;
    show::line(format!("0x{}", hex::encode(key.as_slice())));
    Ok(())
}

/// Encrypts and writes a key, and chooses it if asked to or if there is no other.
fn keep(bytes: &[u8; 32], select: bool, options: &WalletOptions) -> Result<()> {
    let dir = options.dir()?;
    let address = SigningKey::from_bytes(bytes)?.address();
    if files::key_path(&dir, address).exists() {
        bail!("{} is a wallet here already", address.to_checksum(None));
    }
    let password = options.source().ask_new()?;
    let path = seal(&dir, bytes, &password)?;
    let first = open(&options.data_dir()?, None).is_err();
    if select || first {
        files::select(&dir, &Selected::Keystore { address })?;
        done(
            options,
            address,
            &format!("is in use now; its key is in {}", path.display()),
        );
    } else {
        done(
            options,
            address,
            &format!(
                "is kept in {}; `rialto wallet use {address}` pays from it",
                path.display()
            ),
        );
    }
    Ok(())
}

fn seal(dir: &Path, bytes: &[u8; 32], password: &str) -> Result<std::path::PathBuf> {
    let random: [u8; RANDOM_BYTES] = rand::random();
    let keystore = Keystore::seal(bytes, password, Cost::STANDARD, &random)?;
    files::store(dir, SigningKey::from_bytes(bytes)?.address(), &keystore)
}

fn done(options: &WalletOptions, address: Address, what: &str) {
    let address = address.to_checksum(None);
    if options.json {
        show::json(&json!({ "address": address }));
    } else {
        show::line(format!("{address} {what}"));
    }
}

/// An address as a whole, or by the beginning of one that is kept here.
fn find(dir: &Path, text: &str, foreign: bool) -> Result<Address> {
    if foreign && let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wanted = text.to_lowercase();
    let mut fitting = files::keystores(dir)?
        .into_iter()
        .filter(|address| address.to_string().to_lowercase().starts_with(&wanted));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!("no key file of {text} is here: `rialto wallet ls` lists them"),
        (Some(_), Some(_)) => bail!("several addresses begin with {text}: write more of it"),
    }
}

fn from_hex(text: &str) -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), bytes.as_mut())
        .ok()
        .context("a private key is 64 hexadecimal digits")?;
    SigningKey::from_bytes(&bytes)?;
    Ok(bytes)
}

impl WalletOptions {
    fn data_dir(&self) -> Result<std::path::PathBuf> {
        home::data_dir(self.data.data_dir.as_deref())
    }

    fn dir(&self) -> Result<std::path::PathBuf> {
        Ok(home::wallet_dir(&self.data_dir()?))
    }

    fn source(&self) -> Source {
        Source::new(self.data.password_file.as_deref())
    }
}
