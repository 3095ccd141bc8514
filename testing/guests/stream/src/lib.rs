//! Streams of every kind: whole ones, slow ones, ones without end, and ones that break off.

/// Streams.
#[rialto_sdk::service]
pub mod stream {
    use std::time::Duration;

    use rialto_sdk::Stream;

    /// What is counted.
    pub struct Step {
        /// Its place.
        pub number: u32,
        /// Something to read.
        pub text: String,
    }

    /// Counts from 1.
    pub fn count(
        /// How far.
        to: u32,
    ) -> Stream<Step> {
        Stream::new((1..=to).map(|number| Step {
            number,
            text: format!("step {number}"),
        }))
    }

    /// Words, as a model would write them.
    pub fn words(
        /// What to say.
        text: String,
    ) -> Result<Stream<String>, String> {
        if text.is_empty() {
            return Err("`text` is empty".to_owned());
        }
        let pieces: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        Ok(Stream::new(pieces))
    }

    /// Counts from 1, and waits before each step.
    pub fn slow(
        /// How far.
        to: u64,
        /// Milliseconds.
        pause_ms: u64,
    ) -> Stream<u64> {
        Stream::new((1..=to).inspect(move |_| std::thread::sleep(Duration::from_millis(pause_ms))))
    }

    /// Counts without end, and waits before each step.
    pub fn endless(
        /// Milliseconds.
        pause_ms: u64,
    ) -> Stream<u64> {
        Stream::new((1..).inspect(move |_| std::thread::sleep(Duration::from_millis(pause_ms))))
    }

    /// Counts from 1, once it has waited.
    pub fn late(
        /// How far.
        to: u32,
        /// Milliseconds.
        pause_ms: u64,
    ) -> Stream<u32> {
        std::thread::sleep(Duration::from_millis(pause_ms));
        Stream::new(1..=to)
    }

    /// Counts and then crashes.
    pub fn crash(
        /// How far.
        after: u32,
    ) -> Stream<u32> {
        Stream::new((1..).inspect(move |number| assert!(*number <= after, "as asked")))
    }

    /// Counts and then refuses.
    pub fn refuse(
        /// How far.
        after: u32,
    ) -> Stream<Result<u32, String>> {
        Stream::new((1..).map(move |number| {
            if number <= after {
                Ok(number)
            } else {
                Err(format!("no more than {after}"))
            }
        }))
    }

    /// Items that are large.
    pub fn large(
        /// How many.
        items: u32,
        /// Bytes of each.
        bytes: u32,
    ) -> Stream<String> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Stream::new((0..items).map(move |_| "x".repeat(bytes)))
    }

    /// Items that are nothing, or lists.
    pub fn holes(
        /// How many.
        items: u32,
    ) -> Stream<Option<Vec<u32>>> {
        Stream::new((0..items).map(|number| (number % 2 == 1).then(|| vec![number])))
    }

    /// Spins before its second item.
    pub fn spin() -> Stream<u32> {
        Stream::new((1..).inspect(|number| while *number > 1 {}))
    }
}
