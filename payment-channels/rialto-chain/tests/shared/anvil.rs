//! An anvil process of the tests' own, on a free port.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Ended when dropped.
pub(crate) struct AnvilProcess(Child);

impl Drop for AnvilProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts anvil and returns its RPC URL.
pub(crate) fn start_anvil(chain_id: u64) -> (String, AnvilProcess) {
    let binary = std::env::var_os("RIALTO_ANVIL").unwrap_or_else(|| {
        panic!("RIALTO_ANVIL does not name an anvil binary: run `cargo xtask test`, which sets it")
    });
    let child = Command::new(&binary)
        .args(["--host", "127.0.0.1", "--port", "0", "--chain-id"])
        .arg(chain_id.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
    let mut process = AnvilProcess(child);
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("anvil says where it listens").unwrap();
        if let Some(address) = line.strip_prefix("Listening on ") {
            break address.trim().to_owned();
        }
    };
    // Read on, so that anvil never blocks on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (format!("http://{address}"), process)
}
