//! Language models from inside the sandbox, used as no honest service would.

/// Misuses a language model.
#[rialto_sdk::service]
pub mod generation {
    use rialto_sdk::generation::{LanguageModel, Message, Options, Role, Session};

    /// What a misuse came to.
    pub struct Outcome {
        /// What was tried.
        pub what: String,
        /// The host's answer; empty where it did as asked.
        pub refusal: String,
    }

    /// Tries everything that must be refused, each alone.
    pub fn misuse(
        /// The model's granted name.
        model: String,
    ) -> Result<Vec<Outcome>, String> {
        let model = LanguageModel::open(&model).map_err(text)?;
        let vocabulary = model.about().vocabulary;
        let session = model.session(32).map_err(text)?;
        let mut outcomes = vec![
            outcome("another model", LanguageModel::open("another").map(drop)),
            outcome(
                "a long text",
                model.tokenise(&"a".repeat(2 << 20), false).map(drop),
            ),
            outcome(
                "many marks",
                model.tokenise(&"<|im_end|>".repeat(9_000), true).map(drop),
            ),
            outcome(
                "a long message",
                model.template(&[long_message()]).map(drop),
            ),
            outcome("an endless session", model.session(u32::MAX).map(drop)),
            outcome(
                "nothing read",
                session.generate(1, &Options::default()).map(drop),
            ),
            outcome("nothing to rank", session.likeliest(u32::MAX).map(drop)),
            outcome("no such token", session.prefill(&[vocabulary])),
            outcome("no such token", session.prefill(&[u32::MAX])),
            outcome("too many tokens", session.prefill(&[1; 33])),
            outcome("longer than it is", session.truncate(1)),
        ];
        session.prefill(&[1, 2, 3]).map_err(text)?;
        outcomes.extend(
            odd_options(vocabulary)
                .into_iter()
                .map(|(what, options)| outcome(what, session.generate(1, &options).map(drop))),
        );
        outcomes.push(outcome("too many sessions", many(&model)));
        Ok(outcomes)
    }

    /// Goes on as before once misuse is over.
    pub fn honest(
        /// The model's granted name.
        model: String,
    ) -> Result<u32, String> {
        let model = LanguageModel::open(&model).map_err(text)?;
        let session = model.session(16).map_err(text)?;
        session.prefill(&[1, 2, 3]).map_err(text)?;
        let chunk = session.generate(4, &Options::default()).map_err(text)?;
        Ok(u32::try_from(chunk.tokens.len()).unwrap_or(u32::MAX))
    }

    /// Writes for as long as the session allows, again and again.
    pub fn endless(
        /// The model's granted name.
        model: String,
    ) -> Result<u32, String> {
        let model = LanguageModel::open(&model).map_err(text)?;
        loop {
            let session = model.session(1_024).map_err(text)?;
            session.prefill(&[1]).map_err(text)?;
            session
                .generate(u32::MAX, &Options::default())
                .map_err(text)?;
        }
    }

    fn odd_options(vocabulary: u32) -> Vec<(&'static str, Options)> {
        let usual = Options::default;
        vec![
            (
                "a temperature that is no number",
                Options {
                    temperature: f32::NAN,
                    ..usual()
                },
            ),
            (
                "a temperature below zero",
                Options {
                    temperature: -1.0,
                    ..usual()
                },
            ),
            (
                "an infinite penalty",
                Options {
                    repetition_penalty: f32::INFINITY,
                    ..usual()
                },
            ),
            (
                "no penalty",
                Options {
                    repetition_penalty: 0.0,
                    ..usual()
                },
            ),
            (
                "a share above one",
                Options {
                    top_p: 2.0,
                    ..usual()
                },
            ),
            (
                "a share that is no number",
                Options {
                    min_p: f32::NAN,
                    ..usual()
                },
            ),
            (
                "too many stops",
                Options {
                    stop: vec!["x".to_owned(); 17],
                    ..usual()
                },
            ),
            (
                "an empty stop",
                Options {
                    stop: vec![String::new()],
                    ..usual()
                },
            ),
            (
                "a long stop",
                Options {
                    stop: vec!["x".repeat(257)],
                    ..usual()
                },
            ),
            (
                "nothing allowed",
                Options {
                    allowed: Some(Vec::new()),
                    ..usual()
                },
            ),
            (
                "nothing real allowed",
                Options {
                    allowed: Some(vec![vocabulary]),
                    ..usual()
                },
            ),
        ]
    }

    fn many(model: &LanguageModel) -> Result<(), rialto_sdk::tensor::Error> {
        let mut sessions: Vec<Session> = Vec::new();
        for _ in 0..1_000 {
            sessions.push(model.session(16)?);
        }
        Ok(())
    }

    fn long_message() -> Message {
        Message {
            role: Role::User,
            content: "a ".repeat(1 << 20),
        }
    }

    fn outcome(what: &str, result: Result<(), rialto_sdk::tensor::Error>) -> Outcome {
        Outcome {
            what: what.to_owned(),
            refusal: result.err().map(text).unwrap_or_default(),
        }
    }

    fn text(error: rialto_sdk::tensor::Error) -> String {
        error.to_string()
    }
}
