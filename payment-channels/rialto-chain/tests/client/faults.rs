//! Endpoints that are slow, away, confused or lying, between the client and a real chain.

use std::time::Duration;

use rialto_chain::client::{ChainClient, ChainError, ClientConfig, ConnectError};
use rialto_chain::contracts::DEV_CHAIN_ID;
use rialto_channels::Amount;
use rialto_testkit::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use crate::chain::{Chain, Kind};
use crate::people::{HOST, address, channel, consent, fund, row};

on_both!(
    what_breaks_is_tried_again,
    attempts_are_bounded,
    answers_to_other_questions_are_not_believed,
    the_next_endpoint_takes_over,
    another_chain_is_refused_at_the_start,
    an_endpoint_that_moves_to_another_chain_is_passed_over,
    a_swallowed_transaction_is_submitted_again_for_more,
    a_lost_answer_is_no_reason_to_pay_twice,
    a_hanging_transaction_is_replaced_up_to_the_cap,
    a_nonce_left_behind_is_filled,
);

fn through(chain: &Chain, proxy: &Proxy) -> ClientConfig {
    ClientConfig {
        rpc_url: proxy.url().to_owned(),
        call_timeout: Duration::from_millis(400),
        replace_after: Duration::from_millis(100),
        ..chain.config(HOST)
    }
}

async fn connected(chain: &Chain, proxy: &Proxy) -> ChainClient {
    ChainClient::connect(through(chain, proxy)).await.unwrap()
}

async fn what_breaks_is_tried_again(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    let height = client.block_number().await.unwrap();
    for fault in [
        Fault::LoseAnswer,
        Fault::Status(503),
        Fault::Status(429),
        Fault::Garbage,
        Fault::OtherAnswer,
    ] {
        proxy.next("eth_blockNumber", 2, fault.clone());
        assert_eq!(client.block_number().await.unwrap(), height, "{fault:?}");
    }
    proxy.next("eth_chainId", 1, Fault::Garbage);
    proxy.next("eth_blockNumber", 1, Fault::Garbage);
    assert_eq!(client.block_number().await.unwrap(), height);
}

async fn attempts_are_bounded(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    let before = proxy.count("eth_blockNumber");
    proxy.next("eth_blockNumber", usize::MAX, Fault::Status(502));
    let error = client.block_number().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error:?}");
    assert_eq!(proxy.count("eth_blockNumber") - before, 4);
    proxy.heal();
    client.block_number().await.unwrap();
    // An endpoint that hangs: one attempt takes all the time there is.
    let hang = Fault::Delay(Duration::from_secs(5));
    proxy.next("eth_blockNumber", usize::MAX, hang);
    let before = proxy.count("eth_blockNumber");
    let error = client.block_number().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error:?}");
    assert!(proxy.count("eth_blockNumber") - before <= 2);
}

async fn answers_to_other_questions_are_not_believed(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    proxy.next("eth_blockNumber", usize::MAX, Fault::OtherAnswer);
    let error = client.block_number().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error:?}");
    proxy.heal();
    proxy.next("eth_getBlockByNumber", 1, Fault::Nonsense);
    let error = client.channel(&channel(0)).await.unwrap_err();
    assert!(matches!(error, ChainError::BadAnswer(_)), "{error:?}");
    proxy.next("eth_call", 1, Fault::Say(json!("0x")));
    let error = client.channel(&channel(0)).await.unwrap_err();
    assert!(matches!(error, ChainError::BadAnswer(_)), "{error:?}");
    assert!(client.channel(&channel(0)).await.is_ok());
}

async fn the_next_endpoint_takes_over(chain: Chain) {
    let first = Proxy::before(&chain.url).await.unwrap();
    let second = Proxy::before(&chain.url).await.unwrap();
    let mut config = through(&chain, &first);
    config.rpc_urls_further = vec!["http://127.0.0.1:1".to_owned(), second.url().to_owned()];
    let client = ChainClient::connect(config).await.unwrap();
    assert_eq!(second.count("eth_blockNumber"), 0);
    client.block_number().await.unwrap();
    assert_eq!(first.count("eth_blockNumber"), 1);
    // The first hangs, the second is not there, the third answers; and is kept.
    first.next("*", usize::MAX, Fault::Delay(Duration::from_secs(5)));
    client.block_number().await.unwrap();
    client.block_number().await.unwrap();
    assert_eq!(second.count("eth_blockNumber"), 2);
    assert_eq!(first.count("eth_blockNumber"), 2);
    fund(&client, &channel(0), 5).await;
    // And back, when that one fails.
    first.heal();
    second.next("*", usize::MAX, Fault::Status(500));
    assert_eq!(
        client.channel(&channel(0)).await.unwrap().balance,
        Amount::new(5)
    );
}

async fn another_chain_is_refused_at_the_start(chain: Chain) {
    let honest = Proxy::before(&chain.url).await.unwrap();
    let liar = Proxy::before(&chain.url).await.unwrap();
    liar.next("eth_chainId", usize::MAX, Fault::Say(json!("0x1")));
    let mut config = through(&chain, &honest);
    config.rpc_urls_further = vec![liar.url().to_owned()];
    let error = ChainClient::connect(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::WrongChain {
                expected: DEV_CHAIN_ID,
                found: 1
            }
        ),
        "{error:?}"
    );
}

async fn an_endpoint_that_moves_to_another_chain_is_passed_over(chain: Chain) {
    let turncoat = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &turncoat).await;
    turncoat.next("eth_chainId", usize::MAX, Fault::Say(json!("0x2105")));
    // It is asked again after a break.
    turncoat.next("eth_blockNumber", 1, Fault::Status(502));
    let blocks = turncoat.count("eth_blockNumber");
    let error = client.block_number().await.unwrap_err();
    assert!(
        matches!(
            error,
            ChainError::WrongChain {
                expected: DEV_CHAIN_ID,
                found: 8_453
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        turncoat.count("eth_blockNumber"),
        blocks + 1,
        "asked nothing else"
    );
    let transactions = turncoat.count("eth_sendRawTransaction");
    let chain_client = chain.client(HOST).await;
    let consent = consent(&chain_client, &channel(0), Amount::new(5), 0).await;
    let refused = client.deposit(&channel(0), Amount::new(5), &consent).await;
    assert!(matches!(refused, Err(ChainError::WrongChain { .. })));
    assert_eq!(turncoat.count("eth_sendRawTransaction"), transactions);

    let mut config = through(&chain, &turncoat);
    turncoat.heal();
    let honest = Proxy::before(&chain.url).await.unwrap();
    config.rpc_urls_further = vec![honest.url().to_owned()];
    let client = ChainClient::connect(config).await.unwrap();
    turncoat.next("eth_chainId", usize::MAX, Fault::Say(json!("0x2105")));
    turncoat.next("eth_blockNumber", 1, Fault::Status(502));
    client.block_number().await.unwrap();
    fund(&client, &channel(0), 5).await;
    assert_eq!(honest.count("eth_sendRawTransaction"), 1);
}

async fn a_swallowed_transaction_is_submitted_again_for_more(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    let usual = fund(&client, &channel(2), 5).await;
    let usual = transaction(&chain, json!(usual.transaction)).await;
    proxy.next("eth_sendRawTransaction", 2, Fault::Swallow);
    let before = mined(&chain).await;
    let deposited = fund(&client, &channel(0), 5).await;
    assert_eq!(proxy.count("eth_sendRawTransaction"), 4);
    assert_eq!(mined(&chain).await, before + 1);
    let dearer = transaction(&chain, json!(deposited.transaction)).await;
    let tip = |transaction: &Value| quantity(&transaction["maxPriorityFeePerGas"]);
    assert!(tip(&dearer) > tip(&usual), "{dearer} after {usual}");
    // The client goes on with the next nonce.
    fund(&client, &channel(1), 6).await;
    assert_eq!(mined(&chain).await, before + 2);
}

async fn a_lost_answer_is_no_reason_to_pay_twice(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    let before = mined(&chain).await;
    proxy.next("eth_sendRawTransaction", 1, Fault::LoseAnswer);
    fund(&client, &channel(0), 50).await;
    proxy.next("eth_sendRawTransaction", 1, Fault::LoseAnswer);
    let claim = [row(&client, channel(0), 20, 20)];
    assert_eq!(client.claim(&claim).await.unwrap().claimed.len(), 1);
    proxy.next("eth_sendRawTransaction", 1, Fault::LoseAnswer);
    let refunded = client.refund(&channel(0), Amount::new(10), None).await;
    assert_eq!(refunded.unwrap().amount, Amount::new(10));
    assert_eq!(mined(&chain).await, before + 3);
    let view = client.channel(&channel(0)).await.unwrap();
    assert_eq!(view.balance, Amount::new(40));
}

async fn a_hanging_transaction_is_replaced_up_to_the_cap(chain: Chain) {
    if chain.kind == Kind::Dev {
        // It mines at once: nothing hangs. What is swallowed is tested above.
        let client = ChainClient::connect(ClientConfig {
            fee_max: 1,
            ..chain.config(HOST)
        });
        let client = client.await.unwrap();
        let consent = consent(&client, &channel(0), Amount::new(5), 0).await;
        let refused = client.deposit(&channel(0), Amount::new(5), &consent).await;
        // The cap holds, even where that means that nothing is mined.
        assert!(
            matches!(refused, Err(ChainError::Refused { .. })),
            "{refused:?}"
        );
        return;
    }
    let proxy = Proxy::before(&chain.url).await.unwrap();
    chain.rpc("evm_setAutomine", json!([false])).await;
    let mut config = through(&chain, &proxy);
    let advised = quantity(&chain.rpc("eth_gasPrice", json!([])).await);
    // Room for a few replacements and no more.
    config.fee_max = u128::from(advised) * 3;
    let client = ChainClient::connect(config.clone()).await.unwrap();
    let before = mined(&chain).await;
    let task = tokio::spawn(async move { fund(&client, &channel(0), 5).await });
    while proxy.count("eth_sendRawTransaction") < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    chain.mine().await;
    let deposited = task.await.unwrap();
    assert_eq!(mined(&chain).await, before + 1, "one form of it was mined");
    let transaction = transaction(&chain, json!(deposited.transaction)).await;
    let offered = quantity(&transaction["maxFeePerGas"]);
    assert!(u128::from(offered) <= config.fee_max);
    let tip = quantity(&transaction["maxPriorityFeePerGas"]);
    assert!(tip > 1, "{transaction}");
}

async fn a_nonce_left_behind_is_filled(chain: Chain) {
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let client = connected(&chain, &proxy).await;
    let before = mined(&chain).await;
    // The endpoint counts a transaction of ours as pending that no pool holds any more: what a
    // process that crashed leaves behind.
    let ahead = json!(format!("{:#x}", before + 1));
    proxy.next("eth_getTransactionCount", 1, Fault::Say(ahead));
    if chain.kind == Kind::Dev {
        // It takes no nonce before its turn: the client asks again and gets the right one.
        fund(&client, &channel(0), 5).await;
        assert_eq!(mined(&chain).await, before + 1);
        return;
    }
    fund(&client, &channel(0), 5).await;
    assert_eq!(
        mined(&chain).await,
        before + 2,
        "the filler and the deposit"
    );
}

async fn mined(chain: &Chain) -> u64 {
    let params = json!([address(HOST), "latest"]);
    quantity(&chain.rpc("eth_getTransactionCount", params).await)
}

async fn transaction(chain: &Chain, hash: Value) -> Value {
    chain.rpc("eth_getTransactionByHash", json!([hash])).await
}

fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
