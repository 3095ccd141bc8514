//! What the operator of a gateway may set; every limit has a default.

use std::time::Duration;

/// Limits and addresses of the HTTP door.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL that clients reach this host by, without a trailing slash. None takes the request's
    /// `Host` and plain HTTP.
    pub public_url: Option<String>,
    /// The largest request body, in bytes that really arrive.
    pub body_bytes_max: usize,
    /// All request bodies held at once, in bytes; beyond it requests are refused with 503.
    pub bodies_bytes_max: usize,
    /// How long a request's head may take, which is also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// How long a request's body may take as a whole.
    pub body_timeout: Duration,
    /// How long a body may pause.
    pub body_pause_max: Duration,
    /// Connections served at once; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long requests in progress may take to finish after a shutdown was asked for.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: None,
            body_bytes_max: 16 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            body_pause_max: Duration::from_secs(15),
            connections_max: 1024,
            streams_max: 128,
            drain: Duration::from_secs(20),
        }
    }
}
