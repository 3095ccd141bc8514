//! Who to be at a registry: from the configuration, or from the file that `docker login` writes.
//!
//! Each login belongs to one registry and is shown to no other. Not here: programs that keep
//! passwords elsewhere (credential helpers).

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::OciError;
use crate::{Config, Secret};

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// The login for the registry at `host`, if there is one.
pub(super) async fn find(config: &Config, host: &str) -> Result<Option<Login>, OciError> {
    let mut logins = config.registry_logins.iter();
    if let Some(login) = logins.find(|login| login.registry == host) {
        return Ok(Some(Login {
            user: login.user.clone(),
            password: login.password.clone(),
        }));
    }
    let Some(path) = &config.docker_config else {
        return Ok(None);
    };
    let failed = |source| OciError::Logins {
        path: path.display().to_string(),
        source,
    };
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    let mut limited = file.take(BYTES_MAX);
    limited.read_to_end(&mut text).await.map_err(failed)?;
    in_docker_config(&text, host).map_err(failed)
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: HashMap<String, DockerLogin>,
}

#[derive(Deserialize)]
struct DockerLogin {
    auth: Option<String>,
}

fn in_docker_config(text: &[u8], host: &str) -> io::Result<Option<Login>> {
    let config: DockerConfig = serde_json::from_slice(text)?;
    // Keys are hosts, or addresses as older versions wrote them.
    let named = |key: &str| {
        let rest = key.strip_prefix("https://").unwrap_or(key);
        rest.split('/').next() == Some(host)
    };
    let Some(auth) = config
        .auths
        .iter()
        .find(|(key, _)| named(key))
        .and_then(|(_, login)| login.auth.as_ref())
    else {
        return Ok(None);
    };
    let wrong = || {
        io::Error::new(
            ErrorKind::InvalidData,
            "`auth` is no base64 of user:password",
        )
    };
    let decoded = STANDARD.decode(auth).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
    Ok(Some(Login {
        user: user.to_owned(),
        password: Secret::new(password),
    }))
}

const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_its_registry_alone() {
        let auth = STANDARD.encode("me:pass:word");
        let text = format!(
            r#"{{"auths":{{"r.example:5000":{{"auth":"{auth}"}},"https://old.example/v1/":{{"auth":"{auth}"}},
            "kept.example":{{}}}},"credsStore":"desktop"}}"#
        );
        let find = |host: &str| in_docker_config(text.as_bytes(), host).unwrap();
        let login = find("r.example:5000").unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.reveal()),
            ("me", "pass:word")
        );
        assert!(find("old.example").is_some());
        for other in ["r.example", "evil.example", "kept.example", ""] {
            assert_eq!(find(other), None, "{other}");
        }
        for bad in [
            "",
            "7",
            r#"{"auths":{"r":{"auth":"%"}}}"#,
            r#"{"auths":{"r":{"auth":"bWU="}}}"#,
        ] {
            assert!(in_docker_config(bad.as_bytes(), "r").is_err(), "{bad}");
        }
        assert_eq!(in_docker_config(b"{}", "r").unwrap(), None);
    }
}
