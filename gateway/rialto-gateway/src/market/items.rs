//! An answer of another host that is bought item by item.
//!
//! It is read while somebody asks for an item, and at no other time: what the network holds is all that is made ahead.
//! Where the connection is lost, it is asked for again under the same order, and what was given is not given twice.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use rialto_channels::Amount;
use rialto_node::{Asking, Bought, BoughtItems, BoughtStream, Form, HireError, ItemList, Order};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{MeshMarket, Patience, bought, of_client};
use crate::client::mesh::{Ask, MeshAnswer, MeshClient, MeshError};
use crate::client::{Ear, Leave, Part, hear};

type Parts = BoxStream<'static, Part<Box<Result<MeshAnswer, MeshError>>>>;

/// Such an answer.
pub(super) struct MeshItems {
    market: MeshMarket,
    order: Order,
    ask: Ask,
    patience: Patience,
    /// None while it is not asked for.
    parts: Option<Parts>,
    given: Given,
    ended: Option<Box<MeshAnswer>>,
    leave: Leave,
}

impl MeshItems {
    pub(super) fn new(market: MeshMarket, order: Order) -> Self {
        Self {
            ask: market.ask(&order),
            patience: Patience::new(order.deadline),
            market,
            order,
            parts: None,
            given: Given::default(),
            ended: None,
            leave: Leave::new(),
        }
    }

    async fn made(&mut self) -> Result<Option<Bytes>, HireError> {
        while self.ended.is_none() {
            match self.part().await {
                Some(Part::Item(item)) => {
                    if let Some(item) = self.given.take(item)? {
                        return Ok(Some(item));
                    }
                }
                Some(Part::Anew) => self.given.begin_again(),
                Some(Part::Ended(ended)) => {
                    self.parts = None;
                    match *ended {
                        Ok(answered) => return self.over(answered),
                        Err(error) => self.patience.again(&self.ask, error).await?,
                    }
                }
                None => self.parts = None,
            }
        }
        Ok(None)
    }

    /// The next part, asked for anew if it is not.
    async fn part(&mut self) -> Option<Part<Box<Result<MeshAnswer, MeshError>>>> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                self.given.begin_again();
                self.ask.time_max = self.patience.left();
                let (client, ask) = (self.market.client.clone(), self.ask.clone());
                self.parts.insert(listen(client, self.leave.clone(), ask))
            }
        };
        parts.next().await
    }

    /// All of it came, or all that will.
    fn over(&mut self, answered: MeshAnswer) -> Result<Option<Bytes>, HireError> {
        let answer = &answered.answer;
        let broke_off = answer.broke_off.clone();
        // What came at once is its one item.
        let item = (answer.items.is_none() && broke_off.is_none()).then(|| answer.body.clone());
        self.ended = Some(Box::new(answered));
        match broke_off {
            Some(why) => Err(of_client(&why, why.as_ref())),
            None => Ok(item),
        }
    }

    /// Leaves what is being read, and reads what was charged for it.
    async fn left(&mut self) -> Option<MeshAnswer> {
        let mut parts = self.parts.take()?;
        self.leave.leave();
        let reading = async {
            while let Some(part) = parts.next().await {
                if let Part::Ended(ended) = part {
                    return ended.ok();
                }
            }
            None
        };
        timeout(BILL_TIME_MAX, reading).await.ok()?
    }

    /// Ends it, and asks what it cost: the same order again tells what of it was delivered, and makes nothing more.
    async fn billed(mut self) -> Result<BoughtStream, HireError> {
        if let Some(answered) = self.ended.take() {
            return Ok(delivered(*answered));
        }
        if self.given.count == 0 {
            let order = self.ask.order.as_ref();
            return match order.is_some_and(crate::client::Order::is_in_doubt) {
                // Whatever is owed for it, asked again it may begin.
                true => Err(HireError::Failed("none of its items came".to_owned())),
                false => Ok(nothing()),
            };
        }
        if let Some(answered) = self.left().await {
            return Ok(delivered(answered));
        }
        let mut patience = Patience::new(self.order.deadline.max(Instant::now() + BILL_TIME_MAX));
        loop {
            self.ask.time_max = patience.left();
            match self.market.client.stream(&self.ask, &|_| {}).await {
                Ok(answered) => return Ok(delivered(answered)),
                Err(error) => patience.again(&self.ask, error).await?,
            }
        }
    }
}

fn listen(client: MeshClient, leave: Leave, ask: Ask) -> Parts {
    let ask = Ask {
        leave: Some(leave.clone()),
        ..ask
    };
    hear(leave, |ear: Ear| async move {
        Box::new(client.stream(&ask, &*ear).await)
    })
}

/// What came of an order that was never sent.
fn nothing() -> BoughtStream {
    BoughtStream {
        bought: Bought {
            body: ItemList::default().unfinished(),
            charged: Amount::ZERO,
            provider: String::new(),
            proof: Bytes::from_static(b"null"),
        },
        form: Form::Part,
    }
}

fn delivered(answered: MeshAnswer) -> BoughtStream {
    let answer = &answered.answer;
    let form = match (&answer.broke_off, answer.items) {
        (Some(_), _) => Form::Part,
        (None, Some(_)) => Form::List,
        (None, None) => Form::One,
    };
    BoughtStream {
        bought: bought(answered),
        form,
    }
}

impl BoughtItems for MeshItems {
    fn next(&mut self) -> Asking<'_, Option<Bytes>> {
        Box::pin(self.made())
    }

    fn end(self: Box<Self>) -> Asking<'static, BoughtStream> {
        Box::pin(self.billed())
    }
}

impl fmt::Debug for MeshItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshItems")
            .field("order", &self.order.name)
            .field("given", &self.given.count)
            .finish_non_exhaustive()
    }
}

/// What was given, of which nothing is given twice.
#[derive(Debug, Default)]
struct Given {
    count: u64,
    /// The digest of all of it.
    digest: [u8; 32],
    /// The same of what has come since it was last asked for.
    come: u64,
    so_far: [u8; 32],
}

impl Given {
    /// The items come from the first one on.
    fn begin_again(&mut self) {
        self.come = 0;
        self.so_far = [0; 32];
    }

    /// The item, unless it was given before.
    ///
    /// # Errors
    /// What came before was something else.
    fn take(&mut self, item: Bytes) -> Result<Option<Bytes>, HireError> {
        let item_digest = Sha256::digest(&item);
        self.so_far = Sha256::digest([self.so_far.as_slice(), &item_digest].concat()).into();
        self.come += 1;
        if self.come > self.count {
            self.count = self.come;
            self.digest = self.so_far;
            return Ok(Some(item));
        }
        if self.come == self.count && self.so_far != self.digest {
            let text = "the provider lost its answer and began another one";
            return Err(HireError::Failed(text.to_owned()));
        }
        Ok(None)
    }
}

/// How long whoever was paid may take to say how much.
const BILL_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_not_given_twice_and_nothing_else_is_taken_for_it() {
        let mut given = Given::default();
        let mut take = |items: &[&'static str]| {
            given.begin_again();
            let mut taken = Vec::new();
            for item in items {
                taken.extend(given.take(Bytes::from_static(item.as_bytes()))?);
            }
            Ok::<_, HireError>(taken)
        };
        assert_eq!(take(&["1", "2"]).unwrap(), ["1", "2"]);
        assert!(take(&["1"]).unwrap().is_empty());
        assert_eq!(take(&["1", "2", "3"]).unwrap(), ["3"]);
        take(&["1", "4", "3", "5"]).unwrap_err();
    }
}
