//! What is remembered of a transaction before it is sent, and what is found out from it later.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use alloy::primitives::B256;
use rialto_chain::client::{ChainClient, ChainError, Fate, KeepError, KeepSent, Sent};
use rialto_channels::Amount;
use rialto_testkit::proxy::{Fault, Proxy};

use crate::chain::Chain;
use crate::people::{HOST, channel, fund};

on_both!(
    nothing_is_sent_that_could_not_be_kept,
    replacements_are_kept_too,
    a_transaction_that_nobody_waited_for_is_found,
    one_that_was_lost_is_concluded,
);

/// Keeps in memory, or refuses.
#[derive(Debug, Default)]
struct Keeper {
    kept: Mutex<Vec<Sent>>,
    full: bool,
}

impl KeepSent for Keeper {
    fn keep<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>> {
        Box::pin(async move {
            if self.full {
                return Err("disk full".into());
            }
            self.kept.lock().unwrap().push(sent.clone());
            Ok(())
        })
    }
}

impl Keeper {
    fn last(&self) -> Sent {
        self.kept.lock().unwrap().last().unwrap().clone()
    }
}

async fn nothing_is_sent_that_could_not_be_kept(chain: Chain) {
    let terms = channel(0);
    let client = chain.client(HOST).await;
    fund(&client, &terms, 100).await;
    let height = client.block_number().await.unwrap();
    let keeper = Keeper {
        full: true,
        ..Keeper::default()
    };
    let refused = client.refund(&terms, Amount::new(5), Some(&keeper));
    let error = refused.await.unwrap_err();
    assert!(matches!(error, ChainError::NotKept(_)), "{error:?}");
    assert_eq!(client.block_number().await.unwrap(), height);
    let keeper = Keeper::default();
    let refunded = client.refund(&terms, Amount::new(5), Some(&keeper));
    let refunded = refunded.await.unwrap();
    assert_eq!(keeper.last().hashes, [refunded.transaction]);
}

async fn replacements_are_kept_too(chain: Chain) {
    let terms = channel(0);
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let mut config = chain.config(HOST);
    config.rpc_url = proxy.url().to_owned();
    config.replace_after = Duration::from_millis(50);
    let client = ChainClient::connect(config).await.unwrap();
    fund(&client, &terms, 100).await;
    proxy.next("eth_sendRawTransaction", 1, Fault::Swallow);
    let keeper = Keeper::default();
    let refunded = client.refund(&terms, Amount::new(5), Some(&keeper));
    let refunded = refunded.await.unwrap();
    let kept = keeper.kept.lock().unwrap().clone();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].nonce, kept[1].nonce);
    assert_eq!(kept[1].hashes[0], kept[0].hashes[0]);
    assert_eq!(kept[1].hashes[1], refunded.transaction);
}

async fn a_transaction_that_nobody_waited_for_is_found(chain: Chain) {
    let terms = channel(0);
    let mut config = chain.config(HOST);
    // Far more confirmations than there will be: the caller gives up, as if it had crashed.
    config.confirmations = 50;
    config.confirm_within = Duration::from_millis(20);
    let impatient = ChainClient::connect(config).await.unwrap();
    let client = chain.client(HOST).await;
    fund(&client, &terms, 100).await;
    let keeper = Keeper::default();
    let refund = impatient.refund(&terms, Amount::new(30), Some(&keeper));
    assert!(matches!(refund.await, Err(ChainError::Dropped { .. })));
    assert_eq!(impatient.fate(&keeper.last()).await.unwrap(), Fate::Open);
    let Fate::Mined(outcome) = client.fate(&keeper.last()).await.unwrap() else {
        panic!("it was mined");
    };
    assert!(outcome.succeeded);
    let id = channel(0).id(&client.domain());
    assert_eq!(outcome.refunded, [(id, Amount::new(30))]);
    let again = client.outcome_of(outcome.transaction).await.unwrap();
    assert_eq!(again, Some(outcome));
}

async fn one_that_was_lost_is_concluded(chain: Chain) {
    let terms = channel(0);
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let mut config = chain.config(HOST);
    config.rpc_url = proxy.url().to_owned();
    config.confirm_within = Duration::from_millis(50);
    let client = ChainClient::connect(config).await.unwrap();
    fund(&client, &terms, 100).await;
    proxy.next("eth_sendRawTransaction", 1, Fault::Swallow);
    let keeper = Keeper::default();
    let refund = client.refund(&terms, Amount::new(30), Some(&keeper));
    assert!(matches!(refund.await, Err(ChainError::Dropped { .. })));
    let sent = keeper.last();
    let client = chain.client(HOST).await;
    assert_eq!(client.fate(&sent).await.unwrap(), Fate::Open);
    assert_eq!(client.conclude(&sent).await.unwrap(), Fate::Never);
    assert_eq!(client.fate(&sent).await.unwrap(), Fate::Never);
    let view = client.channel(&terms).await.unwrap();
    assert_eq!(view.balance, Amount::new(100), "nothing was refunded");
    let nothing = client.outcome_of(B256::repeat_byte(7)).await.unwrap();
    assert_eq!(nothing, None);
    // And the account goes on.
    fund(&client, &channel(1), 5).await;
}
