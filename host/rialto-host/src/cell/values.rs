//! Errors, models and requests as cells and hosts say them to each other, without loss: a guest in a cell
//! reads what a guest in the host's process reads.
//!
//! Non-goals: frames; who may ask for what.

use std::time::Duration;

use bytes::Bytes;
use rialto_compute::{Abilities, Element, Port, RunError, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::CallError;
use crate::hires::HireError;
use crate::keyvalue::{KeyChange, KeyChanged, KeyEntry, KeyStart};
use crate::model::OpenError;
use crate::outbound::OutboundError;

/// What a call needs of its host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Want {
    /// A model.
    Open {
        /// As the manifest names it.
        name: String,
    },
    /// A model's run. The inputs' elements follow.
    Run {
        /// As the manifest names it.
        model: String,
        /// Name and form of each input.
        inputs: Vec<(String, Form)>,
        /// The wanted outputs.
        outputs: Vec<String>,
    },
    /// A request over HTTP. Its body follows.
    Send {
        /// The method.
        method: String,
        /// The absolute URL.
        url: String,
        /// Its headers.
        headers: Vec<(String, Vec<u8>)>,
        /// When to give up, from now.
        left: Duration,
    },
    /// The next piece of a response's body.
    More {
        /// Which response.
        body: u64,
    },
    /// A response is of no use any more.
    Close {
        /// Which response.
        body: u64,
    },
    /// Keys and values. A [`KeyWant`] follows.
    Keys,
    /// What a call of another service costs.
    Quote {
        /// The service, as the guest says it.
        service: String,
        /// The method.
        method: String,
        /// Bytes of its arguments.
        bytes: u64,
    },
    /// A call of another service. Its arguments follow.
    Hire(HireTask),
    /// One whose answer comes item by item. Its arguments follow.
    OpenItems(HireTask),
    /// The next of its items.
    NextItem {
        /// Of which answer.
        items: u64,
    },
    /// What it came to.
    EndItems {
        /// Which answer.
        items: u64,
    },
    /// It is of no use any more.
    DropItems {
        /// Which answer.
        items: u64,
    },
}

/// A call of another service.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HireTask {
    /// The service, as the guest says it.
    pub(super) service: String,
    /// The method.
    pub(super) method: String,
    /// The most that it may cost.
    pub(super) price_max: Option<u128>,
    /// When to give up, from now.
    pub(super) left: Duration,
}

/// What a call needs of the service's state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeyWant {
    /// Whether of the payer's bucket; else of the service's own. The host knows who pays.
    pub(super) of_payer: bool,
    pub(super) what: KeyTask,
}

/// What is to be done there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KeyTask {
    /// Read these.
    Get(Vec<String>),
    /// Name some.
    List(KeyStart, u32),
    /// Change some.
    Change(KeyChange),
}

/// What came of a [`KeyTask`], or what the guest is told instead.
pub(super) type KeyFound = Result<KeyResult, String>;

/// What came of a [`KeyTask`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KeyResult {
    /// Of [`KeyTask::Get`].
    Entries(Vec<Option<KeyEntry>>),
    /// Of [`KeyTask::List`].
    Keys(Vec<String>),
    /// Of [`KeyTask::Change`].
    Changed(KeyChanged),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// A model.
    Model(Described),
    /// No model.
    NotOpened(#[serde(with = "RawOpenError")] OpenError),
    /// A run's outputs. Their elements follow.
    Tensors(Vec<Form>),
    /// No outputs.
    NotRun(#[serde(with = "RawRunError")] RunError),
    /// The head of a response.
    Response {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, Vec<u8>)>,
        /// What its body is asked for by.
        body: u64,
    },
    /// No response, or no more of it.
    NotSent(#[serde(with = "RawOutboundError")] OutboundError),
    /// A piece of a body, which follows; the last one is empty.
    Piece {
        /// Whether nothing follows.
        last: bool,
    },
    /// What came of a [`KeyWant`]. A [`KeyFound`] follows.
    Keys,
    /// What a call of another service costs.
    Quoted {
        /// At most.
        price_max: u128,
        /// Who would answer.
        provider: String,
        /// What may still be spent.
        left: u128,
    },
    /// Another service's answer, which follows.
    Hired {
        /// What it cost.
        charged: u128,
        /// The name of its receipt.
        receipt: Option<String>,
        /// What may still be spent.
        left: u128,
    },
    /// Another service's answer has begun, and comes item by item.
    ItemsOpened {
        /// What its items are asked for by.
        items: u64,
        /// What may still be spent.
        left: u128,
    },
    /// An item, which follows; the last one is none.
    Item {
        /// Whether there is none.
        last: bool,
        /// What may still be spent.
        left: u128,
    },
    /// What such an answer came to.
    Billed {
        /// What it cost.
        charged: u128,
        /// The name of its receipt.
        receipt: Option<String>,
        /// What may still be spent.
        left: u128,
    },
    /// None.
    NotHired {
        /// Why.
        #[serde(with = "RawHireError")]
        error: HireError,
        /// What may still be spent.
        left: u128,
    },
}

/// Element type, as its place in [`Element::ALL`], and shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Form(u8, Vec<u32>);

impl Form {
    pub(super) fn of(tensor: &Tensor) -> Self {
        Self(code(tensor.element()), tensor.shape().to_vec())
    }

    fn element(&self) -> Option<Element> {
        Element::ALL.get(usize::from(self.0)).copied()
    }

    fn bytes(&self) -> Option<usize> {
        let size = Some(self.element()?.size_bytes());
        self.1.iter().fold(size, |bytes, extent| {
            bytes?.checked_mul(usize::try_from(*extent).ok()?)
        })
    }
}

/// The tensors of these forms that lie in `payload`, one after another; none if they do not fill it.
pub(super) fn tensors(forms: &[Form], mut payload: Bytes) -> Option<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for form in forms {
        let bytes = form.bytes().filter(|bytes| *bytes <= payload.len())?;
        let data = payload.split_to(bytes);
        tensors.push(Tensor::new(form.element()?, form.1.clone(), data).ok()?);
    }
    payload.is_empty().then_some(tensors)
}

fn code(element: Element) -> u8 {
    let place = Element::ALL.iter().position(|known| *known == element);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

/// What a cell knows of a model.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Described {
    inputs: Vec<(String, u8, Vec<Option<u32>>)>,
    outputs: Vec<(String, u8, Vec<Option<u32>>)>,
    engine: String,
    device: String,
    deterministic: bool,
    fingerprint: String,
    metadata: Vec<(String, String)>,
}

/// A model's ports, abilities and metadata.
pub(super) type Parts = (Vec<Port>, Vec<Port>, Abilities, Vec<(String, String)>);

impl Described {
    pub(super) fn of(model: &dyn rialto_compute::Model) -> Self {
        let port = |port: &Port| (port.name.clone(), code(port.element), port.shape.clone());
        let abilities = model.abilities();
        Self {
            inputs: model.inputs().iter().map(port).collect(),
            outputs: model.outputs().iter().map(port).collect(),
            engine: abilities.engine.clone(),
            device: abilities.device.clone(),
            deterministic: abilities.deterministic,
            fingerprint: abilities.fingerprint.clone(),
            metadata: model.metadata(),
        }
    }

    pub(super) fn into_parts(self) -> Option<Parts> {
        let port = |(name, element, shape)| {
            let element = Element::ALL.get(usize::from(element)).copied()?;
            Some(Port {
                name,
                element,
                shape,
            })
        };
        let inputs: Option<Vec<Port>> = self.inputs.into_iter().map(port).collect();
        let outputs: Option<Vec<Port>> = self.outputs.into_iter().map(port).collect();
        let abilities = Abilities {
            engine: self.engine,
            device: self.device,
            deterministic: self.deterministic,
            fingerprint: self.fingerprint,
        };
        Some((inputs?, outputs?, abilities, self.metadata))
    }
}

/// How a call failed; a refusal's JSON lies beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Refused,
    Trapped(String),
    TimedOut { limit_ms: u64, busy: bool },
    CpuExceeded { limit_ms: u64 },
    MemoryExceeded { bytes_max: u64 },
    TableExceeded { elements_max: u64 },
    StackExhausted,
    OutputTooLarge { bytes_max: u64 },
    HostCalls,
    HostBytes { bytes_max: u64 },
    HandlesExceeded { handles_max: u32 },
    Overloaded { retry_after_ms: u64 },
    Callee(String),
    Internal(String),
}

impl Failure {
    /// With the JSON of a refusal.
    pub(super) fn of(error: CallError) -> (Self, Bytes) {
        let failure = match error {
            CallError::Refused { error } => return (Self::Refused, error),
            CallError::Trapped(text) => Self::Trapped(text),
            CallError::TimedOut { limit_ms, busy } => Self::TimedOut { limit_ms, busy },
            CallError::CpuExceeded { limit_ms } => Self::CpuExceeded { limit_ms },
            CallError::MemoryExceeded { bytes_max } => Self::MemoryExceeded { bytes_max },
            CallError::TableExceeded { elements_max } => Self::TableExceeded { elements_max },
            CallError::StackExhausted => Self::StackExhausted,
            CallError::OutputTooLarge { bytes_max } => Self::OutputTooLarge { bytes_max },
            CallError::HostCalls => Self::HostCalls,
            CallError::HostBytes { bytes_max } => Self::HostBytes { bytes_max },
            CallError::HandlesExceeded { handles_max } => Self::HandlesExceeded { handles_max },
            CallError::Overloaded { retry_after_ms }
            | CallError::OverShare { retry_after_ms }
            | CallError::LongCalls { retry_after_ms } => Self::Overloaded { retry_after_ms },
            CallError::Callee(text) => Self::Callee(text),
            CallError::Internal(text) | CallError::CellEnded(text) | CallError::State(text) => {
                Self::Internal(text)
            }
            error @ CallError::CellRests { .. } => Self::Internal(error.to_string()),
        };
        (failure, Bytes::new())
    }

    pub(super) fn error(self, refusal: Bytes) -> CallError {
        match self {
            Self::Refused => CallError::Refused { error: refusal },
            Self::Trapped(text) => CallError::Trapped(short(&text)),
            Self::TimedOut { limit_ms, busy } => CallError::TimedOut { limit_ms, busy },
            Self::CpuExceeded { limit_ms } => CallError::CpuExceeded { limit_ms },
            Self::MemoryExceeded { bytes_max } => CallError::MemoryExceeded { bytes_max },
            Self::TableExceeded { elements_max } => CallError::TableExceeded { elements_max },
            Self::StackExhausted => CallError::StackExhausted,
            Self::OutputTooLarge { bytes_max } => CallError::OutputTooLarge { bytes_max },
            Self::HostCalls => CallError::HostCalls,
            Self::HostBytes { bytes_max } => CallError::HostBytes { bytes_max },
            Self::HandlesExceeded { handles_max } => CallError::HandlesExceeded { handles_max },
            Self::Overloaded { retry_after_ms } => CallError::Overloaded { retry_after_ms },
            Self::Callee(text) => CallError::Callee(short(&text)),
            Self::Internal(text) => CallError::Internal(short(&text)),
        }
    }
}

/// A cell's words, at a length that fits an answer and a log.
pub(super) fn short(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(TEXT_CHARS_MAX).collect()
}

const TEXT_CHARS_MAX: usize = 300;

/// The wire form of [`OpenError`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "OpenError")]
enum RawOpenError {
    Unknown(String),
    OutOfBudget(String),
    Engine(String),
}

/// The wire form of [`OutboundError`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "OutboundError")]
enum RawOutboundError {
    Denied(String),
    Name(String),
    NotPublic(String),
    Failed(String),
    Late,
    TooLarge,
}

/// The wire form of [`HireError`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "HireError")]
enum RawHireError {
    NotGranted(String),
    Unknown(String),
    OverBudget { price_max: u128, left: u128 },
    Invalid(String),
    Refused(String),
    TooDeep(String),
    Busy(String),
    Late,
    Failed(String),
}

/// The wire form of [`Element`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Element")]
enum RawElement {
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I8,
    U8,
    Bool,
}

/// The wire form of [`RunError`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "RunError")]
enum RawRunError {
    UnknownInput {
        name: String,
        known: String,
    },
    RepeatedInput {
        name: String,
    },
    MissingInput {
        name: String,
    },
    Element {
        name: String,
        #[serde(with = "RawElement")]
        expected: Element,
        #[serde(with = "RawElement")]
        found: Element,
    },
    Shape {
        name: String,
        expected: String,
        found: Vec<u32>,
    },
    UnknownOutput {
        name: String,
        known: String,
    },
    Shapes {
        shapes: String,
        reason: String,
    },
    Unsupported(String),
    OutOfBudget(String),
    Engine(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_fill_their_payload_exactly() {
        let tensor = Tensor::from_i32(vec![2, 2], &[1, 2, 3, 4]).unwrap();
        let forms = vec![Form::of(&tensor), Form::of(&tensor)];
        let data = tensor.data();
        let both = Bytes::from([data.as_ref(), data.as_ref()].concat());
        assert_eq!(tensors(&forms, both.clone()).unwrap().len(), 2);
        assert!(tensors(&forms[..1], both.clone()).is_none(), "too much");
        assert!(tensors(&forms, both.slice(1..)).is_none(), "too little");
        let endless = Form(0, vec![u32::MAX; 4]);
        assert!(tensors(&[endless], both.clone()).is_none());
        assert!(
            tensors(&[Form(99, vec![1])], both).is_none(),
            "no such element"
        );
    }

    #[test]
    fn failures_cross_unchanged() {
        let errors = [
            CallError::Refused { error: "1".into() },
            CallError::Trapped("why".to_owned()),
            CallError::TimedOut {
                limit_ms: 1,
                busy: true,
            },
            CallError::CpuExceeded { limit_ms: 2 },
            CallError::MemoryExceeded { bytes_max: 3 },
            CallError::TableExceeded { elements_max: 4 },
            CallError::StackExhausted,
            CallError::OutputTooLarge { bytes_max: 5 },
            CallError::HostCalls,
            CallError::HostBytes { bytes_max: 8 },
            CallError::HandlesExceeded { handles_max: 6 },
            CallError::Overloaded { retry_after_ms: 7 },
            CallError::Callee("why".to_owned()),
            CallError::Internal("why".to_owned()),
        ];
        for error in errors {
            let (failure, refusal) = Failure::of(error.clone());
            let bytes = postcard::to_allocvec(&failure).unwrap();
            let failure: Failure = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(failure.error(refusal), error);
        }
    }
}
