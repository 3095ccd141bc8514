//! Tokens a second: `bench FILE [THREADS..]`. Prints one line of JSON for each measurement.
//!
//! Prefill takes 128 tokens in; decode makes 64 after 16, for one session and for eight together.

#![expect(clippy::print_stdout, reason = "a program's output")]

use std::{error::Error, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use rialto_lm::{Budget, Cancel, Input, Model, Runner, Session, gguf::Limits};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: bench FILE [THREADS..]")?;
    let mut threads = arguments
        .map(|n| n.parse())
        .collect::<Result<Vec<usize>, _>>()?;
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    let start = Instant::now();
    let model = Arc::new(load(Path::new(&path))?);
    let seconds = start.elapsed().as_secs_f64();
    let bytes = model.weights_bytes();
    println!(
        "{{\"load_seconds\": {seconds:.3}, \"weights_bytes\": {bytes}, \"isa\": \"{}\"}}",
        model.isa().name()
    );
    for threads in threads {
        let mut runner = Runner::new(Arc::clone(&model), threads)?;
        prefill(&mut runner)?;
        let rate = (0..3)
            .map(|_| prefill(&mut runner))
            .collect::<Result<Vec<_>, _>>()?;
        report(threads, "prefill", 1, rate);
        for batch in [1, 8] {
            let rate = (0..3)
                .map(|_| decode(&mut runner, batch))
                .collect::<Result<Vec<_>, _>>()?;
            report(threads, "decode", batch, rate);
        }
    }
    Ok(())
}

fn load(path: &Path) -> Result<Model, Box<dyn Error>> {
    Ok(Model::load(
        &Bytes::from(std::fs::read(path)?),
        &Limits::default(),
        &Budget::new(16 << 30),
    )?)
}

fn session(runner: &Runner) -> Session {
    Session::new(Arc::clone(runner.model()), Budget::new(1 << 30), 1024)
}

fn prefill(runner: &mut Runner) -> Result<f64, Box<dyn Error>> {
    let tokens: Vec<u32> = (0..128).map(|i| 100 + i * 37).collect();
    let mut session = session(runner);
    let start = Instant::now();
    runner.advance(
        &mut [Input {
            session: &mut session,
            tokens: &tokens,
        }],
        &Cancel::default(),
    )?;
    Ok(128.0 / start.elapsed().as_secs_f64())
}

fn decode(runner: &mut Runner, batch: u32) -> Result<f64, Box<dyn Error>> {
    const STEPS: u32 = 64;
    let mut sessions: Vec<Session> = (0..batch).map(|_| session(runner)).collect();
    let tokens: Vec<u32> = (0..16).map(|i| 100 + i * 37).collect();
    let cancel = Cancel::default();
    for session in &mut sessions {
        runner.advance(
            &mut [Input {
                session,
                tokens: &tokens,
            }],
            &cancel,
        )?;
    }
    let start = Instant::now();
    for _ in 0..STEPS {
        let next: Vec<[u32; 1]> = sessions.iter().map(|session| [best(session)]).collect();
        let mut inputs: Vec<Input<'_>> = sessions
            .iter_mut()
            .zip(&next)
            .map(|(session, tokens)| Input { session, tokens })
            .collect();
        runner.advance(&mut inputs, &cancel)?;
    }
    Ok(f64::from(STEPS * batch) / start.elapsed().as_secs_f64())
}

fn best(session: &Session) -> u32 {
    let logits = session.logits().unwrap_or_default();
    let best = (0..).zip(logits).max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(0, |(token, _)| token)
}

fn report(threads: usize, what: &str, batch: u32, mut rates: Vec<f64>) {
    rates.sort_by(f64::total_cmp);
    let [least, median, most] = rates.as_slice() else {
        return;
    };
    println!(
        "{{\"threads\": {threads}, \"what\": \"{what}\", \"batch\": {batch}, \
         \"tokens_per_second\": {median:.1}, \"least\": {least:.1}, \"most\": {most:.1}}}"
    );
}
