//! Other services for a guest in a cell: asked of the host, which calls and pays them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::asking::{LOST, Wants};
use super::values::{Answer, HireTask, Want};
use crate::hires::{
    Bill, Hire, HireError, HireQuote, Hired, HiredItems, Hirer, Hiring, Spent, Step,
};

/// Calls other services for one call in a cell.
#[derive(Clone)]
pub(super) struct CellHirer {
    wants: Arc<Wants>,
    call: u64,
    /// What may still be spent, as the host said last.
    left: Arc<Mutex<u128>>,
}

impl CellHirer {
    pub(super) fn new(wants: &Arc<Wants>, call: u64, budget: u128) -> Self {
        Self {
            wants: Arc::clone(wants),
            call,
            left: Arc::new(Mutex::new(budget)),
        }
    }

    fn known(&self) -> MutexGuard<'_, u128> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, want: Want, payload: Vec<Bytes>) -> Result<(Answer, Bytes), HireError> {
        let answered = self.wants.ask_later(self.call, want, payload).await;
        let (answer, content) = answered.map_err(|_| lost())?;
        if let Answer::Quoted { left, .. }
        | Answer::Hired { left, .. }
        | Answer::ItemsOpened { left, .. }
        | Answer::Item { left, .. }
        | Answer::Billed { left, .. }
        | Answer::NotHired { left, .. } = &answer
        {
            *self.known() = *left;
        }
        if let Answer::NotHired { error, .. } = answer {
            return Err(error);
        }
        Ok((answer, content))
    }

    /// Nobody wants this answer any more.
    fn leave(&self, items: u64) {
        let want = Want::DropItems { items };
        self.wants.tell(self.call, want);
    }
}

impl std::fmt::Debug for CellHirer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CellHirer({})", self.call)
    }
}

impl Hirer for CellHirer {
    fn left(&self) -> u128 {
        *self.known()
    }

    /// The host knows, and asks nobody here.
    fn spent(&self) -> Spent {
        Spent::default()
    }

    fn quote(&self, service: String, method: String, bytes: u64) -> Hiring<HireQuote> {
        let hirer = self.clone();
        Box::pin(async move {
            let want = Want::Quote {
                service,
                method,
                bytes,
            };
            let (answer, _) = hirer.ask(want, Vec::new()).await?;
            let Answer::Quoted {
                price_max,
                provider,
                ..
            } = answer
            else {
                return Err(lost());
            };
            Ok(HireQuote {
                price_max,
                provider,
            })
        })
    }

    fn call(&self, hire: Hire) -> Hiring<Hired> {
        let hirer = self.clone();
        Box::pin(async move {
            let (task, arguments) = task(hire);
            let (answer, body) = hirer.ask(Want::Hire(task), vec![arguments]).await?;
            let Answer::Hired {
                charged, receipt, ..
            } = answer
            else {
                return Err(lost());
            };
            Ok(Hired {
                body,
                charged,
                receipt,
            })
        })
    }

    fn open(&self, hire: Hire) -> Hiring<Box<dyn HiredItems>> {
        let hirer = self.clone();
        Box::pin(async move {
            let (task, arguments) = task(hire);
            let asked = hirer.ask(Want::OpenItems(task), vec![arguments]).await?;
            let (Answer::ItemsOpened { items, .. }, _) = asked else {
                return Err(lost());
            };
            let items: Box<dyn HiredItems> = Box::new(CellItems { hirer, items });
            Ok(items)
        })
    }
}

/// The items of one answer, which the host has.
#[derive(Debug)]
struct CellItems {
    hirer: CellHirer,
    items: u64,
}

impl HiredItems for CellItems {
    fn next(&mut self) -> Step<'_, Option<Bytes>> {
        Box::pin(async {
            let want = Want::NextItem { items: self.items };
            let (answer, item) = self.hirer.ask(want, Vec::new()).await?;
            let Answer::Item { last, .. } = answer else {
                return Err(lost());
            };
            Ok((!last).then_some(item))
        })
    }

    fn end(&mut self) -> Step<'_, Bill> {
        Box::pin(async {
            let want = Want::EndItems { items: self.items };
            let (answer, _) = self.hirer.ask(want, Vec::new()).await?;
            let Answer::Billed {
                charged, receipt, ..
            } = answer
            else {
                return Err(lost());
            };
            Ok(Bill { charged, receipt })
        })
    }
}

impl Drop for CellItems {
    fn drop(&mut self) {
        self.hirer.leave(self.items);
    }
}

/// What is asked of the host, and with which arguments.
fn task(hire: Hire) -> (HireTask, Bytes) {
    let task = HireTask {
        service: hire.service,
        method: hire.method,
        price_max: hire.price_max,
        left: hire.deadline.saturating_duration_since(Instant::now()),
    };
    (task, hire.arguments)
}

fn lost() -> HireError {
    HireError::Failed(LOST.to_owned())
}
