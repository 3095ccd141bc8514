//! What host and worker say to each other: frames on a stream socket.
//!
//! A frame is the length of its header (four bytes, little-endian), the header in postcard, and then
//! the bytes that the header announces, one run after another: a model's file, or tensors' elements.
//! Those cross without a copy in between: they are written from where they lie, and read into the
//! buffer that they stay in.
//!
//! The worker may be in a stranger's hands by the time that it answers. Whatever it sends, a reader
//! here returns an error: a header has a limit, and what it announces is compared with what is left of
//! the reader's allowance before anything is allocated.
//!
//! Non-goals: versions. Both ends are one program.

use std::io::{self, IoSlice, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Task;
use crate::{Abilities, Element, LoadError, Port, RunError, Tensor};

/// From the host to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first: what to be, and the model. Its file follows.
    Load {
        /// Which engine.
        task: Task,
        /// The model's name, for messages.
        name: String,
        /// The file's size.
        file_bytes: u64,
        /// The memory that the worker may take on top of what it has when it starts.
        memory_bytes: u64,
    },
    /// Every other: a run. The inputs' elements follow.
    Run {
        /// Name and form of each input.
        inputs: Vec<(String, Form)>,
        /// The names of the wanted outputs.
        outputs: Vec<String>,
    },
}

/// From the worker to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The model is loaded.
    Loaded(Description),
    /// The engine does not accept the model.
    Refused(Refusal, String),
    /// The run's results. Their elements follow.
    Outputs(Vec<Form>),
    /// The run failed.
    Failed(Failure, String),
}

/// Element type, as its place in [`Element::ALL`], and shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Form(u8, Vec<u32>);

/// What the host has to know of a model that it does not hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    inputs: Vec<RawPort>,
    outputs: Vec<RawPort>,
    engine: String,
    device: String,
    deterministic: bool,
    fingerprint: String,
    /// What the model's file says about itself.
    pub(super) metadata: Vec<(String, String)>,
    /// What the worker gave up before it looked at the file.
    pub(super) confined: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RawPort {
    name: String,
    element: u8,
    shape: Vec<Option<u32>>,
}

/// The kinds of [`LoadError`] that an engine decides on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// [`LoadError::Malformed`].
    Malformed,
    /// [`LoadError::TooLarge`].
    TooLarge,
    /// [`LoadError::Unsupported`].
    Unsupported,
    /// [`LoadError::Engine`].
    Engine,
}

/// The kinds of [`RunError`] that only the engine can find; the host checks operands itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Failure {
    /// [`RunError::Shapes`]; the shapes are known to the host.
    Shapes,
    /// [`RunError::Unsupported`].
    Unsupported,
    /// [`RunError::OutOfBudget`].
    OutOfBudget,
    /// [`RunError::Engine`].
    Engine,
}

/// How much a reader accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// The most bytes of one run of bytes after a header.
    pub(super) one_bytes_max: u64,
    /// The most bytes after a header.
    pub(super) all_bytes_max: u64,
}

impl Form {
    pub(super) fn of(tensor: &Tensor) -> Self {
        Self(code(tensor.element()), tensor.shape().to_vec())
    }

    fn element(&self) -> Option<Element> {
        Element::ALL.get(usize::from(self.0)).copied()
    }

    fn bytes(&self) -> Option<u64> {
        let size = u64::try_from(self.element()?.size_bytes()).ok();
        let extents = self.1.iter();
        extents.fold(size, |bytes, extent| bytes?.checked_mul(u64::from(*extent)))
    }
}

impl Description {
    pub(super) fn of(model: &dyn crate::Model, confined: Vec<String>) -> Self {
        let ports = |ports: &[Port]| ports.iter().map(RawPort::of).collect();
        let abilities = model.abilities();
        Self {
            inputs: ports(model.inputs()),
            outputs: ports(model.outputs()),
            engine: abilities.engine.clone(),
            device: abilities.device.clone(),
            deterministic: abilities.deterministic,
            fingerprint: abilities.fingerprint.clone(),
            metadata: model.metadata(),
            confined,
        }
    }

    pub(super) fn inputs(&self) -> Option<Vec<Port>> {
        self.inputs.iter().map(RawPort::port).collect()
    }

    pub(super) fn outputs(&self) -> Option<Vec<Port>> {
        self.outputs.iter().map(RawPort::port).collect()
    }

    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            engine: self.engine.clone(),
            device: self.device.clone(),
            deterministic: self.deterministic,
            fingerprint: self.fingerprint.clone(),
        }
    }
}

impl RawPort {
    fn of(port: &Port) -> Self {
        Self {
            name: port.name.clone(),
            element: code(port.element),
            shape: port.shape.clone(),
        }
    }

    fn port(&self) -> Option<Port> {
        Some(Port {
            name: self.name.clone(),
            element: Element::ALL.get(usize::from(self.element)).copied()?,
            shape: self.shape.clone(),
        })
    }
}

impl Refusal {
    pub(super) fn of(error: &LoadError) -> (Self, String) {
        match error {
            LoadError::Malformed { reason, .. } => (Self::Malformed, reason.clone()),
            LoadError::TooLarge { reason, .. } => (Self::TooLarge, reason.clone()),
            LoadError::Unsupported { reason, .. } => (Self::Unsupported, reason.clone()),
            LoadError::Engine { reason, .. } => (Self::Engine, reason.clone()),
            LoadError::FileTooLarge { .. } | LoadError::EngineFull { .. } => {
                (Self::TooLarge, error.to_string())
            }
        }
    }

    pub(super) fn error(self, model: &str, reason: String) -> LoadError {
        let model = model.to_owned();
        match self {
            Self::Malformed => LoadError::Malformed { model, reason },
            Self::TooLarge => LoadError::TooLarge { model, reason },
            Self::Unsupported => LoadError::Unsupported { model, reason },
            Self::Engine => LoadError::Engine { model, reason },
        }
    }
}

impl Failure {
    pub(super) fn of(error: RunError) -> (Self, String) {
        match error {
            RunError::Shapes { reason, .. } => (Self::Shapes, reason),
            RunError::Unsupported(reason) => (Self::Unsupported, reason),
            RunError::OutOfBudget(reason) => (Self::OutOfBudget, reason),
            RunError::Engine(reason) => (Self::Engine, reason),
            other @ (RunError::UnknownInput { .. }
            | RunError::RepeatedInput { .. }
            | RunError::MissingInput { .. }
            | RunError::Element { .. }
            | RunError::Shape { .. }
            | RunError::UnknownOutput { .. }) => (Self::Engine, other.to_string()),
        }
    }

    pub(super) fn error(self, shapes: &str, reason: String) -> RunError {
        match self {
            Self::Shapes => RunError::Shapes {
                shapes: shapes.to_owned(),
                reason,
            },
            Self::Unsupported => RunError::Unsupported(reason),
            Self::OutOfBudget => RunError::OutOfBudget(reason),
            Self::Engine => RunError::Engine(reason),
        }
    }
}

/// An element type's place in [`Element::ALL`].
fn code(element: Element) -> u8 {
    let place = Element::ALL.iter().position(|known| *known == element);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

/// Writes one frame.
pub(super) fn write(
    to: &mut impl Write,
    header: &impl Serialize,
    runs: &[&[u8]],
) -> io::Result<()> {
    let header = postcard::to_allocvec(header).map_err(malformed)?;
    let length = u32::try_from(header.len()).map_err(malformed)?;
    if length > HEADER_BYTES_MAX {
        return Err(malformed("the header is too large"));
    }
    let length = length.to_le_bytes();
    let mut parts = Vec::with_capacity(runs.len().saturating_add(2));
    parts.push(IoSlice::new(&length));
    parts.push(IoSlice::new(&header));
    parts.extend(runs.iter().map(|run| IoSlice::new(run)));
    write_all(to, &mut parts)
}

fn write_all(to: &mut impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty slices would look like an end.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match to.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

/// Reads a frame's header.
pub(super) fn read_header<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Err(malformed("the header is too large"));
    }
    let header = read_bytes(from, u64::from(length))?;
    let (header, rest) = postcard::take_from_bytes(&header).map_err(malformed)?;
    if rest.is_empty() {
        Ok(header)
    } else {
        Err(malformed("bytes are left after the header"))
    }
}

/// Reads the tensors that a header announces.
pub(super) fn read_tensors(
    from: &mut impl Read,
    forms: &[Form],
    allowance: Allowance,
) -> io::Result<Vec<Tensor>> {
    let mut left = allowance.all_bytes_max;
    let read = |form: &Form| {
        let element = form.element();
        let element = element.ok_or_else(|| malformed("an unknown element type"))?;
        let bytes = form.bytes().filter(|b| *b <= allowance.one_bytes_max);
        let fits = bytes.and_then(|bytes| Some((bytes, left.checked_sub(bytes)?)));
        let (bytes, rest) = fits.ok_or_else(|| malformed("the tensors are too large"))?;
        left = rest;
        let data = read_bytes(from, bytes)?;
        Tensor::new(element, form.1.clone(), data).map_err(malformed)
    };
    forms.iter().map(read).collect()
}

/// Reads exactly so many bytes.
pub(super) fn read_bytes(from: &mut impl Read, bytes: u64) -> io::Result<Bytes> {
    let length = usize::try_from(bytes).map_err(malformed)?;
    let mut buffer = vec![0; length];
    from.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

fn malformed(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Names and shapes of a model with as many ports as a graph may have.
const HEADER_BYTES_MAX: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Allowance = Allowance {
        one_bytes_max: 1 << 20,
        all_bytes_max: 1 << 20,
    };

    fn run(tensors: &[Tensor]) -> Vec<u8> {
        let forms: Vec<Form> = tensors.iter().map(Form::of).collect();
        let runs: Vec<&[u8]> = tensors
            .iter()
            .map(|tensor| tensor.data().as_ref())
            .collect();
        let mut frame = Vec::new();
        write(&mut frame, &Reply::Outputs(forms), &runs).unwrap();
        frame
    }

    fn back(mut frame: &[u8], allowance: Allowance) -> io::Result<Vec<Tensor>> {
        match read_header(&mut frame)? {
            Reply::Outputs(forms) => read_tensors(&mut frame, &forms, allowance),
            Reply::Loaded(_) | Reply::Refused(..) | Reply::Failed(..) => {
                Err(malformed("another reply"))
            }
        }
    }

    fn tensor(element: Element, shape: Vec<u32>) -> Tensor {
        let extents = shape.iter().map(|extent| usize::try_from(*extent).unwrap());
        let length = extents.product::<usize>() * element.size_bytes();
        let data: Vec<u8> = (0..length).map(|place| u8::from(place % 3 == 0)).collect();
        Tensor::new(element, shape, data.into()).unwrap()
    }

    proptest! {
        #[test]
        fn tensors_come_back(
            parts in prop::collection::vec(
                (0..8_usize, prop::collection::vec(0..5_u32, 0..4)), 0..5),
        ) {
            let made = parts.into_iter().map(|(place, shape)| tensor(Element::ALL[place], shape));
            let tensors: Vec<Tensor> = made.collect();
            prop_assert_eq!(back(&run(&tensors), WIDE).unwrap(), tensors);
        }

        #[test]
        fn nonsense_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = back(&bytes, WIDE);
            let _ = read_header::<Request>(&mut bytes.as_slice());
        }

        #[test]
        fn a_damaged_frame_never_panics(place in 0..40_usize, value in any::<u8>(), cut in 0..60_usize) {
            let mut frame = run(&[tensor(Element::F32, vec![2, 3]), tensor(Element::Bool, vec![4])]);
            let length = frame.len();
            frame[place % length] = value;
            frame.truncate(length.saturating_sub(cut));
            let _ = back(&frame, WIDE);
        }
    }

    #[test]
    fn more_than_the_allowance_is_refused_before_it_is_read() {
        let frame = run(&[tensor(Element::F32, vec![4]), tensor(Element::F32, vec![4])]);
        let narrow = |one_bytes_max, all_bytes_max| Allowance {
            one_bytes_max,
            all_bytes_max,
        };
        assert_eq!(back(&frame, narrow(16, 32)).unwrap().len(), 2);
        assert!(back(&frame, narrow(15, 32)).is_err());
        assert!(back(&frame, narrow(16, 31)).is_err());
        let huge = Reply::Outputs(vec![Form(0, vec![u32::MAX; 5])]);
        let mut frame = Vec::new();
        write(&mut frame, &huge, &[]).unwrap();
        assert!(back(&frame, WIDE).is_err());
        let header = u32::MAX.to_le_bytes();
        assert!(back(&header, WIDE).is_err());
    }
}
