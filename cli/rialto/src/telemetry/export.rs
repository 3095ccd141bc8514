//! How telemetry leaves: OTLP by HTTP, spans as they end and metrics every few seconds.
//!
//! Metrics are the node's own list, so that Prometheus and the collector are told the same. A collector
//! that does not answer costs the spans that it would have had, and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use prost::Message;
use rialto_gateway::{Requests, all_metrics};
use rialto_node::Node;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::otlp;
use super::spans::{Queue, Span};

/// Sends spans until it is ended.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: Queue,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Sends to the collector at this URL from now on.
    ///
    /// # Errors
    /// The system's TLS roots cannot be read.
    pub(super) fn start(url: &str) -> Result<Self> {
        let (sender, spans) = mpsc::channel(QUEUE_MAX);
        let (stop, stopped) = oneshot::channel();
        let queue = Queue {
            sender,
            dropped: Arc::default(),
        };
        let collector = Collector::new(format!("{url}/v1/traces"))?;
        let task = tokio::spawn(send_spans(collector, spans, queue.clone(), stopped));
        Ok(Self { queue, stop, task })
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Sends what waits, for at most a few seconds.
    pub(super) async fn end(self) {
        // An error means that the task is over already.
        self.stop.send(()).ok();
        if timeout(PATIENCE, self.task).await.is_err() {
            tracing::debug!("the collector did not take the last spans in time");
        }
    }
}

async fn send_spans(
    mut collector: Collector,
    mut spans: mpsc::Receiver<Span>,
    queue: Queue,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut ticks = tokio::time::interval(DELAY);
    loop {
        let room = BATCH_MAX.saturating_sub(batch.len()).max(1);
        tokio::select! {
            _ = spans.recv_many(&mut batch, room) => {
                if batch.len() < BATCH_MAX {
                    continue;
                }
            }
            _ = ticks.tick() => {}
            _ = &mut stopped => break,
        }
        send(&mut collector, &mut batch, &queue).await;
    }
    while let Ok(span) = spans.try_recv() {
        batch.push(span);
        if batch.len() >= BATCH_MAX {
            send(&mut collector, &mut batch, &queue).await;
        }
    }
    send(&mut collector, &mut batch, &queue).await;
}

async fn send(collector: &mut Collector, batch: &mut Vec<Span>, queue: &Queue) {
    let dropped = queue.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        tracing::warn!(dropped, "spans were dropped: the collector is too slow");
    }
    if !batch.is_empty() {
        collector.post(otlp::spans(batch).encode_to_vec()).await;
        batch.clear();
    }
}

/// Sends the node's numbers to the collector, for as long as it is polled.
///
/// # Errors
/// The system's TLS roots cannot be read.
pub(crate) async fn push_metrics(
    node: Node,
    requests: Arc<Requests>,
    url: String,
    every: Duration,
) -> Result<()> {
    let mut collector = Collector::new(format!("{url}/v1/metrics"))?;
    let began = SystemTime::now();
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let metrics = all_metrics(&node, &requests);
        let request = otlp::metrics(&metrics, began, SystemTime::now());
        collector.post(request.encode_to_vec()).await;
    }
}

/// Who is told.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    url: String,
    /// Whether it took what it was sent last.
    is_heard: bool,
}

impl Collector {
    fn new(url: String) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("nothing can be sent to a collector")?;
        Ok(Self {
            http,
            url,
            is_heard: true,
        })
    }

    /// Sends one message; one that is not taken is lost, and the first of those is told.
    async fn post(&mut self, body: Vec<u8>) {
        let request = self.http.post(&self.url);
        let request = request.header("content-type", "application/x-protobuf");
        let sent = request.body(body).send().await;
        match sent.and_then(reqwest::Response::error_for_status) {
            Ok(_) => self.is_heard = true,
            Err(error) if self.is_heard => {
                self.is_heard = false;
                tracing::warn!(%error, "the collector takes nothing; tried again, and not told again");
            }
            Err(_) => {}
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
/// Sooner if a batch is full.
const DELAY: Duration = Duration::from_secs(1);
/// Spans that wait; more are dropped.
const QUEUE_MAX: usize = 8_192;
const BATCH_MAX: usize = 512;
