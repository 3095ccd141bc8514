//! A call under way: what is heard of it as it comes, and at last what came of it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::calls::{Made, make};
use crate::client::Heard;
use crate::client::mesh::{Ask, MeshClient};
use crate::problem::Problem;

/// A part of an answer.
pub(super) enum Part {
    Item(Bytes),
    /// It begins anew with something else.
    Anew,
    /// What came of it: the last part.
    Made(Ended),
}

type Ended = Box<Result<Made, Problem>>;
type Making = Pin<Box<dyn Future<Output = Ended> + Send>>;

enum Hearing {
    On(Making),
    Over(Ended),
}

/// Makes a call at a gateway, or else at whichever provider is best. Whoever drops it ends the call; what of it was
/// delivered is charged, and counts in full until that is known.
pub(super) fn hear(
    client: MeshClient,
    gateway: Option<String>,
    ask: Ask,
) -> BoxStream<'static, Part> {
    // No more than the client reads of an answer.
    let (sender, parts) = mpsc::unbounded_channel();
    let making: Making = Box::pin(async move {
        let each = |heard: Heard<'_>| {
            let part = match heard {
                Heard::Item(item) => Part::Item(Bytes::copy_from_slice(item)),
                Heard::Anew => Part::Anew,
            };
            // Nobody listens any more: the call is about to be dropped as well.
            sender.send(part).ok();
        };
        Box::new(make(&client, gateway.as_deref(), &ask, Some(&each)).await)
    });
    let state = Some((Hearing::On(making), parts));
    stream::unfold(state, |state| async {
        let (hearing, parts) = state?;
        Some(next(hearing, parts).await)
    })
    .boxed()
}

/// The next part, and what goes on after it.
async fn next(
    hearing: Hearing,
    mut parts: UnboundedReceiver<Part>,
) -> (Part, Option<(Hearing, UnboundedReceiver<Part>)>) {
    let over = match hearing {
        Hearing::On(mut making) => tokio::select! {
            biased;
            Some(part) = parts.recv() => return (part, Some((Hearing::On(making), parts))),
            made = &mut making => made,
        },
        Hearing::Over(made) => made,
    };
    // What came with the end goes first.
    match parts.try_recv() {
        Ok(part) => (part, Some((Hearing::Over(over), parts))),
        Err(_) => (Part::Made(over), None),
    }
}
