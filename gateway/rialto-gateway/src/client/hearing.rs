//! A call under way: what is heard of it as it comes, and at last what came of it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::Heard;

/// A part of an answer.
pub(crate) enum Part<T> {
    Item(Bytes),
    /// It begins anew with something else.
    Anew,
    /// What came of it: the last part.
    Ended(T),
}

/// Who hears of items.
pub(crate) type Ear = Box<dyn Fn(Heard<'_>) + Send + Sync>;

type Making<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Hearing<T> {
    On(Making<T>),
    Over(T),
}

/// Makes a call that tells of its items. It goes on while somebody asks for the next part, and at no other time; whoever
/// drops it ends the call: what of it was delivered is charged, and counts in full until that is known.
pub(crate) fn hear<T, F>(call: impl FnOnce(Ear) -> F) -> BoxStream<'static, Part<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    // No more than the client reads of an answer.
    let (sender, parts) = mpsc::unbounded_channel();
    let ear: Ear = Box::new(move |heard| {
        let part = match heard {
            Heard::Item(item) => Part::Item(Bytes::copy_from_slice(item)),
            Heard::Anew => Part::Anew,
        };
        // Nobody listens any more: the call is about to be dropped as well.
        sender.send(part).ok();
    });
    let making: Making<T> = Box::pin(call(ear));
    let state = Some((Hearing::On(making), parts));
    stream::unfold(state, |state| async {
        let (hearing, parts) = state?;
        Some(next(hearing, parts).await)
    })
    .boxed()
}

type Parts<T> = UnboundedReceiver<Part<T>>;

/// The next part, and what goes on after it.
async fn next<T>(
    hearing: Hearing<T>,
    mut parts: Parts<T>,
) -> (Part<T>, Option<(Hearing<T>, Parts<T>)>) {
    let over = match hearing {
        Hearing::On(mut making) => tokio::select! {
            biased;
            Some(part) = parts.recv() => return (part, Some((Hearing::On(making), parts))),
            ended = &mut making => ended,
        },
        Hearing::Over(ended) => ended,
    };
    // What came with the end goes first.
    match parts.try_recv() {
        Ok(part) => (part, Some((Hearing::Over(over), parts))),
        Err(_) => (Part::Ended(over), None),
    }
}
