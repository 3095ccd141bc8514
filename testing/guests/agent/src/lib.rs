//! A service that has others work for it: by name, whatever they are, and by the types of two that it knows.

/// Another service's interface, as its author publishes it.
mod words {
    wit_bindgen::generate!({
        inline: "
            package rialto-service:words@0.1.0;
            interface words {
                record counted { words: u32, longest: string }
                count: func(text: string, bytes: list<u8>) -> result<counted, string>;
                shout: func(text: string) -> string;
            }
            world other { import words; }
        ",
    });
}

/// Has other services work for it.
#[rialto_sdk::service]
pub mod agent {
    use std::time::Duration;

    use rialto_sdk::mesh::{self, Call};

    use crate::words::rialto_service::words::words;

    /// Calls a service by its name, as often as is wanted, and answers with what it said and what all cost.
    pub fn ask(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
        /// How often.
        times: Option<u32>,
        /// The most that one call may cost.
        price_max: Option<u64>,
        /// How long to wait after each, in milliseconds.
        pause_ms: Option<u32>,
    ) -> Result<Vec<String>, String> {
        let mut told = vec![format!("{} to spend", mesh::budget_left())];
        for _ in 0..times.unwrap_or(1) {
            let mut call = Call::new(&service, &method);
            if let Some(price_max) = price_max {
                call = call.price_max(price_max);
            }
            let answer = call.make(&arguments);
            let answer = answer.map_err(|error| mesh::describe(&error))?;
            told.push(format!("{} for {}", answer.body, answer.charged));
            if let Some(pause_ms) = pause_ms {
                std::thread::sleep(Duration::from_millis(pause_ms.into()));
            }
        }
        told.push(format!("{} left", mesh::budget_left()));
        Ok(told)
    }

    /// What a call would cost, at most.
    pub fn quote(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Bytes of its arguments.
        bytes: u64,
    ) -> Result<u64, String> {
        let quoted = mesh::quote(&service, &method, bytes);
        let quoted = quoted.map_err(|error| mesh::describe(&error))?;
        Ok(quoted.price_max)
    }

    /// Calls a service, and fails afterwards.
    pub fn ask_and_fail(
        /// The service.
        service: String,
        /// Its method.
        method: String,
        /// Its parameters as JSON.
        arguments: String,
    ) -> Result<String, String> {
        let answer = mesh::call(&service, &method, &arguments);
        match answer {
            Ok(_) => panic!("it fails, as it was asked to"),
            Err(error) => Err(mesh::describe(&error)),
        }
    }

    /// Counts words by way of the service `words`.
    pub fn count(
        /// What to count.
        text: String,
    ) -> Result<String, String> {
        let counted = words::count(&text, text.as_bytes())?;
        Ok(format!(
            "{} words, the longest is {}",
            counted.words, counted.longest
        ))
    }

    /// Shouts by way of the service `words`, which cannot refuse.
    pub fn shout(
        /// What to shout.
        text: String,
    ) -> String {
        words::shout(&text)
    }
}
