//! Fuzz targets of the development chain: its JSON-RPC and its log, with what must hold for all
//! input. A broken property panics.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::accounts::DEV_ACCOUNTS;
use super::chain::Chain;
use super::genesis::{self, Funding};
use super::record::Record;
use super::state::ChangeSet;
use super::{log, rpc};
use crate::contracts::DEV_CHAIN_ID;

/// A list of calls, run in turn on a fresh chain: none panics, blocks stay in order, and going back
/// to the beginning gives the beginning.
pub(crate) fn devchain_rpc(data: &[u8]) {
    let Ok(calls) = serde_json::from_slice::<Vec<Call>>(data) else {
        return;
    };
    let mut chain = Chain::new(DEV_CHAIN_ID, GENESIS.clone());
    let first = (chain.latest().hash, chain.blocks().len());
    let mark = chain.snapshot();
    for call in calls.into_iter().take(CALLS_MAX) {
        if call.is_slow() {
            continue;
        }
        if let Err(error) = rpc::dispatch(&mut chain, &call.method, call.params) {
            assert!(!error.message.is_empty());
        }
        in_order(&chain);
    }
    match chain.revert(mark) {
        // The calls themselves went back behind the mark.
        Ok(false) => {}
        Ok(true) => assert_eq!((chain.latest().hash, chain.blocks().len()), first),
        Err(error) => panic!("the chain does not go back: {error}"),
    }
}

fn in_order(chain: &Chain) {
    for (number, block) in chain.blocks().iter().enumerate() {
        assert_eq!(usize::try_from(block.header.number), Ok(number));
        assert_eq!(chain.number_of(block.hash), Some(number));
    }
    for pair in chain.blocks().windows(2) {
        if let [earlier, later] = pair {
            assert!(earlier.header.timestamp <= later.header.timestamp);
            assert_eq!(earlier.hash, later.header.parent_hash);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    params: Value,
}

impl Call {
    /// Many blocks at once only take long; what one block does, ten thousand do.
    fn is_slow(&self) -> bool {
        let count = self.params.get(0).and_then(Value::as_str);
        self.method == "anvil_mine" && count.is_some_and(|count| count.len() > "0xf".len())
    }
}

/// One record, or, after a first byte that is odd, a file of them: what decodes is what was
/// written, to the byte.
pub(crate) fn devchain_log(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        if let Ok(record) = Record::decode(bytes) {
            assert_eq!(record.encode(), bytes);
        }
        return;
    }
    let Ok((records, end)) = log::scan(Path::new("blocks.log"), bytes) else {
        return;
    };
    assert!(end <= bytes.len());
    let held: usize = records.iter().map(Vec::len).sum();
    assert!(held <= bytes.len());
    for record in records {
        drop(Record::decode(&record));
    }
}

static GENESIS: LazyLock<ChangeSet> = LazyLock::new(|| {
    let funded: Vec<_> = DEV_ACCOUNTS
        .iter()
        .map(|account| Funding::generous(account.address))
        .collect();
    match genesis::changes(&funded) {
        Ok(changes) => changes,
        Err(error) => panic!("a committed artifact is damaged: {error}"),
    }
});

const CALLS_MAX: usize = 8;
