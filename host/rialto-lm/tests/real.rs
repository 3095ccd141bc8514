//! A real model against llama.cpp and against a plain f32 computation.
//!
//! The model comes from the store that `cargo xtask test` fills; `expected.txt` was written by
//! `oracle.py` in the folder beside this file.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use rialto_lm::{Budget, Cancel, Input, Isa, Model, Runner, Session, gguf::Limits};

fn file() -> Bytes {
    let dir = std::env::var_os("RIALTO_ARTIFACTS").expect(
        "RIALTO_ARTIFACTS names the folder of fetched models; `cargo xtask test` fills and sets it",
    );
    let path = PathBuf::from(dir).join(SMOLLM2);
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask test` fetches it", path.display())
    }))
}

fn model(isa: Isa) -> Arc<Model> {
    let budget = Budget::new(1 << 30);
    Arc::new(Model::load_for(&file(), &Limits::default(), &budget, isa).unwrap())
}

fn cases(kind: &str) -> Vec<Vec<String>> {
    let fields = include_str!("real/expected.txt")
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let cases: Vec<_> = fields
        .filter(|fields| fields[0] == kind)
        .map(|f| f[1..].to_vec())
        .collect();
    assert!(!cases.is_empty());
    cases
}

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(field: &str) -> Vec<T> {
    field
        .split_whitespace()
        .map(|item| item.parse().unwrap())
        .collect()
}

fn session(model: &Arc<Model>) -> Session {
    Session::new(Arc::clone(model), Budget::new(1 << 30), 2048)
}

fn advance(runner: &mut Runner, session: &mut Session, tokens: &[u32]) {
    runner
        .advance(&mut [Input { session, tokens }], &Cancel::default())
        .unwrap();
}

/// The most likely token that does not end the text: the oracle went on past the end.
fn best(session: &Session, model: &Model) -> u32 {
    let logits = (0..).zip(session.logits().unwrap());
    let goes_on = logits.filter(|(token, _)| !model.tokenizer().is_end(*token));
    let best = goes_on.max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.unwrap().0
}

#[test]
fn text_becomes_the_tokens_that_llama_cpp_finds_and_back() {
    let model = model(Isa::detect());
    let mut wrong = Vec::new();
    for case in cases("tokens") {
        let [special, text, tokens] = case.as_slice() else {
            panic!("{case:?}")
        };
        let bytes = text
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
        let text = String::from_utf8(bytes.collect()).unwrap();
        let found = model.tokenizer().encode(&text, special == "1");
        if found != list::<u32>(tokens) {
            wrong.push(format!("{text:?}: {found:?} is not {tokens}"));
        }
        if special == "0" {
            assert_eq!(model.tokenizer().decode(&found), text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Fed with llama.cpp's own tokens, the most likely token is the same wherever llama.cpp's choice was
/// not close; where the arithmetic allows, whole texts are equal.
#[test]
fn greedy_text_is_llama_cpps_unless_two_tokens_are_nearly_equally_likely() {
    let mut runner = Runner::new(model(Isa::detect()), 2).unwrap();
    let model = Arc::clone(runner.model());
    let (mut equal, mut all, mut texts, mut longest) = (0, 0, 0, 0);
    for case in cases("greedy") {
        let [prompt, tokens, gaps] = case.as_slice() else {
            panic!("{case:?}")
        };
        let (tokens, gaps) = (list::<u32>(tokens), list::<f32>(gaps));
        let mut session = session(&model);
        advance(&mut runner, &mut session, &list::<u32>(prompt));
        let mut same = 0;
        for (at, (token, gap)) in tokens.iter().zip(gaps).enumerate() {
            let found = best(&session, &model);
            if found == *token {
                equal += 1;
                same += usize::from(same == at);
            } else {
                assert!(
                    gap < CLOSE,
                    "token {at} of {prompt}: {found} is not {token}, gap {gap}"
                );
            }
            all += 1;
            advance(&mut runner, &mut session, &[*token]);
        }
        texts += usize::from(same == tokens.len());
        longest = longest.max(same);
        println!("equal from the start: {same} of {}", tokens.len());
    }
    println!("{equal} of {all} tokens, {texts} whole texts, longest {longest}");
    assert!(equal * 100 >= all * 95, "{equal} of {all} tokens are equal");
    assert!(longest >= 50, "no text is equal for 50 tokens");
}

/// Both programs quantise activations; ours is not much farther from exact arithmetic than llama.cpp.
#[test]
fn probabilities_are_as_close_to_exact_ones_as_llama_cpps() {
    let mut runner = Runner::new(model(Isa::detect()), 2).unwrap();
    let model = Arc::clone(runner.model());
    let (mut ours, mut theirs, mut count) = (0.0, 0.0, 0.0);
    for case in cases("logits") {
        let [prompt, ids, exact, llama] = case.as_slice() else {
            panic!("{case:?}")
        };
        let mut session = session(&model);
        advance(&mut runner, &mut session, &list::<u32>(prompt));
        let logits = session.logits().unwrap();
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum = logits
            .iter()
            .map(|l| f64::from(l - largest).exp())
            .sum::<f64>()
            .ln();
        let each = list::<usize>(ids)
            .into_iter()
            .zip(list::<f64>(exact))
            .zip(list::<f64>(llama));
        for ((id, exact), llama) in each {
            let found = f64::from(logits[id] - largest) - sum;
            ours += (found - exact).powi(2);
            theirs += (llama - exact).powi(2);
            count += 1.0;
            assert!(
                (found - exact).abs() < 1.0,
                "token {id}: {found} is not {exact}"
            );
        }
    }
    let (ours, theirs) = ((ours / count).sqrt(), (theirs / count).sqrt());
    println!("root mean square error {ours:.4}, llama.cpp's {theirs:.4}");
    assert!(ours < theirs * 1.3, "{ours} is much more than {theirs}");
}

#[test]
fn all_instruction_sets_threads_and_batches_give_equal_bits() {
    let prompts: Vec<Vec<u32>> = cases("greedy").iter().map(|case| list(&case[0])).collect();
    let mut expected: Option<Vec<Vec<f32>>> = None;
    for isa in Isa::all() {
        let model = model(isa);
        for threads in [1, 2, 3] {
            if isa != Isa::detect() && threads != 2 {
                continue;
            }
            let mut runner = Runner::new(Arc::clone(&model), threads).unwrap();
            let mut sessions: Vec<Session> = prompts.iter().map(|_| session(&model)).collect();
            let inputs = sessions.iter_mut().zip(&prompts);
            let mut inputs: Vec<_> = inputs
                .map(|(session, tokens)| Input {
                    session,
                    tokens: &tokens[..],
                })
                .collect();
            runner.advance(&mut inputs, &Cancel::default()).unwrap();
            let found: Vec<Vec<f32>> = sessions
                .iter()
                .map(|session| session.logits().unwrap().to_vec())
                .collect();
            let alone = expected.get_or_insert_with(|| {
                let one = |tokens: &Vec<u32>| {
                    let mut session = session(&model);
                    for token in tokens {
                        advance(&mut runner, &mut session, &[*token]);
                    }
                    session.logits().unwrap().to_vec()
                };
                prompts.iter().map(one).collect()
            });
            assert!(
                found == *alone,
                "{} with {threads} threads differs",
                isa.name()
            );
        }
    }
}

#[test]
fn a_fork_goes_its_own_way_and_a_truncated_session_forgets() {
    let mut runner = Runner::new(model(Isa::detect()), 2).unwrap();
    let model = Arc::clone(runner.model());
    let tokens: Vec<u32> = (0..40).map(|i| 300 + i * 11).collect();
    let mut first = session(&model);
    advance(&mut runner, &mut first, &tokens);
    let mut second = first.fork();
    advance(&mut runner, &mut second, &[17]);
    advance(&mut runner, &mut first, &[18]);
    let mut alone = session(&model);
    advance(&mut runner, &mut alone, &tokens);
    advance(&mut runner, &mut alone, &[18]);
    assert_eq!(first.logits(), alone.logits());
    assert_ne!(first.logits(), second.logits());
    second.truncate(33);
    assert_eq!(second.logits(), None);
    advance(&mut runner, &mut second, &tokens[33..]);
    advance(&mut runner, &mut second, &[18]);
    assert_eq!(second.logits(), alone.logits());
}

const SMOLLM2: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Logarithms of probabilities: what quantised activations and half-precision keys may shift.
const CLOSE: f32 = 0.5;
