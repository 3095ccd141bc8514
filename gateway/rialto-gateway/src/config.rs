//! What the operator of a gateway may set; every limit has a default.

use std::sync::Arc;
use std::time::Duration;

use rialto_node::GatewayChoice;

use crate::requests::Requests;
use crate::routes::a2a::TaskJournal;

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
    /// How long a client may leave an answer that is ready untouched.
    pub write_pause_max: Duration,
    /// What a body must come at, and an answer be taken at, over all; beside the pauses above.
    pub bytes_per_second_min: u64,
    /// Connections served at once; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Connections of one address (of IPv6: of one network of 64 bits); more are closed.
    pub connections_per_address_max: usize,
    /// Streams of one libp2p peer that are served at once; more are closed.
    pub tunnels_per_peer_max: usize,
    /// Whether the limit of an address does not count for the loopback: a proxy on this machine speaks for everybody.
    pub loopback_exempt: bool,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Tasks of A2A that are kept without being paid for; older ones make place.
    pub tasks_max: usize,
    /// Paid tasks that are kept.
    pub tasks_paid_max: usize,
    /// The largest answer of a task that is kept, in bytes.
    pub task_bytes_max: usize,
    /// All that tasks keep, in bytes.
    pub tasks_bytes_max: usize,
    /// How long a task is kept that nobody paid for.
    pub tasks_kept: Duration,
    /// How long a paid one is.
    pub tasks_paid_kept: Duration,
    /// Where paid tasks are noted, so that the next gateway goes on with them; none lets them end with this one.
    pub task_journal: Option<TaskJournal>,
    /// How long requests in progress may take to finish after a shutdown was asked for.
    pub drain: Duration,
    /// Where requests are counted, for the [operator](crate::operator()).
    pub requests: Arc<Requests>,
}

impl Config {
    /// For the operator's own listener: few connections, and what is asked there is not counted.
    #[must_use]
    pub fn for_operator() -> Self {
        Self {
            connections_max: 16,
            body_bytes_max: 0,
            drain: Duration::ZERO,
            ..Self::default()
        }
    }
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
            write_pause_max: Duration::from_secs(30),
            bytes_per_second_min: 1024,
            connections_max: 4096,
            connections_per_address_max: 256,
            tunnels_per_peer_max: 64,
            loopback_exempt: true,
            streams_max: 128,
            tasks_max: 1024,
            tasks_paid_max: 4096,
            task_bytes_max: 4 * 1024 * 1024,
            tasks_bytes_max: 64 * 1024 * 1024,
            tasks_kept: Duration::from_secs(600),
            tasks_paid_kept: Duration::from_secs(3600),
            task_journal: None,
            drain: Duration::from_secs(20),
            requests: Arc::default(),
        }
    }
}

impl From<&GatewayChoice> for Config {
    fn from(choice: &GatewayChoice) -> Self {
        Self {
            public_url: choice.public_url.clone(),
            head_timeout: choice.head,
            body_timeout: choice.body,
            body_pause_max: choice.body_pause,
            write_pause_max: choice.write_pause,
            bytes_per_second_min: choice.bytes_per_second_min,
            connections_max: choice.connections_max,
            connections_per_address_max: choice.connections_per_address_max,
            loopback_exempt: choice.loopback_exempt,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_a_nodes_configuration() {
        let of_node = Config::from(&GatewayChoice::default());
        assert_eq!(format!("{of_node:?}"), format!("{:?}", Config::default()));
    }
}
