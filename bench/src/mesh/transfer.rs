//! One artifact from a store to another: from a peer over libp2p, and from a plain HTTP server, in turns.
//!
//! Both ends are in this process, on the loopback; each fetch goes to an empty store, is checked and synced.
//! The HTTP server is the quickest there is: the kernel copies the file to the socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rialto_artifacts::{Config, PeerError, PeerName, Peers, Store, silent};
use rialto_discovery::simulation::PlainJudge;
use rialto_discovery::{
    Blobs, Config as NodeConfig, Discovery, Identity, NoBlobs, PeerKey, Reach, Started,
};
use rialto_registry::{Digest, Outline, Source};
use serde::Serialize;

use crate::spread::Spread;

/// What was found, in MiB a second.
#[derive(Debug, Serialize)]
pub(super) struct Transfer {
    pub(super) mib: usize,
    pub(super) peer: Spread,
    pub(super) http: Spread,
    /// The bytes of the same server thrown away: neither checked nor written.
    pub(super) http_to_nowhere: Spread,
    /// Peer by HTTP, round by round.
    pub(super) ratio: Spread,
}

/// Measures, in turns.
///
/// # Errors
/// A fetch fails.
pub(super) async fn measure(scratch: &Path, rounds: u32) -> Result<Transfer> {
    let giver = Store::open(Config::new(scratch.join("giver")))?;
    let digest = giver.put_bytes(&body())?;
    let path = giver.get(&digest)?.context("the artifact is gone")?;
    let address = serve(path)?;
    let source: Source = format!("http://{address}/artifact").parse()?;
    let here = start([1; 32], Arc::new(Shelves(giver)))?;
    let listens = |node: &Discovery| !node.listening().is_empty();
    ensure!(here.discovery.wait_for(listens, WAIT).await, "no address");
    let mut config = config([2; 32])?;
    for address in here.discovery.listening() {
        let whole = format!("{address}/p2p/{}", here.discovery.peer());
        config.bootstrap.push(whole.parse()?);
    }
    let there = Discovery::start(config, Arc::new(PlainJudge), Arc::new(NoBlobs))?;
    let meets = |node: &Discovery| node.snapshot().levels.peers > 0;
    ensure!(there.discovery.wait_for(meets, WAIT).await, "no connection");
    let swarm = Swarm {
        discovery: there.discovery.clone(),
        giver: here.discovery.peer(),
    };
    let (mut peer, mut http, mut nowhere) = (vec![], vec![], vec![]);
    for round in 0..=rounds {
        let taker = |name: &str| Store::open(Config::new(scratch.join(format!("{name}-{round}"))));
        let store = taker("peer")?;
        let begun = Instant::now();
        store
            .fetch_any(&[], Some(&swarm), &digest, &silent())
            .await?;
        let by_peer = rate(begun);
        let store = taker("http")?;
        let begun = Instant::now();
        store.fetch(&source, &digest, &silent()).await?;
        let by_http = rate(begun);
        let begun = Instant::now();
        tokio::task::spawn_blocking(move || swallow(address)).await??;
        // The first round warms up.
        if round > 0 {
            peer.push(by_peer);
            http.push(by_http);
            nowhere.push(rate(begun));
        }
    }
    Ok(Transfer {
        mib: MIB,
        ratio: Spread::ratio(&peer, &http),
        peer: Spread::of(peer),
        http: Spread::of(http),
        http_to_nowhere: Spread::of(nowhere),
    })
}

fn rate(begun: Instant) -> f64 {
    MIB as f64 / begun.elapsed().as_secs_f64()
}

/// Bytes that do not repeat soon.
fn body() -> Vec<u8> {
    let mut dice = crate::swarm::dice::Dice::new(99);
    let words = (MIB << 20) / 8;
    (0..words).flat_map(|_| dice.draw().to_le_bytes()).collect()
}

fn config(seed: [u8; 32]) -> Result<NodeConfig> {
    let mut config = NodeConfig::new(Identity::from_seed(seed));
    config.reach = Reach::Public;
    config.private_addresses = true;
    config.gossip = false;
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    Ok(config)
}

fn start(seed: [u8; 32], blobs: Arc<dyn Blobs>) -> Result<Started> {
    Ok(Discovery::start(
        config(seed)?,
        Arc::new(PlainJudge),
        blobs,
    )?)
}

/// What peers may read of the store.
#[derive(Debug)]
struct Shelves(Store);

impl Blobs for Shelves {
    fn outline(&self, digest: &Digest) -> Option<rialto_discovery::Outline> {
        let outline = self.0.outline(digest).ok()??;
        Some(rialto_discovery::Outline {
            size: outline.bytes(),
            chunks: outline.chunks().to_vec(),
        })
    }

    fn chunk(&self, digest: &Digest, index: u32) -> Option<Bytes> {
        self.0.chunk(digest, index).ok()?
    }
}

/// The other node, as the store asks it: who has the artifact is known.
struct Swarm {
    discovery: Discovery,
    giver: PeerKey,
}

impl Peers for Swarm {
    fn providers<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, Result<Vec<PeerName>, PeerError>> {
        let name = self.giver.to_string().parse();
        Box::pin(async move { Ok(name.into_iter().collect()) })
    }

    fn outline<'a>(
        &'a self,
        _: &'a PeerName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Outline, PeerError>> {
        Box::pin(async move {
            let said = self.discovery.artifact_outline(self.giver, digest).await;
            let said = said.map_err(|error| PeerError::Unreachable(error.to_string()))?;
            let outline = Outline::new(said.size, said.chunks);
            outline.map_err(|error| PeerError::Garbled(error.to_string()))
        })
    }

    fn chunk<'a>(
        &'a self,
        _: &'a PeerName,
        digest: &'a Digest,
        index: u32,
    ) -> BoxFuture<'a, Result<Bytes, PeerError>> {
        Box::pin(async move {
            let asked = self
                .discovery
                .artifact_chunk(self.giver, digest, index, None);
            asked
                .await
                .map_err(|error| PeerError::Unreachable(error.to_string()))
        })
    }
}

/// Serves one file to whoever asks for anything, until the process ends.
fn serve(path: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A reader that went away early is seen on its own side.
            let _ = answer(stream, &path);
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, path: &Path) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.extend(byte);
    }
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    io::copy(&mut file, &mut stream)?;
    Ok(())
}

fn swallow(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")?;
    let mut buffer = vec![0; 256 << 10];
    let mut all = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => all += read,
        }
    }
    ensure!(all > MIB << 20, "the answer was cut off");
    Ok(())
}

/// The artifact's size: that of a small model.
const MIB: usize = 64;
const WAIT: Duration = Duration::from_secs(10);
