//! The same unmodified components under `wasmtime serve` and in the mesh: the same answers, and who is faster.
//!
//! A difference ends the run: this is a check first. What the mesh leaves out or adds on purpose
//! (docs/handlers.md) is not compared: its own headers, trailers, and the text of its error answers.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde::Serialize;
use tokio::runtime::Builder;

use crate::exchange::{Answer, Connection, address};
use crate::peers::{self, Served};
use crate::places::{Places, path_from_env};
use crate::table;

/// What was compared.
#[derive(Debug, Serialize)]
pub(crate) struct Handlers {
    components: Vec<Compared>,
}

#[derive(Debug, Serialize)]
struct Compared {
    component: &'static str,
    requests: usize,
}

/// A request that both get.
#[derive(Debug, Clone, Copy)]
struct Asked {
    method: &'static str,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static str,
    /// Whether the body tells a time, so that only its form is compared.
    timed: bool,
}

const fn asked(method: &'static str, path: &'static str) -> Asked {
    Asked {
        method,
        path,
        header: None,
        body: "",
        timed: false,
    }
}

const fn with_header(path: &'static str, name: &'static str, value: &'static str) -> Asked {
    Asked {
        header: Some((name, value)),
        ..asked("GET", path)
    }
}

const fn with_body(path: &'static str, body: &'static str) -> Asked {
    Asked {
        body,
        ..asked("POST", path)
    }
}

const fn timed(path: &'static str) -> Asked {
    Asked {
        timed: true,
        ..asked("GET", path)
    }
}

const CASES: [(&str, &[Asked]); 3] = [
    (
        "wstd-server",
        &[
            asked("GET", "/"),
            asked("PUT", "/"),
            asked("GET", "/elsewhere?with=query&and=%20more"),
            asked("HEAD", "/"),
            with_body("/echo", ""),
            with_body("/echo", "some bytes"),
            with_body("/echo", LONG),
            with_header("/echo-headers", "x-mine", "back"),
            with_header("/response-status", "x-response-status", "204"),
            with_header("/response-status", "x-response-status", "302"),
            with_header("/response-status", "x-response-status", "418"),
            with_header("/response-status", "x-response-status", "599"),
            asked("GET", "/response-status"),
            asked("GET", "/response-fail"),
            timed("/wait-response"),
            timed("/wait-body"),
            timed("/stream-body"),
        ],
    ),
    (
        "wasi-proxy",
        &[
            asked("GET", "/"),
            asked("DELETE", "/any/path?at=all"),
            with_body("/", "not read"),
        ],
    ),
    (
        "spin",
        &[
            asked("GET", "/hello/ada"),
            asked("GET", "/hello/a%20b?x=1"),
            with_header("/hello/ada", "x-from", "afar"),
            with_body("/echo", "{}"),
            asked("GET", "/echo"),
            asked("PATCH", "/no/such"),
        ],
    ),
];

/// More than one frame.
const LONG: &str = include_str!("../../LICENSE");

/// Compares all.
///
/// # Errors
/// Two answers differ, or a server does not start.
pub(crate) fn measure(places: &Places, scratch: &Path) -> Result<Handlers> {
    let built = path_from_env("RIALTO_TEST_GUESTS")?;
    let mesh = start(places, &built, scratch)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut components = Vec::new();
    for (name, requests) in CASES {
        let file = built.join(name).join("component.wasm");
        let compared = async {
            let served = peers::start_wasmtime_with(places, &file).await?;
            compare(name, requests, &served, &mesh).await
        };
        runtime.block_on(compared)?;
        components.push(Compared {
            component: name,
            requests: requests.len(),
        });
    }
    mesh.stop()?;
    Ok(Handlers { components })
}

impl Handlers {
    /// Prints what was compared.
    pub(crate) fn print(&self) {
        for row in &self.components {
            table::say(&format!(
                "{}: {} requests, the same answers under `wasmtime serve` and in the mesh",
                row.component, row.requests
            ));
        }
    }
}

fn start(places: &Places, built: &Path, scratch: &Path) -> Result<Mesh> {
    let services = scratch.join("services");
    for (name, _) in CASES {
        let folder = services.join(name);
        fs::create_dir_all(&folder)?;
        fs::copy(
            built.join(name).join("component.wasm"),
            folder.join("component.wasm"),
        )
        .with_context(|| format!("the guest {name} is not built"))?;
        let manifest = format!(
            "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"A published example.\"\n\
             license = \"Apache-2.0\"\n\n[grants]\nhttp = []\n\
             wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n"
        );
        fs::write(folder.join("service.toml"), manifest)?;
    }
    Mesh::start(&MeshConfig {
        program: places.rialto.clone(),
        data_dir: scratch.join("data"),
        services,
        artifacts: places.artifacts.clone(),
        listen: "127.0.0.1:0".to_owned(),
        args: Vec::new(),
    })
}

async fn compare(name: &str, requests: &[Asked], served: &Served, mesh: &Mesh) -> Result<()> {
    for asked in requests {
        // A connection each: some answers end it.
        let theirs = send(served.address, asked, "").await?;
        let ours = send(address(mesh.gateway())?, asked, &format!("/http/{name}")).await?;
        let what = format!("{name}: {} {}", asked.method, asked.path);
        ensure!(
            theirs.status == ours.status
                || theirs.status.is_server_error() && ours.status.is_server_error(),
            "{what}: {} there, {} here",
            theirs.status,
            ours.status
        );
        if theirs.status.is_server_error() {
            continue;
        }
        let form = |body: &Bytes| form(body, asked.timed);
        ensure!(
            form(&theirs.body) == form(&ours.body),
            "{what}: {:?} there, {:?} here",
            theirs.body,
            ours.body
        );
        for (header, value) in &theirs.headers {
            let compared = header.as_str().starts_with("x-") || header == "location";
            ensure!(
                !compared || ours.headers.get(header) == Some(value),
                "{what}: {header} is {value:?} there, {:?} here",
                ours.headers.get(header)
            );
        }
    }
    Ok(())
}

/// A body, or what is left of it without its digits.
fn form(body: &Bytes, timed: bool) -> Vec<u8> {
    let kept = body.iter().filter(|it| !timed || !it.is_ascii_digit());
    kept.copied().collect()
}

async fn send(server: std::net::SocketAddr, asked: &Asked, prefix: &str) -> Result<Answer> {
    let mut request = Request::builder()
        .method(asked.method)
        .uri(format!("{prefix}{}", asked.path))
        .header(HOST, "127.0.0.1");
    if let Some((name, value)) = asked.header {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from_static(asked.body.as_bytes())))?;
    Connection::open(server).await?.send(request).await
}
