//! What fuzz targets call: what a chain's endpoint answers to our client, what a stranger asks of the
//! development chain, and the development chain's own log.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop
//! that makes inputs (`fuzz/`).

/// See the client's own module.
pub fn chain_answers(data: &[u8]) {
    crate::client::fuzzing::chain_answers(data);
}

/// See the client's own module.
pub fn chain_logs(data: &[u8]) {
    crate::client::fuzzing::chain_logs(data);
}

/// See the development chain's own module.
pub fn devchain_log(data: &[u8]) {
    crate::devchain::fuzzing::devchain_log(data);
}

/// See the development chain's own module.
pub fn devchain_rpc(data: &[u8]) {
    crate::devchain::fuzzing::devchain_rpc(data);
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_refused() {
        replay::seeds("chain_answers", chain_answers);
    }

    #[test]
    fn logs_become_events_or_nothing() {
        replay::seeds("chain_logs", chain_logs);
    }

    #[test]
    fn records_are_what_was_written() {
        replay::seeds("devchain_log", devchain_log);
    }

    #[test]
    fn calls_leave_a_chain() {
        replay::seeds("devchain_rpc", devchain_rpc);
    }
}
