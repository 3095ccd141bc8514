//! `[gateway]`: what clients may take of the HTTP door.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What clients may take of the HTTP door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The URL that clients reach this host by, without a trailing slash; none takes what they ask by.
    pub public_url: Option<String>,
    /// Connections at once; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Connections of one address (of IPv6: of one network of 64 bits); more are closed.
    pub connections_per_address_max: usize,
    /// Whether that does not count for the loopback, where a proxy speaks for everybody.
    pub loopback_exempt: bool,
    /// How long a request's head may take, and a connection be idle.
    pub head: Duration,
    /// How long a request's body may take as a whole.
    pub body: Duration,
    /// How long a request's body may pause.
    pub body_pause: Duration,
    /// How long a client may leave an answer that is ready untouched.
    pub write_pause: Duration,
    /// What a body must come at, and an answer be taken at, over all.
    pub bytes_per_second_min: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            public_url: None,
            connections_max: 4_096,
            connections_per_address_max: 256,
            loopback_exempt: true,
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            body_pause: Duration::from_secs(15),
            write_pause: Duration::from_secs(30),
            bytes_per_second_min: 1_024,
        }
    }
}

impl Gateway {
    pub(super) fn overlay(&mut self, raw: &RawGateway, problems: &mut Vec<String>) {
        let above_zero = [
            ("connections_max", raw.connections_max.map(|max| max == 0)),
            (
                "connections_per_address_max",
                raw.connections_per_address_max.map(|max| max == 0),
            ),
            ("head_ms_max", raw.head_ms_max.map(|ms| ms == 0)),
            ("body_ms_max", raw.body_ms_max.map(|ms| ms == 0)),
            ("body_pause_ms_max", raw.body_pause_ms_max.map(|ms| ms == 0)),
            (
                "write_pause_ms_max",
                raw.write_pause_ms_max.map(|ms| ms == 0),
            ),
        ];
        for (name, is_zero) in above_zero {
            if is_zero == Some(true) {
                problems.push(format!("gateway.{name} is 0: nobody could be served"));
            }
        }
        if let Some(url) = &raw.public_url {
            let is_url = ["https://", "http://"].iter().any(|scheme| {
                let host = url.strip_prefix(scheme);
                host.is_some_and(|host| !host.is_empty() && !host.contains([' ', '?', '#']))
            });
            if !is_url {
                problems.push(format!(
                    "gateway.public_url is `{url}`: write a URL such as https://host.example"
                ));
            }
            self.public_url = Some(url.trim_end_matches('/').to_owned());
        }
        let ms = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
        self.connections_max = raw.connections_max.unwrap_or(self.connections_max);
        self.connections_per_address_max = raw
            .connections_per_address_max
            .unwrap_or(self.connections_per_address_max);
        self.loopback_exempt = raw.loopback_exempt.unwrap_or(self.loopback_exempt);
        self.head = ms(raw.head_ms_max, self.head);
        self.body = ms(raw.body_ms_max, self.body);
        self.body_pause = ms(raw.body_pause_ms_max, self.body_pause);
        self.write_pause = ms(raw.write_pause_ms_max, self.write_pause);
        self.bytes_per_second_min = raw
            .bytes_per_second_min
            .unwrap_or(self.bytes_per_second_min);
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGateway {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    connections_max: Option<usize>,
    connections_per_address_max: Option<usize>,
    loopback_exempt: Option<bool>,
    head_ms_max: Option<u64>,
    body_ms_max: Option<u64>,
    body_pause_ms_max: Option<u64>,
    write_pause_ms_max: Option<u64>,
    bytes_per_second_min: Option<u64>,
}

impl From<&Gateway> for RawGateway {
    fn from(gateway: &Gateway) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
        Self {
            public_url: gateway.public_url.clone(),
            connections_max: Some(gateway.connections_max),
            connections_per_address_max: Some(gateway.connections_per_address_max),
            loopback_exempt: Some(gateway.loopback_exempt),
            head_ms_max: ms(gateway.head),
            body_ms_max: ms(gateway.body),
            body_pause_ms_max: ms(gateway.body_pause),
            write_pause_ms_max: ms(gateway.write_pause),
            bytes_per_second_min: Some(gateway.bytes_per_second_min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(text: &str) -> (Gateway, Vec<String>) {
        let (mut gateway, mut problems) = (Gateway::default(), Vec::new());
        gateway.overlay(&toml::from_str(text).unwrap(), &mut problems);
        (gateway, problems)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "public_url = \"https://host.example/\"\nconnections_max = 9\nconnections_per_address_max = 8\nloopback_exempt = false\n\
                    head_ms_max = 7\nbody_ms_max = 6\nbody_pause_ms_max = 5\n\
                    write_pause_ms_max = 4\nbytes_per_second_min = 0";
        let (changed, problems) = gateway(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_ne!(changed, Gateway::default());
        for wanted in [changed, Gateway::default()] {
            let printed = toml::to_string(&RawGateway::from(&wanted)).unwrap();
            assert_eq!(gateway(&printed).0, wanted);
        }
    }

    #[test]
    fn limits_that_serve_nobody_are_named() {
        let (_, problems) = gateway("connections_max = 0\nhead_ms_max = 0\npublic_url = \"host\"");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
