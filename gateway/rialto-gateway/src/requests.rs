//! Counts requests by route and status, without a lock.
//!
//! Both are bounded: routes are those of the router, statuses those that it answers with.

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use rialto_node::Histogram;
use rialto_node::metrics::{Kind, Metric, Point, Value};

/// What a gateway answered so far.
#[derive(Debug, Default)]
pub struct Requests {
    routes: [Route; ROUTES.len() + 1],
}

/// The times of one route, made when a status is answered for the first time.
#[derive(Debug, Default)]
struct Route {
    statuses: [OnceLock<Box<Histogram>>; STATUSES.len() + 1],
}

impl Requests {
    /// A request was answered.
    pub(crate) fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let place = |known: Option<usize>, len: usize| known.unwrap_or(len);
        let route = place(ROUTES.iter().position(|it| *it == route), ROUTES.len());
        let status = status.as_u16();
        let status = place(STATUSES.iter().position(|it| *it == status), STATUSES.len());
        let times = self.routes.get(route);
        if let Some(times) = times.and_then(|route| route.statuses.get(status)) {
            times.get_or_init(Box::default).observe(took);
        }
    }

    /// The times as a metric, by OpenTelemetry's conventions for HTTP servers.
    pub(crate) fn metric(&self) -> Metric {
        let names = ROUTES.into_iter().chain([OTHER]);
        let points = names.zip(&self.routes).flat_map(|(name, route)| {
            let codes = STATUSES.iter().map(u16::to_string);
            let codes = codes.chain([OTHER.to_owned()]);
            codes.zip(&route.statuses).filter_map(move |(code, times)| {
                let labels = vec![
                    ("http_route", name.to_owned()),
                    ("http_response_status_code", code),
                ];
                let value = Value::Histogram(times.get()?.view());
                Some(Point { labels, value })
            })
        });
        Metric {
            name: "http.server.request.duration",
            help: "From a request's head to its answer's, by route and status.",
            unit: "s",
            kind: Kind::Histogram,
            points: points.collect(),
        }
    }
}

const OTHER: &str = "other";

/// The router's paths; all others are one.
const ROUTES: [&str; 20] = [
    "/services/{service}/{method}",
    "/http/{service}",
    "/http/{service}/",
    "/http/{service}/{*path}",
    "/",
    "/page.css",
    "/page.js",
    "/services",
    "/services/{service}",
    "/openapi.json",
    "/.well-known/x402",
    "/services/{service}/{method}/.well-known/x402",
    "/discovery/resources",
    "/facilitator/supported",
    "/facilitator/verify",
    "/facilitator/settle",
    "/facilitator/discovery/resources",
    "/health",
    "/receipts/{id}",
    "/channels/{id}",
];

/// What requests are answered with; services that handle requests themselves may answer otherwise.
const STATUSES: [u16; 20] = [
    200, 402, 400, 404, 405, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 201, 204, 301, 302,
    304,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_one_thing() {
        let requests = Requests::default();
        let answered = |route, status| {
            let status = StatusCode::from_u16(status).unwrap();
            requests.answered(route, status, Duration::from_millis(1));
        };
        answered("/services/{service}/{method}", 402);
        answered("/services/{service}/{method}", 402);
        answered("/services/{service}/{method}", 299);
        for path in ["/a", "/b", "/c"] {
            answered(path, 404);
        }
        let counts: Vec<_> = requests
            .metric()
            .points
            .into_iter()
            .map(|point| {
                let labels: Vec<_> = point.labels.into_iter().map(|(_, value)| value).collect();
                let Value::Histogram(times) = point.value else {
                    panic!("times");
                };
                (labels.join(" "), times.count())
            })
            .collect();
        let wanted = [
            ("/services/{service}/{method} 402", 2),
            ("/services/{service}/{method} other", 1),
            ("other 404", 3),
        ];
        let wanted = wanted.map(|(labels, count)| (labels.to_owned(), count));
        assert_eq!(counts, wanted);
    }
}
