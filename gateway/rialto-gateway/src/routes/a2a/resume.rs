//! What the gateway before was paid for and did not end, or ended not long ago: made again, under the same payment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Map;

use super::calls::{self, Paid, Ready, fail};
use super::entry::{Entry, Said};
use super::journal::{Kept, TaskJournal};
use super::table::Place;
use crate::a2a::skills::Order;
use crate::a2a::task::State;
use crate::body::Held;
use crate::gateway::Gateway;
use crate::routes::refusal::Refusal;

/// Goes on with all that was left, as many at once as there are places.
pub(crate) async fn resume(gateway: Arc<Gateway>) {
    let left = gateway.tasks.left();
    let Some(journal) = gateway.tasks.journal().filter(|_| !left.is_empty()) else {
        return;
    };
    let count = left.len();
    for entry in left {
        let (read, task) = (journal.clone(), Arc::clone(&entry));
        let read = tokio::task::spawn_blocking(move || read.read(&task.id)).await;
        match read {
            Ok(Some(kept)) => {
                let room = room(&gateway, &kept).await;
                go_on(&gateway, journal, &entry, (kept, room));
            }
            // Canceled in between, or the disk is broken.
            Ok(None) | Err(_) if entry.state().is_over() => {}
            Ok(None) | Err(_) => entry.end(State::Failed, Said::text(LOST), Map::new(), None),
        }
    }
    tracing::info!(count, "went on with paid tasks");
}

/// Places in memory and among the calls that run, when there are any.
async fn room(gateway: &Gateway, kept: &Kept) -> (Held, Place) {
    let arguments = Bytes::copy_from_slice(kept.arguments.get().as_bytes());
    loop {
        let held = gateway.bodies.hold(arguments.clone());
        if let (Ok(held), Ok(place)) = (held, gateway.tasks.place(false)) {
            return (held, place);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn go_on(
    gateway: &Arc<Gateway>,
    journal: &TaskJournal,
    entry: &Arc<Entry>,
    (kept, room): (Kept, (Held, Place)),
) {
    let order = Order {
        service: kept.service,
        method: kept.method,
        arguments: room.0.bytes.clone(),
    };
    let payment = Some(&kept.payment);
    let refusal = match Ready::new(gateway, &HeaderMap::new(), order, kept.url, payment) {
        Ok(ready) => {
            let streams = ready.streams;
            let run = ready.run(Arc::clone(gateway), Arc::clone(entry), kept.begun, room);
            return entry.begin_again(streams, || tokio::spawn(run).abort_handle());
        }
        Err(refusal) => refusal,
    };
    let was_over = journal.is_over(&entry.id);
    journal.forget(&entry.id);
    match refusal {
        // It was answered, and is not any more: its payer has that.
        _ if was_over => gateway.tasks.remove(&entry.id),
        Refusal::Demand(demand) => entry.wait(calls::demanded(*demand, true)),
        Refusal::Problem(problem) | Refusal::Deposited(problem, _) => {
            fail(entry, problem, Paid::Refused, (Map::new(), None));
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);
const LOST: &str = "what this host noted of the task is lost: the same payment, sent again without `taskId`, fetches what \
     was paid for";
