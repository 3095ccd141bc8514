//! One conversation with a registry about one repository: addresses, and who we are.
//!
//! Asks first without a word about who we are. Only when the registry asks (status 401) is a login
//! used, and only the one for this registry; without a login an anonymous token is asked for. Not here:
//! what is asked about.

use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
};
use rialto_registry::source::OciReference;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{OciError, challenge::Challenge, login::Login};
use crate::http::{NotPublic, Web, is_loopback, is_private, read_short};

#[derive(Debug)]
pub(super) struct Session {
    web: Web,
    reference: OciReference,
    base: Url,
    login: Option<Login>,
    action: &'static str,
    /// What the registry was satisfied with last.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session {
    pub(super) fn new(
        web: Web,
        reference: OciReference,
        login: Option<Login>,
        action: &'static str,
    ) -> Result<Self, OciError> {
        let wrong = |_| OciError::Answer {
            reference: reference.to_string(),
            what: "host",
            problem: "makes no address".to_owned(),
        };
        let mut base = Url::parse(&format!("http://{}/", reference.host())).map_err(wrong)?;
        if !is_loopback(&base) {
            base = Url::parse(&format!("https://{}/", reference.host())).map_err(wrong)?;
        }
        if !web.may_ask(&base) {
            return Err(OciError::Answer {
                reference: reference.to_string(),
                what: "host",
                problem: NotPublic.to_string(),
            });
        }
        Ok(Self {
            web,
            reference,
            base,
            login,
            action,
            authorization: Mutex::default(),
        })
    }

    pub(super) const fn reference(&self) -> &OciReference {
        &self.reference
    }

    /// Asks for something of the repository and insists on success.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        what: &'static str,
        dress: impl Fn(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<Response, OciError> {
        let response = self.send_any(method, path, dress).await?;
        self.insist(response, what)
    }

    pub(super) fn insist(
        &self,
        response: Response,
        what: &'static str,
    ) -> Result<Response, OciError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(OciError::Status {
            reference: self.reference.to_string(),
            what,
            status: status.as_u16(),
        })
    }

    /// Asks for something of the repository, saying who we are if that is asked.
    pub(super) async fn send_any(
        &self,
        method: Method,
        path: &[&str],
        dress: impl Fn(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<Response, OciError> {
        let url = self.address(path)?;
        let known = self.authorization.lock().await.clone();
        let ask = |authorization: Option<HeaderValue>| {
            let request = dress(self.http().request(method.clone(), url.clone()));
            self.execute(match authorization {
                Some(authorization) => request.header(AUTHORIZATION, authorization),
                None => request,
            })
        };
        let response = ask(known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.not_denied(response);
        }
        // Only the registry itself is told who we are, and says where tokens are had: not whomever it
        // redirects to.
        if response.url().origin() != self.base.origin() {
            return Err(self.wrong("redirect", "leads to where a login is asked for"));
        }
        let authorization = self.answer(&response).await?;
        *self.authorization.lock().await = Some(authorization.clone());
        let response = ask(Some(authorization)).await?;
        self.not_denied(response)
    }

    /// Sends to an address that the registry gave, which need not be the registry's own: then without
    /// a word about who we are.
    pub(super) async fn send_to(
        &self,
        url: Url,
        request: RequestBuilder,
    ) -> Result<Response, OciError> {
        let authorization = self.authorization.lock().await.clone();
        let ours = url.origin() == self.base.origin();
        let response = self
            .execute(match authorization.filter(|_| ours) {
                Some(authorization) => request.header(AUTHORIZATION, authorization),
                None => request,
            })
            .await?;
        self.not_denied(response)
    }

    /// Reads an address that the registry gave, whole or relative to its own. Plain HTTP is only for
    /// registries on this machine.
    pub(super) fn given(&self, location: &str, what: &'static str) -> Result<Url, OciError> {
        let url = self.base.join(location).ok();
        let safe =
            |url: &Url| url.scheme() == "https" || is_loopback(&self.base) && is_private(url);
        url.filter(|url| safe(url) && self.web.may_ask(url))
            .ok_or_else(|| self.wrong(what, "leads to no safe address"))
    }

    pub(super) const fn http(&self) -> &Client {
        self.web.client()
    }

    /// Reads a short answer whole.
    pub(super) async fn read(
        &self,
        response: Response,
        what: &'static str,
        bytes_max: usize,
    ) -> Result<Bytes, OciError> {
        let body = read_short(response, bytes_max);
        let body = body.await.map_err(|error| self.unreachable(error))?;
        body.ok_or_else(|| self.wrong(what, "is too long"))
    }

    pub(super) fn wrong(&self, what: &'static str, problem: &str) -> OciError {
        OciError::Answer {
            reference: self.reference.to_string(),
            what,
            problem: problem.to_owned(),
        }
    }

    fn address(&self, path: &[&str]) -> Result<Url, OciError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| self.wrong("host", "makes no address"))?
            .pop_if_empty()
            .push("v2")
            .extend(self.reference.repository().split('/'))
            .extend(path);
        Ok(url)
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Response, OciError> {
        request
            .send()
            .await
            .map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: reqwest::Error) -> OciError {
        OciError::Http {
            reference: self.reference.to_string(),
            source: error.without_url(),
        }
    }

    fn denied(&self) -> OciError {
        OciError::Denied {
            reference: self.reference.to_string(),
            action: self.action,
        }
    }

    fn not_denied(&self, response: Response) -> Result<Response, OciError> {
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied()),
            _ => Ok(response),
        }
    }

    /// What to say to a registry that asks who we are.
    async fn answer(&self, response: &Response) -> Result<HeaderValue, OciError> {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = challenges.filter_map(|it| Challenge::parse(it.to_str().ok()?));
        match challenges.next() {
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service).await,
            Some(Challenge::Basic) => {
                let login = self.login.as_ref().ok_or_else(|| self.denied())?;
                self.secret(&format!("Basic {}", basic(login)))
            }
            None => Err(self.wrong("challenge", "is of no known kind")),
        }
    }

    /// Asks the registry's token server, with the registry's login or as nobody.
    async fn token(&self, realm: &str, service: Option<String>) -> Result<HeaderValue, OciError> {
        let mut url = self.given(realm, "challenge")?;
        let actions = if self.action == "push" {
            "pull,push"
        } else {
            "pull"
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        if let Some(service) = &service {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", &scope);
        let mut request = self.http().get(url);
        if let Some(login) = &self.login {
            let header = self.secret(&format!("Basic {}", basic(login)))?;
            request = request.header(AUTHORIZATION, header);
        }
        let response = self.not_denied(self.execute(request).await?)?;
        let response = self.insist(response, "token")?;
        let body = self.read(response, "token", TOKEN_BYTES_MAX).await?;
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| self.wrong("token", "cannot be read"))?;
        let token = token.token.or(token.access_token);
        let token = token.ok_or_else(|| self.wrong("token", "is missing"))?;
        self.secret(&format!("Bearer {token}"))
    }

    fn secret(&self, text: &str) -> Result<HeaderValue, OciError> {
        let mut header = HeaderValue::from_str(text)
            .map_err(|_| self.wrong("login or token", "has characters that no header can have"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic(login: &Login) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(format!("{}:{}", login.user, login.password.reveal()))
}

const TOKEN_BYTES_MAX: usize = 64 << 10;
