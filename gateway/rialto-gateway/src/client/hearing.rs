//! A call under way: what is heard of it as it comes, and at last what came of it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::{Heard, Leave};

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

/// A call that is made.
struct Making<T: Send + 'static> {
    /// None once it has ended.
    call: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    leave: Leave,
}

impl<T: Send + 'static> Drop for Making<T> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else {
            return;
        };
        self.leave.leave();
        // What was charged is heard of, and counted, beside whoever goes on.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LEAVING_MAX, call));
        }
    }
}

impl<T: Send + 'static> Making<T> {
    async fn ended(&mut self) -> T {
        match &mut self.call {
            Some(call) => {
                let ended = call.await;
                self.call = None;
                ended
            }
            None => std::future::pending().await,
        }
    }
}

enum Hearing<T: Send + 'static> {
    On(Making<T>),
    Over(T),
}

/// Makes a call that tells of its items. It goes on while somebody asks for the next part, and at no other time; whoever
/// drops it leaves: what of it was delivered is charged, and counts in full until that is known.
pub(crate) fn hear<T, F>(leave: Leave, call: impl FnOnce(Ear) -> F) -> BoxStream<'static, Part<T>>
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
    let making = Making {
        call: Some(Box::pin(call(ear))),
        leave,
    };
    let state = Some((Hearing::On(making), parts));
    stream::unfold(state, |state| async {
        let (hearing, parts) = state?;
        Some(next(hearing, parts).await)
    })
    .boxed()
}

type Parts<T> = UnboundedReceiver<Part<T>>;

/// The next part, and what goes on after it.
async fn next<T: Send + 'static>(
    hearing: Hearing<T>,
    mut parts: Parts<T>,
) -> (Part<T>, Option<(Hearing<T>, Parts<T>)>) {
    let over = match hearing {
        Hearing::On(mut making) => tokio::select! {
            biased;
            Some(part) = parts.recv() => return (part, Some((Hearing::On(making), parts))),
            ended = making.ended() => ended,
        },
        Hearing::Over(ended) => ended,
    };
    // What came with the end goes first.
    match parts.try_recv() {
        Ok(part) => (part, Some((Hearing::Over(over), parts))),
        Err(_) => (Part::Ended(over), None),
    }
}

/// How long a host may take to say what it charged for an answer that was left.
const LEAVING_MAX: Duration = Duration::from_secs(10);
