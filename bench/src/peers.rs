//! The servers under measurement: a bare hyper, `wasmtime serve`, and the mesh.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rialto_testkit::mesh::{Mesh, MeshConfig};

use crate::exchange::{Call, Connection};
use crate::places::Places;

/// The least that an HTTP server can do: reads the request, writes a fixed answer. It runs in this
/// process, on threads of its own named [`HYPER_THREADS`], until this process ends.
///
/// # Errors
/// No port is free.
pub(crate) fn start_hyper(answer: Bytes) -> Result<SocketAddr> {
    let (ready, address) = mpsc::channel();
    thread::Builder::new()
        .name(HYPER_THREADS.to_owned())
        .spawn(move || {
            let served = serve_hyper(answer, &ready);
            // The caller sees the channel close, or connections that fail.
            drop((served, ready));
        })?;
    address.recv().context("the bare server did not start")
}

fn serve_hyper(answer: Bytes, ready: &mpsc::Sender<SocketAddr>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name(HYPER_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        ready.send(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = answer.clone();
            let service = service_fn(move |request| hello(request, answer.clone()));
            let io = TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    })
}

async fn hello(
    request: Request<Incoming>,
    answer: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // A caller that breaks off gets the same answer as all.
    drop(request.into_body().collect().await);
    let mut response = Response::new(Full::new(answer));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// A child process; ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// The process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `wasmtime serve` as fast as it goes: the pool, its slots kept warm, no log.
///
/// # Errors
/// It does not start or gives no answer within half a minute.
pub(crate) async fn start_wasmtime(places: &Places, call: &Call) -> Result<Served> {
    let served = start_wasmtime_with(places, &places.hello_http()).await?;
    let mut connection = Connection::open(served.address).await?;
    connection.send(call.request(None)?).await?.success()?;
    Ok(served)
}

/// The same with any component.
///
/// # Errors
/// It does not start or takes no connection within half a minute.
pub(crate) async fn start_wasmtime_with(places: &Places, component: &Path) -> Result<Served> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let child = Command::new(&places.wasmtime)
        .arg("serve")
        .args(WASMTIME_FLAGS)
        .args(["--addr", &port.to_string()])
        .arg(component)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", places.wasmtime.display()))?;
    let mut served = Served {
        child,
        address: port,
    };
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        if Connection::open(port).await.is_ok() {
            return Ok(served);
        }
        if let Some(status) = served.child.try_wait()? {
            bail!("`wasmtime serve` ended with {status}");
        }
        if Instant::now() > give_up {
            bail!("`wasmtime serve` did not answer within 30 s");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The mesh as a user starts it, with its data in `scratch`.
///
/// # Errors
/// It does not start.
pub(crate) fn start_mesh(places: &Places, scratch: &Path) -> Result<Mesh> {
    start_mesh_with(places, scratch, &[])
}

/// The same with more arguments.
///
/// # Errors
/// It does not start.
pub(crate) fn start_mesh_with(places: &Places, scratch: &Path, args: &[&str]) -> Result<Mesh> {
    let services = scratch.join("services");
    places.lay_out(&services)?;
    Mesh::start(&MeshConfig {
        program: places.rialto.clone(),
        data_dir: scratch.join("data"),
        services,
        artifacts: places.artifacts.clone(),
        listen: "127.0.0.1:0".to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    })
}

/// What the bare server's threads are called.
pub(crate) const HYPER_THREADS: &str = "bench-hyper";

/// Its best on this machine, found by trying. WASI 0.3 cannot be turned off in this version.
pub(crate) const WASMTIME_FLAGS: [&str; 3] = [
    "-Scli",
    "-O",
    "pooling-allocator=y,pooling-pagemap-scan=auto,pooling-memory-keep-resident=2097152,pooling-table-keep-resident=2097152",
];
