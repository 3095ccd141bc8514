//! Other services for a guest in a cell: asked of the host, which calls and pays them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::asking::{LOST, Wants};
use super::values::{Answer, Want};
use crate::hires::{Hire, HireError, HireQuote, Hired, Hirer, Hiring, Spent};

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
        | Answer::NotHired { left, .. } = &answer
        {
            *self.known() = *left;
        }
        if let Answer::NotHired { error, .. } = answer {
            return Err(error);
        }
        Ok((answer, content))
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
            let want = Want::Hire {
                service: hire.service,
                method: hire.method,
                price_max: hire.price_max,
                left: hire.deadline.saturating_duration_since(Instant::now()),
            };
            let (answer, body) = hirer.ask(want, vec![hire.arguments]).await?;
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
}

fn lost() -> HireError {
    HireError::Failed(LOST.to_owned())
}
