//! A wallet behind a command: a hardware wallet's tool, a key service, another program.
//!
//! The command is run by the shell for each signature. It reads one JSON object from its input
//! (`address`, `purpose`, `digest`, and `typedData` or `transaction`) and prints the signature as
//! `0x` and 130 hexadecimal digits, alone or as `{"signature": "0x…"}`. Its time and its output are
//! bounded, and only a signature of the expected address is believed.

use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use anyhow::{Context, Result, bail};
use rialto_channels::{Signature, recover};
use rialto_gateway::client::{SignContent, SignRequest, Signing, Wallet, WalletError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// A wallet behind a command.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    command: String,
    address: Address,
    patience: Duration,
}

impl Signer {
    pub(crate) fn new(command: &str, address: Address) -> Self {
        Self {
            command: command.to_owned(),
            address,
            patience: PATIENCE,
        }
    }

    /// Asks for a signature that is good for nothing, to learn whose it is.
    pub(crate) async fn introduce(command: &str) -> Result<Address> {
        let signer = Self::new(command, Address::ZERO);
        let request = introduction();
        let signature = signer.run(&request).await?;
        recover(request.digest, &signature).context("the signer's answer is no signature")
    }

    async fn run(&self, request: &SignRequest) -> Result<Signature> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit()) // It may ask its user something.
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the signer: is there a shell?")?;
        let question = self.question(request).to_string();
        let mut input = child.stdin.take().context("the signer has no input")?;
        let mut output = child.stdout.take().context("the signer has no output")?;
        let answer = async {
            // A signer that needs nothing may end without reading; its answer counts.
            input.write_all(question.as_bytes()).await.ok();
            drop(input);
            let mut answer = Vec::new();
            let mut bounded = (&mut output).take(ANSWER_BYTES_MAX);
            bounded.read_to_end(&mut answer).await?;
            if u64::try_from(answer.len()).is_ok_and(|read| read == ANSWER_BYTES_MAX) {
                bail!("the signer prints more than a signature");
            }
            let status = child.wait().await?;
            if !status.success() {
                bail!("the signer refused ({status})");
            }
            parse(&String::from_utf8_lossy(&answer))
        };
        tokio::time::timeout(self.patience, answer)
            .await
            .with_context(|| format!("the signer did not answer within {:?}", self.patience))?
    }

    fn question(&self, request: &SignRequest) -> Value {
        let mut question = json!({
            "rialto": 1,
            "address": self.address.to_checksum(None),
            "purpose": request.purpose,
            "digest": request.digest,
        });
        match &request.content {
            SignContent::TypedData(data) => question["typedData"] = data.clone(),
            SignContent::Transaction(fields) => question["transaction"] = fields.clone(),
        }
        question
    }
}

impl Wallet for Signer {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a> {
        Box::pin(async move {
            let signature = self.run(request).await;
            signature.map_err(|error| WalletError::Refused(error.into()))
        })
    }
}

/// Signers print the recovery bit as 0 and 1 or as 27 and 28.
fn parse(answer: &str) -> Result<Signature> {
    let answer = answer.trim();
    let text = match serde_json::from_str::<Value>(answer) {
        Ok(value) => value
            .get("signature")
            .or(Some(&value))
            .and_then(Value::as_str)
            .map(str::to_owned),
        Err(_) => Some(answer.to_owned()),
    };
    let text = text.context("the signer's JSON has no `signature`")?;
    let digits = text.trim().trim_start_matches("0x");
    let mut bytes =
        hex::decode(digits).context("the signer printed something else than a signature")?;
    if let Some(v @ (0 | 1)) = bytes.get_mut(V_AT) {
        *v += 27;
    }
    Signature::parse(&bytes).context("the signer printed something else than a signature")
}

/// Typed data that no contract knows.
fn introduction() -> SignRequest {
    let text = |text: &str| keccak256(text.as_bytes());
    let domain = [
        text("EIP712Domain(string name,string version)"),
        text(CHECK_NAME),
        text(CHECK_VERSION),
    ];
    let message = [text("Check(string purpose)"), text(CHECK_PURPOSE)];
    let hash = |words: &[B256]| keccak256(words.concat());
    let envelope = [
        &[0x19, 0x01],
        hash(&domain).as_slice(),
        hash(&message).as_slice(),
    ]
    .concat();
    let field = |name: &str| json!({ "name": name, "type": "string" });
    SignRequest {
        purpose: CHECK_PURPOSE.to_owned(),
        digest: keccak256(envelope),
        content: SignContent::TypedData(json!({
            "types": {
                "EIP712Domain": [field("name"), field("version")],
                "Check": [field("purpose")],
            },
            "primaryType": "Check",
            "domain": { "name": CHECK_NAME, "version": CHECK_VERSION },
            "message": { "purpose": CHECK_PURPOSE },
        })),
    }
}

const CHECK_NAME: &str = "Rialto wallet check";
const CHECK_VERSION: &str = "1";
const CHECK_PURPOSE: &str = "find out which account this signer signs for";
const V_AT: usize = 64;
/// Long enough for a person with a device in hand.
const PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: u64 = 4096;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use rialto_channels::SigningKey;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32]).unwrap()
    }

    fn printing(text: &str) -> String {
        format!("cat >/dev/null; printf '%s' '{text}'")
    }

    #[tokio::test]
    async fn a_signer_introduces_itself_in_any_usual_spelling() {
        let signature = key().sign(introduction().digest);
        let mut low = signature.to_bytes();
        low[V_AT] -= 27;
        for answer in [
            signature.to_hex(),
            format!("{{\"signature\": \"{}\"}}", signature.to_hex()),
            hex::encode(low),
        ] {
            let found = Signer::introduce(&printing(&answer)).await.unwrap();
            assert_eq!(found, key().address());
        }
    }

    #[tokio::test]
    async fn signers_that_do_not_sign_are_refused() {
        let check = async |command: &str, expected: &str| {
            let error = Signer::introduce(command).await.unwrap_err();
            assert!(
                format!("{error:#}").contains(expected),
                "{command}: {error:#}"
            );
        };
        check("exit 3", "refused").await;
        check(&printing("0x12"), "something else").await;
        check(&printing("{}"), "no `signature`").await;
        check("cat >/dev/null; yes", "more than a signature").await;
        let mut slow = Signer::new("cat >/dev/null; sleep 60", Address::ZERO);
        slow.patience = Duration::from_millis(100);
        let error = slow.run(&introduction()).await.unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");
    }

    #[tokio::test]
    async fn a_signer_is_shown_what_it_signs() {
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let signature = key().sign(introduction().digest).to_hex();
        let command = format!("cat > {}; echo {signature}", seen.display());
        Signer::introduce(&command).await.unwrap();
        let question: Value = serde_json::from_slice(&std::fs::read(seen).unwrap()).unwrap();
        assert_eq!(question["typedData"]["primaryType"], "Check");
        assert_eq!(question["digest"], json!(introduction().digest));
    }
}
