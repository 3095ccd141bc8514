//! Other services, for a call in a cell.

use std::collections::HashMap;
use std::sync::MutexGuard;
use std::time::Instant;

use bytes::Bytes;

use super::{Desk, take};
use crate::cell::link::lock;
use crate::cell::values::{Answer, HireTask};
use crate::hires::{Hire, HireError, Hired, HiredItems};

/// A call's answers of other services that come item by item, by what the cell knows them by.
#[derive(Default)]
pub(super) struct OpenItems {
    open: HashMap<u64, Box<dyn HiredItems>>,
    /// The call is over.
    closed: bool,
}

impl OpenItems {
    fn put(&mut self, number: u64, items: Box<dyn HiredItems>) {
        if !self.closed {
            self.open.insert(number, items);
        }
    }

    /// Takes one out; who drops it ends it.
    pub(super) fn take(&mut self, number: u64) -> Option<Box<dyn HiredItems>> {
        self.open.remove(&number)
    }
}

impl Desk {
    pub(super) async fn quoted(&self, service: String, method: String, bytes: u64) -> Answer {
        match self.hirer.quote(service, method, bytes).await {
            Ok(quote) => Answer::Quoted {
                price_max: quote.price_max,
                provider: quote.provider,
                left: self.hirer.left(),
            },
            Err(error) => self.not_hired(error),
        }
    }

    pub(super) async fn hired(&self, task: HireTask, arguments: Bytes) -> (Answer, Vec<Bytes>) {
        match self.hire(task, arguments).await {
            Ok(hired) => {
                let answer = Answer::Hired {
                    charged: hired.charged,
                    receipt: hired.receipt,
                    left: self.hirer.left(),
                };
                (answer, vec![hired.body])
            }
            Err(error) => (self.not_hired(error), Vec::new()),
        }
    }

    /// What a guest in this process would get; who may be called, and for how much, is decided by who calls.
    async fn hire(&self, task: HireTask, arguments: Bytes) -> Result<Hired, HireError> {
        let hire = self.asked(task, arguments, self.lends)?;
        let hired = self.hirer.call(hire).await?;
        self.moves(hired.body.len())?;
        Ok(hired)
    }

    /// Begins an answer that comes item by item.
    pub(super) async fn opened(&self, request: u64, task: HireTask, arguments: Bytes) -> Answer {
        let opened = async {
            // The guest goes on while its items are made.
            let hire = self.asked(task, arguments, 0)?;
            let items = self.hirer.open(hire).await?;
            self.items().put(request, items);
            Ok(())
        };
        match opened.await {
            Ok(()) => Answer::ItemsOpened {
                items: request,
                left: self.hirer.left(),
            },
            Err(error) => self.not_hired(error),
        }
    }

    pub(super) async fn next_item(&self, number: u64) -> (Answer, Vec<Bytes>) {
        let next = async {
            let mut items = self.items().take(number).ok_or_else(over)?;
            let item = items.next().await;
            // Also what broke off has a bill.
            self.items().put(number, items);
            let item = item?;
            self.moves(item.as_ref().map_or(0, Bytes::len))?;
            Ok(item)
        };
        match next.await {
            Ok(item) => {
                let answer = Answer::Item {
                    last: item.is_none(),
                    left: self.hirer.left(),
                };
                (answer, item.into_iter().collect())
            }
            Err(error) => (self.not_hired(error), Vec::new()),
        }
    }

    pub(super) async fn bill(&self, number: u64) -> Answer {
        let ended = async {
            let mut items = self.items().take(number).ok_or_else(over)?;
            let bill = items.end().await;
            self.items().put(number, items);
            bill
        };
        match ended.await {
            Ok(bill) => Answer::Billed {
                charged: bill.charged,
                receipt: bill.receipt,
                left: self.hirer.left(),
            },
            Err(error) => self.not_hired(error),
        }
    }

    /// The call is over: nobody asks for items any more.
    pub(in crate::cell) fn close(&self) {
        let open = {
            let mut items = self.items();
            items.closed = true;
            std::mem::take(&mut items.open)
        };
        drop(open);
    }

    pub(super) fn items(&self) -> MutexGuard<'_, OpenItems> {
        lock(&self.items)
    }

    /// What a guest in this process may ask for.
    fn asked(&self, task: HireTask, arguments: Bytes, lends: u64) -> Result<Hire, HireError> {
        let bytes_max = self.shared.limits.transfer_bytes_max;
        if u64::try_from(arguments.len()).is_ok_and(|bytes| bytes > bytes_max) {
            let text = format!("the arguments have more than {bytes_max} bytes");
            return Err(HireError::Invalid(text));
        }
        self.moves(arguments.len())?;
        let deadline = Instant::now().checked_add(task.left);
        Ok(Hire {
            service: task.service,
            method: task.method,
            arguments,
            price_max: task.price_max,
            deadline: deadline.map_or(self.deadline, |own| own.min(self.deadline)),
            lends,
        })
    }

    fn moves(&self, bytes: usize) -> Result<(), HireError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        take(&self.bytes_left, bytes)
            .ok_or_else(|| HireError::Failed("the call has moved its last byte".to_owned()))
    }

    fn not_hired(&self, error: HireError) -> Answer {
        let left = self.hirer.left();
        // It goes where names go, which is not made for what is long.
        let is_long = matches!(&error, HireError::Refused(json) if json.len() > REFUSAL_BYTES_MAX);
        let error = match is_long {
            true => HireError::Failed("the service refused at length".to_owned()),
            false => error,
        };
        Answer::NotHired { error, left }
    }
}

/// It never began, or somebody asks for it already.
fn over() -> HireError {
    HireError::Failed("there is nothing more of this answer".to_owned())
}

/// The longest refusal of another service that a cell hears.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
