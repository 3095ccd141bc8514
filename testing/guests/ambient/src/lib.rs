//! Looks at what is around a call, and tells secrets in every way that there is.

/// What is around a call.
#[rialto_sdk::service]
pub mod ambient {
    use rialto_sdk::{config, context, log};
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    use std::time::{Instant, SystemTime};
    use wasip2::random::{insecure, insecure_seed, random};

    /// The value of a setting or a secret.
    pub fn setting(name: String) -> Option<String> {
        config::get(&name)
    }

    /// All of them.
    pub fn settings() -> Vec<(String, String)> {
        config::all()
    }

    /// Tells a value by the log, the standard streams, a refusal or the end of the guest.
    pub fn tell(name: String, how: String) -> Result<Vec<String>, Vec<String>> {
        let value = config::get(&name).unwrap_or_default();
        match how.as_str() {
            "log" => log::warn(format_args!("it is {value}, twice {value}")),
            "print" => {
                let (front, back) = value.split_at(value.len() / 2);
                print!("it is {front}");
                println!("{back}, of course");
            }
            "long" => println!("{}{value}", "x".repeat(1_020)),
            "refuse" => return Err(vec!["it is".to_owned(), value]),
            _ => panic!("it is {value}"),
        }
        Ok(Vec::new())
    }

    /// Seconds of the wall clock, and what passes between two looks at the other one, in nanoseconds.
    pub fn clocks() -> (u64, u64, u64) {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let start = Instant::now();
        let first = start.elapsed().as_nanos();
        let second = start.elapsed().as_nanos();
        let short = |nanos| u64::try_from(nanos).unwrap_or(u64::MAX);
        (wall.as_secs(), short(first), short(second))
    }

    /// Everything that differs from call to call, as text; `salt` is only an argument.
    pub fn chance(salt: u32) -> Vec<String> {
        let hasher = RandomState::new();
        vec![
            format!("{:?}", random::get_random_bytes(40)),
            format!("{:?}", random::get_random_u64()),
            format!("{:?}", insecure::get_insecure_random_bytes(40)),
            format!("{:?}", insecure::get_insecure_random_u64()),
            format!("{:?}", insecure_seed::insecure_seed()),
            format!("{:?}", hasher.hash_one(1)),
            format!("{:?}", context::time_left()),
            context::call_id(),
            format!("{}", salt - salt),
        ]
    }
}
