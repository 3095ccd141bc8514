//! An encrypted key file in the form that Ethereum wallets share (Web3 Secret Storage, version 3):
//! scrypt, AES-128-CTR, and a Keccak-256 check of the password.
//!
//! Files of other wallets are read, also those made with PBKDF2; ours are written with the
//! parameters that geth uses. Limits keep a hostile file from taking the machine's memory.

use std::fmt;

use aes::Aes128;
use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use alloy_primitives::{Address, keccak256};
use ctr::Ctr128BE;
use hmac::Hmac;
use rialto_channels::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key, encrypted. `Debug` shows nothing of it (M7: no key in a log).
#[derive(Serialize, Deserialize)]
pub(crate) struct Keystore {
    version: u32,
    #[serde(default)]
    id: String,
    /// Without `0x`; other wallets may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: u32,
        n: u32,
        r: u32,
        p: u32,
        salt: String,
    },
    Pbkdf2 {
        dklen: u32,
        c: u32,
        prf: String,
        salt: String,
    },
}

/// How much work guessing a password takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    n_log2: u8,
    r: u32,
    p: u32,
}

impl Cost {
    /// As geth's: 256 MiB and about a second.
    pub(crate) const STANDARD: Self = Self {
        n_log2: 18,
        r: 8,
        p: 1,
    };
}

impl Keystore {
    /// Encrypts a key. `random` is fresh.
    pub(crate) fn seal(
        key: &[u8; 32],
        password: &str,
        cost: Cost,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<Self, KeystoreError> {
        let signing = SigningKey::from_bytes(key).map_err(|_| KeystoreError::NotAKey)?;
        let (salt, rest) = random.split_at(SALT_BYTES);
        let (iv, id) = rest.split_at(IV_BYTES);
        let kdf = Kdf::Scrypt {
            dklen: DERIVED_BYTES_U32,
            n: 1_u32
                .checked_shl(cost.n_log2.into())
                .ok_or(KeystoreError::Cost)?,
            r: cost.r,
            p: cost.p,
            salt: hex::encode(salt),
        };
        let derived = kdf.derive(password)?;
        let mut ciphertext = key.to_vec();
        apply_cipher(&derived, iv, &mut ciphertext)?;
        Ok(Self {
            version: VERSION,
            id: uuid(id),
            address: Some(hex::encode(signing.address())),
            crypto: Crypto {
                cipher: CIPHER.to_owned(),
                cipherparams: CipherParams {
                    iv: hex::encode(iv),
                },
                mac: hex::encode(mac(&derived, &ciphertext)),
                ciphertext: hex::encode(&ciphertext),
                kdf,
            },
        })
    }

    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, KeystoreError> {
        let keystore: Self = serde_json::from_str(text)?;
        if keystore.version != VERSION {
            return Err(KeystoreError::Version(keystore.version));
        }
        if keystore.crypto.cipher != CIPHER {
            return Err(KeystoreError::Cipher(keystore.crypto.cipher));
        }
        Ok(keystore)
    }

    /// The text of a file.
    pub(crate) fn to_text(&self) -> Result<String, KeystoreError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Whose key it says it is; only the password proves it.
    pub(crate) fn address(&self) -> Option<Address> {
        let text = self.address.as_deref()?;
        let bytes = hex::decode(text.trim_start_matches("0x")).ok()?;
        Address::try_from(bytes.as_slice()).ok()
    }

    /// Decrypts the key.
    pub(crate) fn open(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let crypto = &self.crypto;
        let mut text = Zeroizing::new(unhex(&crypto.ciphertext)?);
        let derived = crypto.kdf.derive(password)?;
        let expected = unhex(&crypto.mac)?;
        if mac(&derived, &text).as_slice() != expected {
            return Err(KeystoreError::Password);
        }
        apply_cipher(&derived, &unhex(&crypto.cipherparams.iv)?, &mut text)?;
        let key: [u8; 32] = text
            .as_slice()
            .try_into()
            .map_err(|_| KeystoreError::NotAKey)?;
        let key = Zeroizing::new(key);
        let found = SigningKey::from_bytes(&key)
            .map_err(|_| KeystoreError::NotAKey)?
            .address();
        match self.address() {
            Some(stated) if stated != found => Err(KeystoreError::OtherAddress { stated, found }),
            Some(_) | None => Ok(key),
        }
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl Kdf {
    fn derive(&self, password: &str) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, KeystoreError> {
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            Self::Scrypt {
                dklen,
                n,
                r,
                p,
                salt,
            } => {
                check_length(*dklen)?;
                let memory = u64::from(*n)
                    .saturating_mul((*r).into())
                    .saturating_mul(SCRYPT_BLOCK_BYTES);
                if !n.is_power_of_two() || memory > MEMORY_BYTES_MAX || *p > PARALLEL_MAX {
                    return Err(KeystoreError::Cost);
                }
                let n_log2 = u8::try_from(n.ilog2()).map_err(|_| KeystoreError::Cost)?;
                let params = scrypt::Params::new(n_log2, *r, *p, DERIVED_BYTES)
                    .map_err(|_| KeystoreError::Cost)?;
                let salt = unhex(salt)?;
                scrypt::scrypt(password.as_bytes(), &salt, &params, derived.as_mut())
                    .map_err(|_| KeystoreError::Cost)?;
            }
            Self::Pbkdf2 {
                dklen,
                c,
                prf,
                salt,
            } => {
                check_length(*dklen)?;
                if prf != "hmac-sha256" || *c > ROUNDS_MAX {
                    return Err(KeystoreError::Cost);
                }
                let salt = unhex(salt)?;
                pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), &salt, *c, derived.as_mut())
                    .map_err(|_| KeystoreError::Cost)?;
            }
        }
        Ok(derived)
    }
}

fn check_length(dklen: u32) -> Result<(), KeystoreError> {
    if dklen == DERIVED_BYTES_U32 {
        Ok(())
    } else {
        Err(KeystoreError::Cost)
    }
}

fn apply_cipher(
    derived: &[u8; DERIVED_BYTES],
    iv: &[u8],
    text: &mut [u8],
) -> Result<(), KeystoreError> {
    let (key, _) = derived.split_at(CIPHER_KEY_BYTES);
    let mut cipher = Ctr128BE::<Aes128>::new_from_slices(key, iv)
        .map_err(|_| KeystoreError::Cipher("an initial vector of another length".to_owned()))?;
    cipher.apply_keystream(text);
    Ok(())
}

fn mac(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; 32] {
    let (_, second) = derived.split_at(CIPHER_KEY_BYTES);
    keccak256([second, ciphertext].concat()).0
}

fn unhex(text: &str) -> Result<Vec<u8>, KeystoreError> {
    hex::decode(text.trim_start_matches("0x")).map_err(|_| KeystoreError::NotHex)
}

/// A random UUID (version 4) of these bytes.
fn uuid(bytes: &[u8]) -> String {
    let mut digits = hex::encode(bytes);
    digits.replace_range(12..13, "4");
    digits.replace_range(16..17, "a");
    for at in [20, 16, 12, 8] {
        digits.insert(at, '-');
    }
    digits
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeystoreError {
    #[error("the password is wrong")]
    Password,
    #[error("it is no key file of version 3")]
    Json(#[from] serde_json::Error),
    #[error("key files of version {0} are not read; version 3 is")]
    Version(u32),
    #[error("the cipher `{0}` is not known; `aes-128-ctr` is")]
    Cipher(String),
    #[error("its password function, or the work that it asks for, is not accepted")]
    Cost,
    #[error("a field is not hexadecimal")]
    NotHex,
    #[error("it holds no private key")]
    NotAKey,
    #[error("it says that it is {stated}'s, and holds the key of {found}")]
    OtherAddress { stated: Address, found: Address },
}

/// Random bytes for one file: salt, initial vector, name.
pub(crate) const RANDOM_BYTES: usize = SALT_BYTES + IV_BYTES + ID_BYTES;
const SALT_BYTES: usize = 32;
const IV_BYTES: usize = 16;
const ID_BYTES: usize = 16;
const VERSION: u32 = 3;
const CIPHER: &str = "aes-128-ctr";
const CIPHER_KEY_BYTES: usize = 16;
const DERIVED_BYTES: usize = 32;
const DERIVED_BYTES_U32: u32 = 32;
const SCRYPT_BLOCK_BYTES: u64 = 128;
/// Four times what geth asks for.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const PARALLEL_MAX: u32 = 16;
const ROUNDS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Small, so that tests are quick.
    const WEAK: Cost = Cost {
        n_log2: 4,
        r: 8,
        p: 1,
    };
    const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

    /// Made by Python's `eth-keyfile`, with little work so that the test is quick.
    const SCRYPT: &str = r#"{"address":"008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b","crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"60f25f1962fbbae25c49ac3455e43dc9"},"ciphertext":"f28f079c91d5d0ad65da6b4598042dee831fac6c71795e40591c896dca7f79c7","kdf":"scrypt","kdfparams":{"dklen":32,"n":4096,"r":8,"p":1,"salt":"2104f19ef912525f2b4ccc61bfb6a4ed2eac08191a73da2bbea323022e38c648"},"mac":"2109716893ece7937dcc6d24b17dc654187013318d121bd7314b32670f8a80a2"},"id":"23117345-a395-4403-aa4b-6a0438d469e2","version":3}"#;
    /// The example of the format's own definition.
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn files_of_other_wallets_are_read() {
        for file in [SCRYPT, PBKDF2] {
            let key = Keystore::parse(file).unwrap().open("testpassword").unwrap();
            assert!(hex::encode(key.as_slice()) == KEY, "another key came out");
        }
    }

    #[test]
    fn a_key_comes_back_by_its_password_alone() {
        let sealed = Keystore::seal(&[7; 32], "correct horse", WEAK, &[9; RANDOM_BYTES]).unwrap();
        let text = sealed.to_text().unwrap();
        assert!(
            !text.contains(&hex::encode([7; 32])),
            "the key is in the file"
        );
        assert_eq!(format!("{sealed:?}").matches("ciphertext").count(), 0);
        let back = Keystore::parse(&text).unwrap();
        let key = back.open("correct horse").unwrap();
        assert!(key.as_slice() == [7; 32], "another key came out");
        let address = SigningKey::from_bytes(&[7; 32]).unwrap().address();
        assert_eq!(back.address(), Some(address));
        let wrong = back.open("correct horsf");
        assert!(matches!(wrong, Err(KeystoreError::Password)));
    }

    #[test]
    fn hostile_files_are_refused_before_any_work() {
        let check = |from: &str, to: &str| {
            let text = SCRYPT.replace(from, to);
            assert_ne!(text, SCRYPT, "{from}");
            let opened = Keystore::parse(&text).and_then(|file| file.open("testpassword"));
            assert!(opened.is_err(), "{from} -> {to}");
        };
        check("\"n\":4096", "\"n\":1073741824");
        check("\"n\":4096", "\"n\":4095");
        check("\"p\":1", "\"p\":4000000000");
        check("\"r\":8", "\"r\":4000000000");
        check("\"dklen\":32", "\"dklen\":4000000000");
        check("\"version\":3", "\"version\":4");
        check("aes-128-ctr", "aes-128-cbc");
        check("60f25f19", "60");
        check("f28f07", "f28f0");
        check("\"version\":3", "\"version\":3,\"address\":\"00\"}{");
        let other = SCRYPT.replace("008AeEda", "118AeEda");
        let opened = Keystore::parse(&other).unwrap().open("testpassword");
        assert!(matches!(opened, Err(KeystoreError::OtherAddress { .. })));
    }

    #[test]
    fn a_name_is_a_uuid() {
        let name = uuid(&[0xff; 16]);
        assert_eq!(name, "ffffffff-ffff-4fff-afff-ffffffffffff");
    }
}
