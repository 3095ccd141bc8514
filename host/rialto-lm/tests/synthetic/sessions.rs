//! Sessions: equal results however tokens come, limits that hold, cancelling.

use std::sync::Arc;

use proptest::prelude::*;
use rialto_lm::{Budget, Cancel, Input, Model, RunError, Runner, Session, tokenizer::Stream};

use crate::sample;

fn advance(runner: &mut Runner, session: &mut Session, tokens: &[u32]) -> Result<(), RunError> {
    runner.advance(&mut [Input { session, tokens }], &Cancel::default())
}

fn session(model: &Arc<Model>) -> Session {
    Session::new(Arc::clone(model), Budget::new(1 << 26), 512)
}

fn alone(runner: &mut Runner, tokens: &[u32]) -> Vec<u32> {
    let mut session = session(&Arc::clone(runner.model()));
    for token in tokens {
        advance(runner, &mut session, &[*token]).unwrap();
    }
    bits(&session)
}

fn bits(session: &Session) -> Vec<u32> {
    session
        .logits()
        .unwrap()
        .iter()
        .map(|logit| logit.to_bits())
        .collect()
}

#[test]
fn memory_is_as_announced_and_given_back() {
    let model = sample::model();
    let mut runner = Runner::new(Arc::clone(&model), 2).unwrap();
    let page = Session::bytes(&model, 33) - Session::bytes(&model, 32);
    let logits = Session::bytes(&model, 32) - page;
    assert_eq!(logits, 192 * 4);
    let budget = Budget::new(3 * page + 2 * logits);
    let mut first = Session::new(Arc::clone(&model), budget.clone(), 100);
    advance(&mut runner, &mut first, &[5; 40]).unwrap();
    assert_eq!(budget.used(), 2 * page + logits);
    let mut second = first.fork();
    assert_eq!(budget.used(), 2 * page + logits);
    advance(&mut runner, &mut second, &[6]).unwrap();
    assert_eq!(
        budget.used(),
        3 * page + 2 * logits,
        "only the page in progress is copied"
    );
    let before = bits(&second);
    let refused = advance(&mut runner, &mut second, &[7; 30]);
    assert_eq!(
        refused,
        Err(RunError::OutOfMemory {
            page_bytes: page,
            bytes_max: 3 * page + 2 * logits
        })
    );
    assert_eq!((second.tokens().len(), budget.used()), (41, budget.max()));
    assert_eq!(bits(&second), before);
    drop(first);
    assert_eq!(
        budget.used(),
        2 * page + logits,
        "the full page is still the second session's"
    );
    second.truncate(32);
    assert_eq!(budget.used(), page + logits);
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let model = sample::model();
    let mut runner = Runner::new(Arc::clone(&model), 1).unwrap();
    let mut short = Session::new(Arc::clone(&model), Budget::new(1 << 26), 4);
    advance(&mut runner, &mut short, &[1, 2, 3]).unwrap();
    let full = RunError::ContextFull {
        needed: 5,
        tokens_max: 4,
    };
    assert_eq!(advance(&mut runner, &mut short, &[4, 5]), Err(full));
    assert_eq!(
        advance(&mut runner, &mut short, &[]),
        Err(RunError::NoToken)
    );
    let unknown = RunError::UnknownToken {
        token: 192,
        vocabulary: 192,
    };
    assert_eq!(advance(&mut runner, &mut short, &[192]), Err(unknown));
    let mut other = session(&sample::model());
    assert_eq!(
        advance(&mut runner, &mut other, &[1]),
        Err(RunError::OtherModel)
    );
    assert_eq!(short.tokens(), [1, 2, 3]);
    assert_eq!(
        Session::new(model, Budget::new(0), usize::MAX).tokens_max(),
        512
    );
}

#[test]
fn a_cancelled_run_leaves_all_sessions_as_they_were() {
    let model = sample::model();
    let mut runner = Runner::new(Arc::clone(&model), 2).unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(cancel.is_cancelled());
    let budget = Budget::new(1 << 26);
    let mut session = Session::new(model, budget.clone(), 512);
    let inputs = &mut [Input {
        session: &mut session,
        tokens: &[1; 300],
    }];
    assert_eq!(runner.advance(inputs, &cancel), Err(RunError::Cancelled));
    assert_eq!((session.tokens().len(), budget.used()), (0, 0));
    advance(&mut runner, &mut session, &[3, 4]).unwrap();
    assert_eq!(bits(&session), alone(&mut runner, &[3, 4]));
}

#[test]
fn text_goes_through_the_vocabulary_and_back() {
    let model = sample::model();
    let tokenizer = model.tokenizer();
    let tokens = tokenizer.encode("abcab a<|end|>", true);
    assert_eq!(tokens, [191, 190, 189, 64, 188]);
    assert_eq!(tokenizer.decode(&tokens), "abcab a");
    assert!(tokenizer.is_end(188));
    assert_eq!(tokenizer.encode("<|end|>", false).len(), 7);
}

#[test]
fn streamed_text_never_holds_half_a_character() {
    let model = sample::model();
    let tokenizer = model.tokenizer();
    let [first, second] = tokenizer.encode("é", false)[..] else {
        panic!("two bytes are two tokens here");
    };
    let a = tokenizer.encode("a", false)[0];
    let mut stream = Stream::default();
    let mut push = |token| stream.push(tokenizer, token);
    assert_eq!([push(a), push(first), push(second)], ["a", "", "é"]);
    assert_eq!([push(first), push(a)], ["", "\u{fffd}a"]);
    assert_eq!(push(second), "\u{fffd}");
    assert_eq!(push(first), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any number of sessions, prompts long enough to be divided by tokens, in pieces of any size.
    #[test]
    fn batches_pieces_and_threads_change_no_bit(
        lengths in proptest::collection::vec(1_usize..90, 1..5),
        pieces in 1_usize..70,
        threads in 1_usize..4,
    ) {
        let mut runner = Runner::new(sample::model(), threads).unwrap();
        let model = Arc::clone(runner.model());
        let texts: Vec<Vec<u32>> = (0..).zip(&lengths)
            .map(|(text, length)| (0..192).cycle().skip(text * 17).step_by(7).take(*length).collect())
            .collect();
        let mut sessions: Vec<Session> = texts.iter().map(|_| session(&model)).collect();
        for step in 0..90_usize.div_ceil(pieces) {
            let all = sessions.iter_mut().zip(&texts);
            let mut inputs: Vec<Input<'_>> = all.filter_map(|(session, text)| {
                let tokens = text.chunks(pieces).nth(step)?;
                Some(Input { session, tokens })
            }).collect();
            if !inputs.is_empty() {
                runner.advance(&mut inputs, &Cancel::default()).unwrap();
            }
        }
        for (session, text) in sessions.iter().zip(&texts) {
            prop_assert_eq!(session.tokens(), &text[..]);
            prop_assert!(bits(session) == alone(&mut runner, text));
        }
    }
}
