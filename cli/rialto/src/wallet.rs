//! The wallet: which account pays, and how it signs.
//!
//! Keys live in the data folder's `wallet/`: `keys/<address>.json` are encrypted, `wallet.toml`
//! names the one in use, and `wallet.key` is the plain key of a development chain or of the first
//! release. Session keys of channels are beside their channels, and are not wallets.

mod commands;
mod files;
mod keystore;
mod password;
mod show;
mod signer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::Address;
use anyhow::{Context, Result, bail};
use rialto_channels::SigningKey;
use rialto_gateway::client::{SignRequest, Signing, Unlocking, Wallet, WalletError};
use rialto_node::keys;
use tokio::sync::OnceCell;

pub(crate) use commands::run;
pub(crate) use files::{Selected, write_private};

use crate::{home, show as screen};
use keystore::Keystore;
use password::Source;
use signer::Signer;

/// A wallet that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) wallet: Arc<dyn Wallet>,
    pub(crate) kind: Kind,
}

/// How a wallet's key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A public key of the development chain.
    Development,
    /// A file that anybody who reads it can spend: of the first release.
    Plain,
    /// A file and a password.
    Encrypted,
    /// Somewhere else, behind a command.
    External,
}

impl Kind {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Development => "development key (public: worth nothing on a real chain)",
            Self::Plain => "plain file: run `rialto wallet encrypt`",
            Self::Encrypted => "encrypted file",
            Self::External => "external signer",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Plain => "plain",
            Self::Encrypted => "encrypted",
            Self::External => "external",
        }
    }

    /// The only chain that this wallet may pay on.
    pub(crate) fn chain(self) -> Option<u64> {
        matches!(self, Self::Development).then_some(DEV_CHAIN_ID)
    }
}

impl Opened {
    /// Whether it signs without a person at the terminal.
    pub(crate) fn asks_nobody(&self, password_file: Option<&Path>) -> bool {
        match self.kind {
            Kind::Development | Kind::Plain | Kind::External => true,
            Kind::Encrypted => password_file.is_some(),
        }
    }
}

/// The wallet in use. Nothing is unlocked before something must be signed.
pub(crate) fn open(data_dir: &Path, password_file: Option<&Path>) -> Result<Opened> {
    let dir = home::wallet_dir(data_dir);
    let plain = dir.join("wallet.key");
    match files::selected(&dir)? {
        Some(Selected::Keystore { address }) => {
            let path = files::key_path(&dir, address);
            Ok(Opened {
                wallet: Arc::new(Locked::new(path, address, Source::new(password_file))),
                kind: Kind::Encrypted,
            })
        }
        Some(Selected::Signer { address, command }) => Ok(Opened {
            wallet: Arc::new(Signer::new(&command, address)),
            kind: Kind::External,
        }),
        Some(Selected::Plain) | None if plain.exists() => {
            let key = keys::load(&plain)?;
            let kind = kind_of_plain(&key);
            if kind == Kind::Plain {
                screen::note(format!(
                    "note: {} is not encrypted: run `rialto wallet encrypt`",
                    plain.display()
                ));
            }
            Ok(Opened {
                wallet: Arc::new(key),
                kind,
            })
        }
        Some(Selected::Plain) | None => bail!(
            "there is no wallet yet: `rialto wallet new` makes one, `rialto wallet import FILE` takes one over, and `rialto up` brings a development wallet"
        ),
    }
}

/// Everybody knows the development chain's keys; one of them needs no password.
fn kind_of_plain(key: &SigningKey) -> Kind {
    if DEV_WALLETS.contains(&key.address()) {
        Kind::Development
    } else {
        Kind::Plain
    }
}

/// An encrypted key file, opened when it is first needed.
#[derive(Debug)]
struct Locked {
    path: PathBuf,
    address: Address,
    source: Source,
    key: OnceCell<SigningKey>,
}

impl Locked {
    fn new(path: PathBuf, address: Address, source: Source) -> Self {
        Self {
            path,
            address,
            source,
            key: OnceCell::new(),
        }
    }

    async fn unlock(&self) -> Result<SigningKey> {
        let key = self
            .key
            .get_or_try_init(|| async {
                let (path, source, address) =
                    (self.path.clone(), self.source.clone(), self.address);
                // The password function takes about a second of a processor.
                tokio::task::spawn_blocking(move || unlock(&path, &source, address)).await?
            })
            .await?;
        Ok(key.clone())
    }
}

impl Wallet for Locked {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a> {
        Box::pin(async move {
            screen::note(format!("wallet    {}", request.purpose));
            let key = self.unlock().await;
            let key = key.map_err(|error| WalletError::Refused(error.into()))?;
            Ok(key.sign(request.digest))
        })
    }

    fn key(&self) -> Unlocking<'_> {
        Box::pin(async move {
            let key = self.unlock().await;
            key.map(Some)
                .map_err(|error| WalletError::Refused(error.into()))
        })
    }
}

fn unlock(path: &Path, source: &Source, address: Address) -> Result<SigningKey> {
    let keystore = files::read_keystore(path)?;
    let password = source.ask(&address.to_checksum(None))?;
    let bytes = open_keystore(&keystore, &password, path)?;
    let key = SigningKey::from_bytes(&bytes)?;
    if key.address() != address {
        bail!("{} holds the key of {}", path.display(), key.address());
    }
    Ok(key)
}

fn open_keystore(
    keystore: &Keystore,
    password: &str,
    path: &Path,
) -> Result<zeroize::Zeroizing<[u8; 32]>> {
    keystore
        .open(password)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// The development chain's id: a test network's, so that its keys cannot hold anything of worth.
const DEV_CHAIN_ID: u64 = 84_532;

/// The ten well-known development accounts.
const DEV_WALLETS: [Address; 10] = {
    use alloy_primitives::address;
    [
        address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        address!("90F79bf6EB2c4f870365E785982E1f101E93b906"),
        address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
        address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
        address!("976EA74026E726554dB657fA54763abd0C3a0aa9"),
        address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
        address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
        address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"),
    ]
};
