//! WASI 0.2 groups, each linked only when granted and each without ambient authority.
//!
//! Arguments, environment and directories are empty, standard input is at its end, standard output and
//! standard error go to the call's bounded log. There are no sockets in any group.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncWrite, sink};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::log::Lines;
use crate::deterministic::{ReadingClock, StandingClock};
use crate::spec::WasiGroup;
use crate::state::CallState;

/// The most bytes of one write to a standard stream.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Defines the interfaces of `group`.
pub(crate) fn link(linker: &mut Linker<CallState>, group: WasiGroup) -> wasmtime::Result<()> {
    match group {
        WasiGroup::Cli => link_cli(linker),
        WasiGroup::Io => {
            io::error::add_to_linker::<_, Table>(linker, |state| state.ctx().table)?;
            io::poll::add_to_linker::<_, Table>(linker, |state| state.ctx().table)?;
            io::streams::add_to_linker::<_, Table>(linker, |state| state.ctx().table)
        }
        WasiGroup::Clocks => {
            clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, CallState::clocks)?;
            clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, CallState::clocks)
        }
        WasiGroup::Random => super::random::link(linker),
        WasiGroup::Filesystem => {
            filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)?;
            filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)
        }
    }
}

fn link_cli(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    cli::exit::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, CallState::cli)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

impl WasiView for CallState {
    /// Called once for every WASI call of the guest, which is therefore counted here; a breach is
    /// raised at the next clock tick.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host_calls = self.host_calls.saturating_add(1);
        self.tell();
        let (lines, stands) = (&self.lines, self.seed.is_some());
        WasiCtxView {
            ctx: self
                .wasi
                .get_or_insert_with(|| empty_context(lines, stands)),
            table: &mut self.table,
        }
    }
}

fn empty_context(lines: &Lines, clocks_stand: bool) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(LogStream(lines.clone()))
        .stderr(LogStream(lines.clone()))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    if clocks_stand {
        builder
            .wall_clock(StandingClock)
            .monotonic_clock(ReadingClock::default());
    }
    builder.build()
}

/// A standard stream that ends in the call's bounded log. Never blocks, never fails.
#[derive(Debug, Clone)]
struct LogStream(Lines);

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 would use this.
        Box::new(sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for LogStream {
    fn ready<'life0, 'async_trait>(
        &'life0 mut self,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(()))
    }
}
