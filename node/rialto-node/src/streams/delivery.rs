//! The way of items from the guest's task to the reader, and the count of what was really taken.
//!
//! One item is on its way at most. It counts as delivered when the reader has it, which both sides agree
//! on: the reader takes it and counts it under one lock, and the guest's task asks under the same.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use alloy_primitives::B256;
use bytes::Bytes;
use rialto_host::{AnswerText, ItemList, ResponseText, Usage};
use tokio::sync::mpsc;

use crate::api::{CallError, CallOutcome};

/// The answer to a call, item by item, or the body of a response.
#[derive(Debug)]
pub struct CallStream {
    source: Source,
    receipt: Option<B256>,
}

/// What a reader is given.
#[derive(Debug)]
pub enum StreamPart {
    /// The next item, as JSON; of a response the next bytes of its body.
    Item(Bytes),
    /// Nothing more comes.
    End(StreamEnd),
}

/// How a stream ended.
#[derive(Debug)]
pub struct StreamEnd {
    /// What was charged and for what; its body is the text of the items, which the receipt hashes: a
    /// JSON array for a whole stream, without its last bracket for one that broke off; of a response the
    /// object that `handle` answers, without its end for one that broke off. None if nothing
    /// was charged, but for a whole stream.
    pub outcome: Option<Box<CallOutcome>>,
    /// Why it broke off; none for a whole stream.
    pub failure: Option<CallError>,
}

#[derive(Debug)]
enum Source {
    /// A guest makes them.
    Guest {
        items: mpsc::Receiver<Item>,
        taken: Arc<Mutex<Taken>>,
    },
    /// They were made before.
    Stored {
        items: VecDeque<Bytes>,
        end: Option<StreamEnd>,
    },
}

/// An item on its way, with what was used up to it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) bytes: Bytes,
    pub(super) usage: Usage,
}

/// What the reader has.
#[derive(Debug, Default)]
struct Taken {
    text: AnswerText,
    usage: Usage,
    /// Nothing more is delivered: it is being charged.
    sealed: bool,
    end: Option<StreamEnd>,
}

/// The guest's side.
pub(super) struct Delivery {
    pub(super) items: mpsc::Sender<Item>,
    taken: Arc<Mutex<Taken>>,
}

/// Both sides of a stream.
pub(super) fn pair() -> (Delivery, CallStream) {
    let (sender, items) = mpsc::channel(1);
    let taken = Arc::new(Mutex::default());
    let delivery = Delivery {
        items: sender,
        taken: Arc::clone(&taken),
    };
    let source = Source::Guest { items, taken };
    let stream = CallStream {
        source,
        receipt: None,
    };
    (delivery, stream)
}

impl CallStream {
    /// The id of the receipt that there will be of what is delivered, also where nobody reads to the end; none of a
    /// call that is free.
    #[must_use]
    pub const fn receipt(&self) -> Option<B256> {
        self.receipt
    }

    /// The same, whose receipt will have this id.
    pub(super) const fn named(mut self, receipt: Option<B256>) -> Self {
        self.receipt = receipt;
        self
    }

    /// The next part; none after the end. Cancel-safe.
    ///
    /// An end without a [`StreamPart::End`] is a bug of the host's.
    pub async fn next(&mut self) -> Option<StreamPart> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamPart>> {
        let (items, taken) = match &mut self.source {
            Source::Guest { items, taken } => (items, taken),
            Source::Stored { items, end } => {
                let item = items.pop_front().map(StreamPart::Item);
                return Poll::Ready(item.or_else(|| end.take().map(StreamPart::End)));
            }
        };
        loop {
            let mut taken = lock(taken);
            match ready!(items.poll_recv(context)) {
                Some(Item { bytes, usage }) if !taken.sealed => {
                    taken.text.push(&bytes);
                    taken.usage = usage;
                    return Poll::Ready(Some(StreamPart::Item(bytes)));
                }
                // Too late: what is charged is decided.
                Some(_) => {}
                None => return Poll::Ready(taken.end.take().map(StreamPart::End)),
            }
        }
    }

    /// The stream of an answer that is there already.
    pub(super) fn stored(outcome: CallOutcome, whole: bool) -> Self {
        let items = ItemList::split(&outcome.body);
        Self::of_pieces(items, outcome, whole)
    }

    /// The response of an answer that broke off: its head, and what is there of its body. None if it is
    /// no response.
    pub(super) fn stored_response(outcome: CallOutcome) -> Option<(Bytes, Self)> {
        let (head, body) = ResponseText::split(&outcome.body)?;
        Some((head, Self::of_pieces(vec![body], outcome, false)))
    }

    fn of_pieces(items: Vec<Bytes>, outcome: CallOutcome, whole: bool) -> Self {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let receipt = outcome.receipt.as_ref().map(|signed| signed.receipt.id);
        let end = StreamEnd {
            outcome: Some(Box::new(outcome)),
            failure: (!whole).then_some(CallError::StreamEnded { items: count }),
        };
        Self {
            receipt,
            source: Source::Stored {
                items: items.into(),
                end: Some(end),
            },
        }
    }
}

impl Delivery {
    /// Says what the pieces make, before the first of them.
    pub(super) fn begin(&self, text: AnswerText) {
        lock(&self.taken).text = text;
    }

    /// What was delivered, and what was used for it. Nothing more is delivered from now on.
    pub(super) fn seal(&self) -> (AnswerText, Usage) {
        let mut taken = lock(&self.taken);
        taken.sealed = true;
        (std::mem::take(&mut taken.text), taken.usage.clone())
    }

    /// Tells the reader of the end.
    pub(super) fn over(self, end: StreamEnd) {
        lock(&self.taken).end = Some(end);
        drop(self.items);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Each step under this lock leaves it whole.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
