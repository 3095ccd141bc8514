//! An answer that is given item by item.
//!
//! A function of a service that returns a [`Stream`], alone or in a `Result`, streams: the host asks for
//! one item after the other for as long as its caller reads. A caller that wants the whole answer gets
//! the list of the items.
//!
//! ```
//! #[rialto_sdk::service]
//! mod counter {
//!     use rialto_sdk::Stream;
//!
//!     /// Counts down.
//!     pub fn count(from: u32) -> Stream<u32> {
//!         Stream::new((0..=from).rev())
//!     }
//! }
//! # fn main() {
//! assert_eq!(counter::count(2).collect::<Vec<_>>(), [2, 1, 0]);
//! # }
//! ```
//!
//! Items that are a `Result` end the stream at the first error, which the caller is told.

use std::cell::RefCell;
use std::fmt;
use std::iter::Fuse;

/// Items that are made when they are asked for.
///
/// The iterator must own what it needs (`move` closures do): it outlives the function that returns it.
pub struct Stream<T> {
    items: RefCell<Fuse<Box<dyn Iterator<Item = T>>>>,
}

impl<T> Stream<T> {
    /// A stream of these items.
    pub fn new<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: 'static,
    {
        let items: Box<dyn Iterator<Item = T>> = Box::new(items.into_iter());
        Self {
            items: RefCell::new(items.fuse()),
        }
    }

    /// The next item, for the generated glue, which has no mutable access.
    #[doc(hidden)]
    pub fn pull(&self) -> Option<T> {
        // An item that asks for the next one while it is made would borrow twice: there is none then.
        self.items.try_borrow_mut().ok()?.next()
    }
}

impl<T> Iterator for Stream<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.get_mut().next()
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_when_asked_for_and_the_end_stays_the_end() {
        let mut left = vec![Some(2), None, Some(3)];
        let stream = Stream::new(std::iter::from_fn(move || left.pop().flatten()));
        assert_eq!(stream.pull(), Some(3));
        assert_eq!(stream.pull(), None);
        assert_eq!(stream.pull(), None, "an end is an end");
    }
}
