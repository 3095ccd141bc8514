//! Many callers' sessions in one batch: equal results, stop sequences, limits, cancelling.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;
use rialto_compute::language::{
    Chunk, Finish, Generate, GenerateError, LanguageModel, Message, Reply, Role, Sampling, Session,
    Work,
};
use rialto_lm::{Config, Engine};

use crate::sample;

type Answer = (Box<dyn Session>, Result<Chunk, GenerateError>);

struct Waiting {
    sender: mpsc::Sender<Answer>,
    /// Whoever asks waits while a test holds it.
    wanted: Arc<Mutex<bool>>,
}

impl Reply for Waiting {
    fn wanted(&self) -> bool {
        *self.wanted.lock().unwrap()
    }

    fn done(self: Box<Self>, session: Box<dyn Session>, result: Result<Chunk, GenerateError>) {
        let _ = self.sender.send((session, result));
    }
}

fn config() -> Config {
    Config {
        threads: NonZeroUsize::new(2).unwrap(),
        weights_bytes_max: 1 << 26,
        sessions_bytes_max: 1 << 26,
        ..Config::default()
    }
}

fn load(config: Config) -> Arc<dyn LanguageModel> {
    let file = Bytes::from(sample::file());
    Engine::new(config).load(&file, "sample").unwrap()
}

fn start(session: Box<dyn Session>, work: Work) -> mpsc::Receiver<Answer> {
    let (sender, receiver) = mpsc::channel();
    let wanted = Arc::new(Mutex::new(true));
    session.advance(work, Box::new(Waiting { sender, wanted }));
    receiver
}

fn run(session: Box<dyn Session>, work: Work) -> Answer {
    start(session, work).recv().unwrap()
}

fn generate(tokens_max: u32) -> Generate {
    Generate {
        tokens_max,
        sampling: Sampling::default(),
        stop: Vec::new(),
        allowed: None,
    }
}

fn work(tokens: &[u32], generate: Option<Generate>) -> Work {
    Work {
        tenant: Arc::from("someone"),
        tokens: tokens.to_vec(),
        generate,
    }
}

/// Warm, so that every random number matters.
fn warm(tokens_max: u32, seed: u64) -> Generate {
    let sampling = Sampling {
        temperature: 1.5,
        top_p: 0.95,
        seed,
        ..Sampling::default()
    };
    Generate {
        sampling,
        ..generate(tokens_max)
    }
}

#[test]
fn what_is_made_does_not_depend_on_pieces_neighbours_or_forks() {
    let model = load(config());
    let prompts: Vec<Vec<u32>> = (0..6_u32)
        .map(|n| (0..20 + n * 30).map(|at| (at * 7 + n) % 188).collect())
        .collect();
    let at_once: Vec<Chunk> = prompts
        .iter()
        .map(|prompt| {
            let (_, chunk) = run(model.session(400), work(prompt, Some(warm(24, 5))));
            chunk.unwrap()
        })
        .collect();
    assert!(at_once.iter().any(|chunk| chunk.tokens.len() == 24));
    let together: Vec<_> = prompts
        .iter()
        .map(|prompt| start(model.session(400), work(prompt, Some(warm(24, 5)))))
        .collect();
    for (receiver, expected) in together.into_iter().zip(&at_once) {
        let chunk = receiver.recv().unwrap().1.unwrap();
        assert_eq!(
            (&chunk.tokens, &chunk.text),
            (&expected.tokens, &expected.text)
        );
    }
    for (prompt, expected) in prompts.iter().zip(&at_once) {
        let (mut session, prefilled) = run(model.session(400), work(prompt, None));
        assert_eq!(prefilled.unwrap().tokens, [0; 0]);
        let (mut tokens, mut text) = (Vec::new(), String::new());
        while tokens.len() < expected.tokens.len() {
            let length = session.length();
            // What a fork did is not seen, and what was cut off is made again.
            let (_, elsewhere) = run(session.fork(), work(&[], Some(warm(3, 77))));
            elsewhere.unwrap();
            let (mut again, _) = run(session.fork(), work(&[9], Some(warm(4, 5))));
            again.truncate(length);
            let (after, chunk) = run(again, work(&[], Some(warm(5, 5))));
            let chunk = chunk.unwrap();
            tokens.extend(&chunk.tokens);
            let (same, same_chunk) = run(session, work(&[], Some(warm(5, 5))));
            let same_chunk = same_chunk.unwrap();
            assert_eq!(same_chunk.tokens, chunk.tokens);
            assert_eq!(same.length(), after.length());
            text.push_str(&same_chunk.text);
            session = same;
        }
        text.push_str(&session.rest());
        assert_eq!(
            tokens.get(..expected.tokens.len()),
            Some(&expected.tokens[..])
        );
    }
}

#[test]
fn answers_end_at_the_stop_sequence_the_end_token_and_the_limit() {
    let model = load(config());
    let only = |text: &str| {
        let allowed = model.tokenise(text, true);
        Generate {
            allowed: Some(allowed),
            ..generate(50)
        }
    };
    let (session, chunk) = run(model.session(100), work(&[1, 2], Some(only("<|end|>"))));
    let chunk = chunk.unwrap();
    assert_eq!(
        (chunk.finish, chunk.tokens.as_slice()),
        (Some(Finish::End), &[188][..])
    );
    assert_eq!((chunk.text.as_str(), session.length()), ("", 3));

    let stop = |stops: &[&str]| Generate {
        stop: stops.iter().map(ToString::to_string).collect(),
        ..only("a")
    };
    let (_, chunk) = run(model.session(100), work(&[1], Some(stop(&["b", "aaaa"]))));
    let chunk = chunk.unwrap();
    assert_eq!(
        (chunk.finish, chunk.text.as_str()),
        (Some(Finish::Stop), "")
    );
    assert_eq!(chunk.tokens.len(), 4);

    let held = Generate {
        tokens_max: 3,
        ..stop(&["aaaab"])
    };
    let (mut session, chunk) = run(model.session(100), work(&[1], Some(held)));
    let chunk = chunk.unwrap();
    assert_eq!((chunk.finish, chunk.text.as_str()), (None, ""));
    assert_eq!(
        (session.rest(), session.rest()),
        ("aaa".to_owned(), String::new())
    );

    let (session, chunk) = run(model.session(5), work(&[1, 2], Some(only("a"))));
    let chunk = chunk.unwrap();
    assert_eq!(
        (chunk.finish, chunk.text.as_str()),
        (Some(Finish::Length), "aaa")
    );
    assert_eq!((session.length(), session.tokens_max()), (5, 5));
    let (_, chunk) = run(session, work(&[], Some(only("a"))));
    assert_eq!(chunk.unwrap().finish, Some(Finish::Length));
}

#[test]
fn what_cannot_be_is_refused_and_the_session_comes_back_unchanged() {
    let model = load(config());
    let refused = |work: Work| {
        let (session, _) = run(model.session(8), self::work(&[1, 2, 3], None));
        let (session, result) = run(session, work);
        assert_eq!(session.length(), 3);
        result.unwrap_err()
    };
    let unknown = refused(work(&[192], None));
    assert!(matches!(
        unknown,
        GenerateError::UnknownToken { token: 192, .. }
    ));
    let full = refused(work(&[1; 6], None));
    assert!(matches!(
        full,
        GenerateError::ContextFull {
            needed: 9,
            tokens_max: 8
        }
    ));
    let setting = refused(work(&[], Some(generate(0))));
    assert_eq!(setting, GenerateError::Setting("tokens-max"));
    let nothing = Generate {
        allowed: Some(vec![4000]),
        ..generate(1)
    };
    assert_eq!(
        refused(work(&[], Some(nothing))),
        GenerateError::NothingAllowed
    );
    let empty = Generate {
        stop: vec![String::new()],
        ..generate(1)
    };
    assert_eq!(
        refused(work(&[], Some(empty))),
        GenerateError::Setting("stop")
    );
    let (_, result) = run(model.session(8), work(&[], Some(generate(1))));
    assert_eq!(result.unwrap_err(), GenerateError::Empty);
    let message = Message {
        role: Role::User,
        content: "hi".to_owned(),
    };
    assert_eq!(model.template(&[message]), Err(GenerateError::NoTemplate));
}

#[test]
fn memory_that_runs_out_loses_no_token() {
    let room = load(config()).session_bytes(32);
    let model = load(Config {
        sessions_bytes_max: room,
        ..config()
    });
    let prompt = [3; 30];
    let endless = Generate {
        allowed: Some(vec![5, 6, 7]),
        ..warm(20, 1)
    };
    let (session, chunk) = run(model.session(100), work(&prompt, Some(endless.clone())));
    let chunk = chunk.unwrap();
    // Two more fit the page, and one is chosen that was not taken in.
    assert_eq!((chunk.tokens.len(), chunk.finish), (3, None));
    assert_eq!(session.length(), 33);
    let (session, result) = run(session, work(&[], Some(endless)));
    assert_eq!(
        result.unwrap_err(),
        GenerateError::OutOfMemory { bytes_max: room }
    );
    assert_eq!(session.length(), 33);
    let (_, result) = run(model.session(100), work(&[1], None));
    assert!(matches!(result, Err(GenerateError::OutOfMemory { .. })));
    drop(session);
    run(model.session(100), work(&[1], None)).1.unwrap();
}

#[test]
fn nobody_waits_behind_work_that_is_no_longer_wanted() {
    let model = load(Config {
        waiting_max: 2,
        ..config()
    });
    let endless = || Generate {
        allowed: Some(vec![5, 6]),
        ..generate(u32::MAX)
    };
    let wanted = Arc::new(Mutex::new(true));
    let (sender, unanswered) = mpsc::channel();
    let mut still_wanted = wanted.lock().unwrap();
    for _ in 0..2 {
        let reply = Waiting {
            sender: sender.clone(),
            wanted: Arc::clone(&wanted),
        };
        let session = model.session(512);
        session.advance(work(&[1; 64], Some(endless())), Box::new(reply));
    }
    drop(sender);
    let (session, result) = run(model.session(512), work(&[1], Some(generate(1))));
    assert_eq!(result.unwrap_err(), GenerateError::Busy { waiting_max: 2 });
    *still_wanted = false;
    drop(still_wanted);
    // Both replies are dropped with their sessions, and so is their sender.
    assert!(unanswered.recv().is_err());
    run(session, work(&[1], Some(generate(1)))).1.unwrap();
}
