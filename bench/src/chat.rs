//! Tokens a second of the service `chat` in a host in this process, next to llama.cpp on the same file with
//! the same threads, and of eight calls at once next to one. In turns, so that all meet the same machine.
//!
//! Each of our figures is of whole calls: a fresh instance, the text to tokens, every step of the guest.
//! llama.cpp's are by its own clock, of its arithmetic alone.

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rialto_compute::Model;
use rialto_compute::language::LanguageModel;
use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, Models, OpenError, Service, ServiceSpec,
    WasiGroup,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::places::path_from_env;
use crate::report::Target;
use crate::spread::Spread;
use crate::table;

/// What was found for each number of threads.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    threads: usize,
    /// Tokens a second.
    prefill: Spread,
    decode: Spread,
    /// Of eight calls at once, all together.
    decode_together: Spread,
    llama_prefill: Spread,
    llama_decode: Spread,
    /// Ours by llama.cpp's, round by round.
    prefill_ratio: Spread,
    decode_ratio: Spread,
    /// Eight calls' tokens by one call's.
    together_ratio: Spread,
}

/// Measures with one thread and with two.
///
/// # Errors
/// The service, the model or llama.cpp is missing, or a call fails.
pub(crate) fn measure(scratch: &Path, rounds: u32) -> Result<Vec<Found>> {
    let folder = path_from_env("RIALTO_SERVICES")?.join("chat");
    let manifest = rialto_node::read_manifest(&folder.join("service.toml"))?;
    let grant = manifest.models().first().context("chat grants no model")?;
    let model = path_from_env("RIALTO_ARTIFACTS")?.join(grant.digest.to_string());
    let component = std::fs::read(folder.join("component.wasm"))?;
    let file = Bytes::from(std::fs::read(&model).context("the model is not fetched")?);
    let mut all = Vec::new();
    for threads in [1, 2] {
        table::say(&format!("chat and llama.cpp with {threads} threads …"));
        let cache = scratch.join(format!("chat-{threads}"));
        let mut bench = Bench {
            service: service(&cache, &component, &file, threads)?,
            llama: Llama::start(&model, threads)?,
            runtime: Runtime::new()?,
        };
        all.push(bench.measure(threads, rounds)?);
    }
    Ok(all)
}

/// What is to be reached.
pub(crate) fn targets(found: &[Found]) -> Vec<Target> {
    let each = found.iter().flat_map(|found| {
        let threads = found.threads;
        [
            (
                format!("chat: prefill by llama.cpp, {threads} threads"),
                LLAMA_MIN,
                found.prefill_ratio,
            ),
            (
                format!("chat: decode by llama.cpp, {threads} threads"),
                LLAMA_MIN,
                found.decode_ratio,
            ),
            (
                format!("chat: 8 calls by 1, {threads} threads"),
                TOGETHER_MIN,
                found.together_ratio,
            ),
        ]
    });
    each.map(|(what, goal, reached)| Target::least(what, goal, reached))
        .collect()
}

/// Prints the figures.
pub(crate) fn print(found: &[Found]) {
    for found in found {
        table::say(&format!(
            "\n{} threads, tokens a second\n  prefill {}, llama.cpp {}\n  decode {}, llama.cpp {}\n  \
             decode of 8 calls {}",
            found.threads,
            found.prefill,
            found.llama_prefill,
            found.decode,
            found.llama_decode,
            found.decode_together,
        ));
    }
}

struct Bench {
    service: Service,
    llama: Llama,
    runtime: Runtime,
}

impl Bench {
    fn measure(&mut self, threads: usize, rounds: u32) -> Result<Found> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        self.round()?;
        for _ in 0..rounds {
            let (our, their) = self.round()?;
            ours.push(our);
            theirs.push(their);
        }
        let column = |of: fn(&Ours) -> f64| ours.iter().map(of).collect::<Vec<_>>();
        let their = |of: fn(&Rates) -> f64| theirs.iter().map(of).collect::<Vec<_>>();
        let (prefill, decode) = (column(|it| it.prefill), column(|it| it.decode));
        let together = column(|it| it.together);
        let (llama_prefill, llama_decode) = (their(|it| it.prefill), their(|it| it.decode));
        let spread = |rounds: &[f64]| Spread::of(rounds.iter().copied());
        Ok(Found {
            threads,
            prefill: spread(&prefill),
            decode: spread(&decode),
            decode_together: spread(&together),
            llama_prefill: spread(&llama_prefill),
            llama_decode: spread(&llama_decode),
            prefill_ratio: Spread::ratio(&prefill, &llama_prefill),
            decode_ratio: Spread::ratio(&decode, &llama_decode),
            together_ratio: Spread::ratio(&together, &decode),
        })
    }

    fn round(&mut self) -> Result<(Ours, Rates)> {
        let prompt = PROMPT.repeat(PROMPT_TIMES);
        let theirs = self.llama.ask(&prompt, 1)?;
        let (took, read) = self.call(&prompt, 1)?;
        ensure!(
            read == theirs.prompt_tokens,
            "{read} tokens, not {}",
            theirs.prompt_tokens
        );
        let prefill = per_second(read, took);
        let (short, _) = self.call(PROMPT, 1)?;
        let (long, _) = self.call(PROMPT, TOKENS + 1)?;
        let decode = per_second(TOKENS, long.saturating_sub(short));
        let decode_theirs = self.llama.ask(PROMPT, TOKENS + 1)?.decode;
        let together = self.together()?;
        let ours = Ours {
            prefill,
            decode,
            together,
        };
        let theirs = Rates {
            decode: decode_theirs,
            ..theirs
        };
        Ok((ours, theirs))
    }

    /// One call: how long it took, and how many tokens the prompt has.
    fn call(&self, prompt: &str, tokens: u32) -> Result<(Duration, u32)> {
        let body = body(prompt, tokens, 0);
        self.runtime
            .block_on(call(self.service.clone(), body, tokens))
    }

    /// Tokens a second of eight calls together, the prompts counted out as with one.
    fn together(&self) -> Result<f64> {
        let all = |tokens: u32| -> Result<Duration> {
            let started = Instant::now();
            self.runtime.block_on(async {
                let mut calls = JoinSet::new();
                for seed in 0..CALLS {
                    let body = body(PROMPT, tokens, seed);
                    calls.spawn(call(self.service.clone(), body, tokens));
                }
                while let Some(called) = calls.join_next().await {
                    called??;
                }
                anyhow::Ok(())
            })?;
            Ok(started.elapsed())
        };
        let (short, long) = (all(1)?, all(TOKENS + 1)?);
        Ok(per_second(TOKENS * CALLS, long.saturating_sub(short)))
    }
}

async fn call(service: Service, body: Bytes, tokens: u32) -> Result<(Duration, u32)> {
    let context = CallContext {
        call_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_secs(100),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let started = Instant::now();
    let prepared = service.prepare("complete", Arguments::Json(body))?;
    let outcome = service.call(prepared, context).await?;
    let took = started.elapsed();
    let answer: Answer = serde_json::from_slice(&outcome.body)?;
    ensure!(
        answer.usage.completion_tokens == tokens,
        "the answer ended early"
    );
    Ok((took, answer.usage.prompt_tokens))
}

fn body(prompt: &str, tokens: u32, seed: u32) -> Bytes {
    let options = json!({ "max_tokens": tokens, "temperature": 0, "seed": seed });
    Bytes::from(json!({ "prompt": prompt, "options": options }).to_string())
}

fn per_second(tokens: u32, took: Duration) -> f64 {
    f64::from(tokens) / took.as_secs_f64().max(1e-9)
}

struct Ours {
    prefill: f64,
    decode: f64,
    together: f64,
}

#[derive(Deserialize)]
struct Answer {
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
}

fn service(cache: &Path, component: &[u8], file: &Bytes, threads: usize) -> Result<Service> {
    let engine = rialto_lm::Engine::new(rialto_lm::Config {
        threads: NonZeroUsize::new(threads).context("no thread")?,
        ..rialto_lm::Config::default()
    });
    let models = One(engine.load(file, "smollm2")?);
    let spec = ServiceSpec {
        name: "chat".to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants {
            tensor: true,
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        },
        models: vec!["smollm2".to_owned()],
        limits: Limits {
            cpu_max: Duration::from_secs(60),
            wall_max: Duration::from_secs(100),
            ..Limits::default()
        },
        ..ServiceSpec::default()
    };
    Ok(Host::new(Config::new(cache))?.load(component, spec, Arc::new(models))?)
}

/// The one model that there is.
struct One(Arc<dyn LanguageModel>);

impl Models for One {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        Err(OpenError::Unknown(name.to_owned()))
    }

    fn language(&self, _: &str) -> Option<Arc<dyn LanguageModel>> {
        Some(Arc::clone(&self.0))
    }
}

/// llama.cpp in a process of its own.
struct Llama {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What it answers, in tokens a second.
#[derive(Deserialize)]
struct Rates {
    prompt_tokens: u32,
    prefill: f64,
    decode: f64,
}

impl Llama {
    fn start(model: &Path, threads: usize) -> Result<Self> {
        let python = path_from_env("RIALTO_VENV")?.join("bin/python3");
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("llama.py"))
            .arg(model)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("llama.cpp does not start")?;
        let input = process.stdin.take().context("no input")?;
        let output = BufReader::new(process.stdout.take().context("no output")?);
        Ok(Self {
            process,
            input,
            output,
        })
    }

    fn ask(&mut self, prompt: &str, tokens: u32) -> Result<Rates> {
        writeln!(
            self.input,
            "{}",
            json!({ "prompt": prompt, "tokens": tokens })
        )?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "llama.cpp ended: is xllamacpp installed?");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The model goes on with it for far longer than is measured.
const PROMPT: &str =
    "Once upon a time, there was a little girl who lived in a village near the forest.\n";
const PROMPT_TIMES: usize = 8;
const TOKENS: u32 = 64;
const CALLS: u32 = 8;
/// Our tokens a second by llama.cpp's.
const LLAMA_MIN: f64 = 0.9;
/// Eight calls' tokens a second by one call's.
const TOGETHER_MIN: f64 = 2.0;
