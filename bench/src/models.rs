//! What a model costs in the mesh: the engine alone on the very inputs that the service prepares, the
//! service in a fresh instance in this process, and calls over HTTP, unpaid and paid. In turns,
//! again and again, so that all meet the same machine.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, Service, ServiceSpec, WasiGroup,
};
use rialto_testkit::mesh::Mesh;
use tokio::runtime::Runtime;

use crate::exchange::{Call, Connection, address};
use crate::payer::{Channel, Payer};
use crate::places::Places;
use crate::record::{Recording, Run};
use crate::spread::percentile;

/// One model's medians, in microseconds, round by round.
#[derive(Debug)]
pub(crate) struct Model {
    /// The model and its input.
    pub(crate) name: &'static str,
    /// The engine alone.
    pub(crate) direct: Vec<f64>,
    /// The service in a fresh instance, in this process.
    pub(crate) host: Vec<f64>,
    /// An unpaid call over HTTP.
    pub(crate) free: Vec<f64>,
    /// A paid call over HTTP.
    pub(crate) paid: Vec<f64>,
}

/// Where each side runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads<'a> {
    /// One thread, for calls over HTTP.
    pub(crate) caller: &'a Runtime,
    /// Several, as a host has: it moves work between them.
    pub(crate) host: &'a Runtime,
}

/// Measures each model.
///
/// # Errors
/// A service or a model is missing, or a call fails.
pub(crate) fn measure(
    places: &Places,
    scratch: &Path,
    mesh: &Mesh,
    rounds: u32,
    threads: Threads<'_>,
) -> Result<Vec<Model>> {
    let host = Host::new(Config::new(scratch.join("models-cache")))?;
    let mut models = Vec::new();
    for case in [&FILETYPE, &EMBED] {
        let opened = Bench::new(case, places, &host, mesh);
        let mut bench = threads.caller.block_on(opened)?;
        let mut model = Model {
            name: case.name,
            direct: Vec::new(),
            host: Vec::new(),
            free: Vec::new(),
            paid: Vec::new(),
        };
        bench.round(threads)?;
        for _ in 0..rounds {
            let [direct, host, free, paid] = bench.round(threads)?;
            model.direct.push(direct);
            model.host.push(host);
            model.free.push(free);
            model.paid.push(paid);
        }
        models.push(model);
    }
    Ok(models)
}

struct Case {
    name: &'static str,
    service: &'static str,
    method: &'static str,
    media_type: &'static str,
    body: &'static [u8],
    /// Tells the case's channel from all others.
    salt: u64,
}

struct Bench {
    case: &'static Case,
    direct: Run,
    service: Service,
    connection: Connection,
    free: Call,
    paid: Call,
    channel: Channel,
}

impl Bench {
    async fn new(case: &'static Case, places: &Places, host: &Host, mesh: &Mesh) -> Result<Self> {
        let folder = places.services.join(case.service);
        let recording = Recording::load(&folder.join("service.toml"), &places.artifacts)?;
        let last = recording.last();
        let spec = ServiceSpec {
            name: case.service.to_owned(),
            version: "0.1.0".to_owned(),
            grants: Grants {
                tensor: true,
                wasi: WasiGroup::ALL.into(),
                ..Grants::default()
            },
            models: recording.names(),
            limits: Limits::default(),
            ..ServiceSpec::default()
        };
        let component = std::fs::read(folder.join("component.wasm"))?;
        let service = host.load(&component, spec, Arc::new(recording))?;
        in_process(case, &service).await?;
        let run = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let call = |variant: &str| Call {
            path: format!("/services/{}{variant}/{}", case.service, case.method),
            media_type: case.media_type,
            body: case.body.into(),
        };
        let (free, paid) = (call("-free"), call(""));
        let mut connection = Connection::open(address(mesh.gateway())?).await?;
        let payer = Payer::new(mesh, &paid).await?;
        let channel = payer
            .open(&mut connection, &paid, case.salt, 100_000)
            .await?;
        Ok(Self {
            case,
            direct: run.context("the service ran no model")?,
            service,
            connection,
            free,
            paid,
            channel,
        })
    }

    /// Medians of the engine alone, the service in this process, the unpaid and the paid call; each in
    /// a block of its own, so that each finds its own copy of the model in the processor's caches.
    fn round(&mut self, threads: Threads<'_>) -> Result<[f64; 4]> {
        let (mut direct, mut host) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            let start = Instant::now();
            self.direct.again()?;
            direct.push(start.elapsed());
        }
        for _ in 0..REPEATS {
            let call = in_process(self.case, &self.service);
            host.push(threads.host.block_on(call)?);
        }
        let free = threads.caller.block_on(self.over_http(false))?;
        let paid = threads.caller.block_on(self.over_http(true))?;
        Ok([direct, host, free, paid].map(median_us))
    }

    async fn over_http(&mut self, pay: bool) -> Result<Vec<Duration>> {
        self.channel.stock_up(REPEATS)?;
        let mut times = Vec::new();
        for _ in 0..REPEATS {
            let request = if pay {
                self.paid.request(Some(self.channel.next()?))?
            } else {
                self.free.request(None)?
            };
            let start = Instant::now();
            self.connection.send(request).await?.success()?;
            times.push(start.elapsed());
        }
        Ok(times)
    }
}

async fn in_process(case: &Case, service: &Service) -> Result<Duration> {
    let context = CallContext {
        call_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_secs(30),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let body = bytes::Bytes::from_static(case.body);
    let arguments = match case.media_type {
        "application/json" => Arguments::Json(body),
        _ => Arguments::Raw(body),
    };
    let start = Instant::now();
    let prepared = service.prepare(case.method, arguments)?;
    service.call(prepared, context).await?;
    Ok(start.elapsed())
}

fn median_us(times: Vec<Duration>) -> f64 {
    let mut micros: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
    micros.sort_by(f64::total_cmp);
    percentile(&micros, 50)
}

static FILETYPE: Case = Case {
    name: "magika, a licence of 11 KiB",
    service: "filetype",
    method: "identify",
    media_type: "application/octet-stream",
    body: include_bytes!("../../LICENSE"),
    salt: 1 << 32,
};

static EMBED: Case = Case {
    name: "MiniLM, a sentence",
    service: "embed",
    method: "embed",
    media_type: "application/json",
    body: br#"{"texts":["A paid call of a real model, from two commands on one machine."]}"#,
    salt: 1 << 33,
};

const REPEATS: usize = 25;
