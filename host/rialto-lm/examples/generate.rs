//! Continues a text greedily: `generate FILE TOKENS TEXT`.

#![expect(clippy::print_stdout, reason = "a program's output")]

use std::{error::Error, io::Write as _, sync::Arc};

use bytes::Bytes;
use rialto_lm::{
    Budget, Cancel, Input, Model, Runner, Sampler, Sampling, Session, gguf::Limits,
    tokenizer::Stream,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, count, text] = arguments.as_slice() else {
        return Err("usage: generate FILE TOKENS TEXT".into());
    };
    let model = Arc::new(Model::load(
        &Bytes::from(std::fs::read(path)?),
        &Limits::default(),
        &Budget::new(16 << 30),
    )?);
    let mut runner = Runner::new(Arc::clone(&model), 2)?;
    let mut session = Session::new(Arc::clone(&model), Budget::new(1 << 30), 2048);
    let mut sampler = Sampler::new(Sampling::default())?;
    let mut stream = Stream::default();
    let mut tokens = model.tokenizer().encode(text, true);
    for _ in 0..count.parse::<usize>()? {
        runner.advance(
            &mut [Input {
                session: &mut session,
                tokens: &tokens,
            }],
            &Cancel::default(),
        )?;
        let token = sampler.sample(session.logits().unwrap_or_default(), session.tokens(), None)?;
        if model.tokenizer().is_end(token) {
            break;
        }
        print!("{}", stream.push(model.tokenizer(), token));
        std::io::stdout().flush()?;
        tokens = vec![token];
    }
    println!("{}", stream.finish());
    Ok(())
}
