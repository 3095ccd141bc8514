//! `chat`: a small language model answers.
//!
//! The interface is below; [`settings`] checks what the caller asks for, [`writer`] writes the answer
//! piece by piece.

pub mod settings;
pub mod writer;

/// Chat with SmolLM2-135M-Instruct, a small language model that knows English best.
///
/// One seed gives one answer: the same question with the same options is answered by the same words, on
/// every host. At most 4,096 tokens in all, the answer's counted (about 3,000 English words).
#[rialto_sdk::service]
pub mod chat {
    use crate::settings::Settings;
    use crate::writer::{self, Written};
    use rialto_sdk::Stream;
    use rialto_sdk::generation::{self, LanguageModel};

    /// Who speaks.
    pub enum Role {
        /// Instructions for the assistant; the first message, if any.
        System,
        /// The person.
        User,
        /// The model.
        Assistant,
    }

    /// One contribution to a conversation.
    pub struct Message {
        /// Who speaks.
        pub role: Role,
        /// What is said.
        pub content: String,
    }

    /// How to answer.
    pub struct Options {
        /// The most tokens of the answer, 1 to 2,048; 256 if left out.
        pub max_tokens: Option<u32>,
        /// How freely words are chosen, 0 to 2; 0 takes the most likely ones. 0.2 if left out.
        pub temperature: Option<f64>,
        /// Only the most likely tokens that have this much probability together, above 0 to 1; 0.9 if left
        /// out.
        pub top_p: Option<f64>,
        /// Only so many of the most likely tokens; all if left out.
        pub top_k: Option<u32>,
        /// Makes what was just written less likely, 0.5 to 2; 1 if left out, which changes nothing.
        pub repetition_penalty: Option<f64>,
        /// Another number gives another answer; 0 if left out.
        pub seed: Option<u64>,
        /// Texts before which the answer ends; at most 4 of 1 to 256 bytes.
        pub stop: Option<Vec<String>>,
    }

    /// Why an answer ended.
    pub enum FinishReason {
        /// The model ended it, or a stop text was reached.
        Stop,
        /// It has as many tokens as were asked for.
        Length,
    }

    /// How many tokens it took.
    pub struct Usage {
        /// Of the question, with the marks around the messages.
        pub prompt_tokens: u32,
        /// Of the answer.
        pub completion_tokens: u32,
        /// Both together.
        pub total_tokens: u32,
    }

    /// The model's answer.
    pub struct Answer {
        /// What the assistant says.
        pub message: Message,
        /// Why it ended.
        pub finish_reason: FinishReason,
        /// How many tokens it took.
        pub usage: Usage,
    }

    /// A text's continuation.
    pub struct Completion {
        /// What follows the prompt.
        pub text: String,
        /// Why it ended.
        pub finish_reason: FinishReason,
        /// How many tokens it took.
        pub usage: Usage,
    }

    /// Answers a conversation. Its last message is the user's.
    pub fn chat(
        /// What was said so far, in order.
        messages: Vec<Message>,
        /// How to answer; the usual if left out.
        options: Option<Options>,
    ) -> Result<Answer, String> {
        let settings = Settings::new(options.as_ref())?;
        let messages = of_model(messages)?;
        let model = LanguageModel::open(MODEL)?;
        let prompt = model.template(&messages)?;
        let written = writer::write(&model, &prompt, &settings)?;
        Ok(Answer {
            usage: usage(&prompt, &written),
            finish_reason: reason(&written),
            message: Message {
                role: Role::Assistant,
                content: written.text,
            },
        })
    }

    /// Answers a conversation, word by word. Its last message is the user's.
    pub fn stream(
        /// What was said so far, in order.
        messages: Vec<Message>,
        /// How to answer; the usual if left out.
        options: Option<Options>,
    ) -> Result<Stream<Result<String, String>>, String> {
        let settings = Settings::new(options.as_ref())?;
        let messages = of_model(messages)?;
        let model = LanguageModel::open(MODEL)?;
        let prompt = model.template(&messages)?;
        let pieces = writer::pieces(&model, &prompt, &settings, 1)?;
        let texts = pieces.map(|piece| piece.map(|piece| piece.text));
        // A letter may take several tokens, and what might begin a stop text is held back.
        let texts = texts.filter(|text| text.as_ref().map_or(true, |text| !text.is_empty()));
        Ok(Stream::new(texts))
    }

    /// Continues a text as it is, without any instructions around it.
    pub fn complete(
        /// The text to continue.
        prompt: String,
        /// How to continue; the usual if left out.
        options: Option<Options>,
    ) -> Result<Completion, String> {
        let settings = Settings::new(options.as_ref())?;
        if prompt.is_empty() {
            return Err("`prompt` is empty: give the beginning of a text".to_owned());
        }
        let model = LanguageModel::open(MODEL)?;
        let prompt = model.tokenise(&prompt, false)?;
        let written = writer::write(&model, &prompt, &settings)?;
        Ok(Completion {
            usage: usage(&prompt, &written),
            finish_reason: reason(&written),
            text: written.text,
        })
    }

    const MODEL: &str = "smollm2";

    fn of_model(messages: Vec<Message>) -> Result<Vec<generation::Message>, String> {
        if !matches!(
            messages.last(),
            Some(Message {
                role: Role::User,
                ..
            })
        ) {
            return Err("the last of `messages` must be the user's".to_owned());
        }
        let late = messages.iter().skip(1);
        if late
            .into_iter()
            .any(|message| matches!(message.role, Role::System))
        {
            return Err("only the first of `messages` may be the system's".to_owned());
        }
        let of_model = |message: Message| generation::Message {
            role: match message.role {
                Role::System => generation::Role::System,
                Role::User => generation::Role::User,
                Role::Assistant => generation::Role::Assistant,
            },
            content: message.content,
        };
        Ok(messages.into_iter().map(of_model).collect())
    }

    fn reason(written: &Written) -> FinishReason {
        if written.ended {
            FinishReason::Stop
        } else {
            FinishReason::Length
        }
    }

    fn usage(prompt: &[u32], written: &Written) -> Usage {
        let prompt_tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        Usage {
            prompt_tokens,
            completion_tokens: written.tokens,
            total_tokens: prompt_tokens.saturating_add(written.tokens),
        }
    }
}
