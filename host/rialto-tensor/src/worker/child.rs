//! The worker's side: one model, run after run, until the host is gone.

use std::{
    io::{self, BufReader},
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
};

use bytes::Bytes;
use rialto_confine::{Reach, confine};

use super::{
    Task,
    wire::{self, Allowance, Description, Failure, Form, Refusal, Reply, Request},
};
use crate::{Engine, RunError, Tensor, TractEngine, onnxruntime};

/// Serves the host at the other end of the standard input, as an engine for one model. Returns when the
/// host asks for something that makes no sense, or ends the process when the host is gone.
///
/// Only a process that does nothing else may call this: it limits the whole process, for good.
#[must_use]
pub fn serve() -> ExitCode {
    match serve_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker ends");
            ExitCode::FAILURE
        }
    }
}

fn serve_stdin() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut from = BufReader::with_capacity(HEADERS_BYTES, socket.try_clone()?);
    let mut to = socket;
    let (task, name, memory_bytes, file) = read_load(&mut from)?;
    let model = match prepare(task, memory_bytes) {
        Ok((engine, confined)) => {
            // From here on the process is in the model's hands: a thread that waits for the host ends
            // it when the host is gone, whatever the model does.
            let requests = listen(from)?;
            let loaded = engine.load(file, &name);
            Ok((loaded, confined, requests))
        }
        Err(reason) => Err(reason),
    };
    let (loaded, confined, requests) = match model {
        Ok(parts) => parts,
        Err(reason) => return wire::write(&mut to, &Reply::Refused(Refusal::Engine, reason), &[]),
    };
    let model = match loaded {
        Ok(model) => model,
        Err(error) => {
            let (refusal, reason) = Refusal::of(&error);
            return wire::write(&mut to, &Reply::Refused(refusal, reason), &[]);
        }
    };
    let description = Description::of(model.as_ref(), confined);
    wire::write(&mut to, &Reply::Loaded(description), &[])?;
    while let Ok(run) = requests.recv() {
        answer(&mut to, model.run(run.inputs, &run.outputs))?;
    }
    Ok(())
}

fn read_load(from: &mut impl io::Read) -> io::Result<(Task, String, u64, Bytes)> {
    match wire::read_header(from)? {
        Request::Load {
            task,
            name,
            file_bytes,
            memory_bytes,
        } => {
            let file = wire::read_bytes(from, file_bytes)?;
            Ok((task, name, memory_bytes, file))
        }
        Request::Run { .. } => Err(io::Error::other("a run before a model")),
    }
}

/// Makes the engine, then gives up what the model must not have.
fn prepare(task: Task, memory_bytes: u64) -> Result<(Arc<dyn Engine>, Vec<String>), String> {
    let (engine, reach): (Arc<dyn Engine>, _) = match task {
        Task::Tract(config) => (Arc::new(TractEngine::new(config)), Reach::Nothing),
        Task::OnnxRuntime(config) => {
            let reach = if config.device == onnxruntime::Device::Cpu {
                Reach::Nothing
            } else {
                Reach::Devices
            };
            let engine = onnxruntime::InProcess::open(config).map_err(|error| error.to_string())?;
            (Arc::new(engine), reach)
        }
    };
    let confined = confine(memory_bytes, reach)
        .map_err(|error| format!("the worker cannot limit itself: {error}"))?;
    Ok((engine, confined))
}

/// A run as the host asked for it.
struct Run {
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<String>,
}

/// Reads requests on a thread of their own.
fn listen(mut from: BufReader<UnixStream>) -> io::Result<mpsc::Receiver<Run>> {
    let (sender, requests) = mpsc::sync_channel(1);
    let work = move || {
        while let Ok(run) = read_run(&mut from) {
            if sender.send(run).is_err() {
                return;
            }
        }
        // Not an orderly exit: the engine's own end-of-process code would run beside its threads.
        std::process::abort();
    };
    thread::Builder::new()
        .name("rialto-worker-requests".to_owned())
        .stack_size(1 << 20)
        .spawn(work)?;
    Ok(requests)
}

fn read_run(from: &mut impl io::Read) -> io::Result<Run> {
    let Request::Run { inputs, outputs } = wire::read_header(from)? else {
        return Err(io::Error::other("a second model"));
    };
    let (names, forms): (Vec<String>, Vec<Form>) = inputs.into_iter().unzip();
    // The host has checked the sizes, and this process has its limit.
    let all = Allowance {
        one_bytes_max: u64::MAX,
        all_bytes_max: u64::MAX,
    };
    let tensors = wire::read_tensors(from, &forms, all)?;
    let inputs = names.into_iter().zip(tensors).collect();
    Ok(Run { inputs, outputs })
}

fn answer(to: &mut UnixStream, result: Result<Vec<Tensor>, RunError>) -> io::Result<()> {
    match result {
        Ok(outputs) => {
            let forms = outputs.iter().map(Form::of).collect();
            let runs: Vec<&[u8]> = outputs
                .iter()
                .map(|tensor| tensor.data().as_ref())
                .collect();
            wire::write(to, &Reply::Outputs(forms), &runs)
        }
        Err(error) => {
            let (failure, reason) = Failure::of(error);
            wire::write(to, &Reply::Failed(failure, reason), &[])
        }
    }
}

/// Holds any header; tensors are read past it.
const HEADERS_BYTES: usize = 4 << 10;
