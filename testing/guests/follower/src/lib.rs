//! A service that follows what others stream: by name, whatever they are, and by the types of one that it knows.

/// Another service's interface, as its author publishes it.
mod counting {
    wit_bindgen::generate!({
        inline: "
            package rialto-service:counter@0.1.0;
            interface counter {
                record step { number: u32, text: string }
                resource steps { next: func() -> option<step>; }
                count: func(to: u32) -> steps;
                resource pieces { next: func() -> option<string>; }
                words: func(text: string) -> result<pieces, string>;
                resource numbers { next: func() -> result<option<u32>, string>; }
                refuse: func(after: u32) -> numbers;
                resource sparse { next: func() -> option<option<list<u32>>>; }
                holes: func(items: u32) -> sparse;
            }
            world other { import counter; }
        ",
    });
}

/// Follows what others stream.
#[rialto_sdk::service]
pub mod follower {
    use rialto_sdk::Stream;
    use rialto_sdk::mesh::{self, Call};

    use crate::counting::rialto_service::counter::counter;

    /// Takes items of a method of any service, and says what they cost.
    pub fn follow(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
        /// How many items; all of them without.
        take: Option<u32>,
        /// The most that it may cost.
        price_max: Option<u64>,
    ) -> Result<Vec<String>, String> {
        let mut call = Call::new(&service, &method);
        if let Some(price_max) = price_max {
            call = call.price_max(price_max);
        }
        let opened = call.open(&arguments);
        let mut items = opened.map_err(|error| mesh::describe(&error))?;
        let mut told = vec![format!("{} left", mesh::budget_left())];
        let most = take.map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(0));
        for item in items.by_ref().take(most) {
            match item {
                Ok(item) => told.push(item),
                Err(error) => told.push(format!("broke off: {}", mesh::describe(&error))),
            }
        }
        told.push(match items.end() {
            Ok(bill) => format!("for {}", bill.charged),
            Err(error) => format!("no bill: {}", mesh::describe(&error)),
        });
        told.push(format!("{} left", mesh::budget_left()));
        Ok(told)
    }

    /// The same, and fails afterwards.
    pub fn follow_and_fail(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
        /// How many items.
        take: u32,
    ) -> Result<Vec<String>, String> {
        let told = follow(service, method, arguments, Some(take), None)?;
        panic!("it fails, as it was asked to, after {told:?}")
    }

    /// Hands on what another service streams.
    pub fn relay(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
    ) -> Result<Stream<Result<String, String>>, String> {
        let opened = mesh::open(&service, &method, &arguments);
        let items = opened.map_err(|error| mesh::describe(&error))?;
        Ok(Stream::new(
            items.map(|item| item.map_err(|error| mesh::describe(&error))),
        ))
    }

    /// Opens several streams, takes one item of each, and leaves them open.
    pub fn leave_open(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
        /// How many.
        times: u32,
    ) -> Result<Vec<String>, String> {
        let mut told = Vec::new();
        for _ in 0..times {
            let mut items = match mesh::open(&service, &method, &arguments) {
                Ok(items) => items,
                Err(error) => {
                    told.push(mesh::describe(&error));
                    continue;
                }
            };
            match items.next() {
                Some(Ok(item)) => told.push(item),
                Some(Err(error)) => told.push(mesh::describe(&error)),
                None => told.push("nothing".to_owned()),
            }
            std::mem::forget(items);
        }
        told.push(format!("{} left", mesh::budget_left()));
        Ok(told)
    }

    /// Counts by way of the service `counter`, by its types.
    pub fn count(
        /// How far it would go.
        to: u32,
        /// How many steps to take.
        take: u32,
    ) -> Vec<String> {
        let steps = counter::count(to);
        let mut told = Vec::new();
        for _ in 0..take {
            match steps.next() {
                Some(step) => told.push(format!("{}: {}", step.number, step.text)),
                None => told.push("no more".to_owned()),
            }
        }
        told
    }

    /// Says it in pieces, by way of the same service, which may refuse.
    pub fn say(
        /// What to say.
        text: String,
    ) -> Result<Vec<String>, String> {
        let pieces = counter::words(&text)?;
        Ok(std::iter::from_fn(|| pieces.next()).collect())
    }

    /// Counts until the same service refuses.
    pub fn count_until_refused(
        /// How far.
        after: u32,
    ) -> Vec<String> {
        let numbers = counter::refuse(after);
        let mut told = Vec::new();
        loop {
            match numbers.next() {
                Ok(Some(number)) => told.push(number.to_string()),
                Ok(None) => return told,
                Err(refusal) => {
                    told.push(refusal);
                    return told;
                }
            }
        }
    }

    /// Takes items that are nothing, or lists.
    pub fn holes(
        /// How many.
        items: u32,
    ) -> Vec<Option<Vec<u32>>> {
        let sparse = counter::holes(items);
        std::iter::from_fn(|| sparse.next()).collect()
    }
}
