//! A channel's whole life, to the base unit.

use alloy::primitives::Address;
use rialto_chain::client::{ChainClient, ChainError, ChannelEvent, TransferFate};
use rialto_channels::{Amount, ChannelId, TransferAuthorization, digest};

use crate::chain::Chain;
use crate::people::{
    DELAY_SECS, HOST, PAYER, RECEIVER, STRANGER, address, channel, consent, fund, key, row,
    token_domain,
};

on_both!(
    a_channel_lives,
    a_withdrawal_takes_what_is_unclaimed,
    deposits_are_checked_before_they_are_sent,
    exact_transfers,
    many_tasks_send_at_once,
);

const USDC_1M: u128 = 1_000_000_000_000;

async fn a_channel_lives(chain: Chain) {
    let host = chain.client(HOST).await;
    let config = channel(0);
    let id = config.id(&host.domain());
    let start = host.block_number().await.unwrap() + 1;
    let empty = host.channel(&config).await.unwrap();
    assert!(empty.balance.is_zero() && empty.withdrawal.is_none());

    let opened = fund(&host, &config, 1_000).await;
    assert_eq!(opened.balance, Amount::new(1_000));
    let amount = Amount::new(500);
    let more = consent(&host, &config, amount, 1).await;
    host.simulate_deposit(&config, amount, &more).await.unwrap();
    let topped_up = host.deposit(&config, amount, &more).await.unwrap();
    assert_eq!(topped_up.balance, Amount::new(1_500));

    let claimed = host.claim(&[row(&host, config, 900, 700)]).await.unwrap();
    assert_eq!(claimed.claimed, [(id, Amount::new(700))]);
    assert!(claimed.dropped.is_empty());
    // The same again claims nothing twice.
    let again = host.claim(&[row(&host, config, 900, 700)]).await.unwrap();
    assert!(again.claimed.is_empty() && again.dropped.is_empty());
    host.claim(&[row(&host, config, 1_200, 1_100)])
        .await
        .unwrap();

    let due = host.unsettled(address(RECEIVER), config.token).await;
    assert_eq!(due.unwrap(), Amount::new(1_100));
    let settled = host.settle(address(RECEIVER), config.token).await.unwrap();
    assert_eq!(settled.amount, Amount::new(1_100));
    let nothing = host.settle(address(RECEIVER), config.token).await.unwrap();
    assert_eq!((nothing.transaction, nothing.amount.get()), (None, 0));

    let refunded = host
        .refund(&config, Amount::new(1_000_000), None)
        .await
        .unwrap();
    assert_eq!(refunded.amount, Amount::new(400));
    let view = host.channel(&config).await.unwrap();
    assert_eq!(view.balance, Amount::new(1_100));
    assert_eq!(view.claimed, Amount::new(1_100));
    assert_eq!(view.refund_nonce, alloy::primitives::U256::from(1));

    let balance = async |who| host.token_balance(who).await.unwrap().get();
    assert_eq!(balance(address(PAYER)).await, USDC_1M - 1_100);
    assert_eq!(balance(address(RECEIVER)).await, USDC_1M + 1_100);
    assert_eq!(balance(host.contracts().settlement).await, 0);
    assert_eq!(balance(host.contracts().collector).await, 0);

    let story = tell(&host, start).await;
    assert_eq!(story, expected_story(id, config.token));
}

/// The events from `start` to the end.
async fn tell(host: &ChainClient, start: u64) -> Vec<ChannelEvent> {
    let (events, next) = host.events(start).await.unwrap();
    assert_eq!(next, host.block_number().await.unwrap() + 1);
    assert_eq!(host.events(next).await.unwrap(), (Vec::new(), next));
    assert!(events.iter().all(|event| event.block >= start));
    events.iter().map(|event| event.event).collect()
}

fn expected_story(id: ChannelId, token: Address) -> [ChannelEvent; 6] {
    let deposited = |amount, balance| ChannelEvent::Deposited {
        channel: id,
        amount: Amount::new(amount),
        balance: Amount::new(balance),
    };
    let claimed = |amount, total| ChannelEvent::Claimed {
        channel: id,
        amount: Amount::new(amount),
        total_claimed: Amount::new(total),
    };
    [
        deposited(1_000, 1_000),
        deposited(500, 1_500),
        claimed(700, 700),
        claimed(400, 1_100),
        ChannelEvent::Settled {
            receiver: address(RECEIVER),
            token,
            amount: Amount::new(1_100),
        },
        ChannelEvent::Refunded {
            channel: id,
            amount: Amount::new(400),
        },
    ]
}

async fn a_withdrawal_takes_what_is_unclaimed(chain: Chain) {
    let host = chain.client(HOST).await;
    let payer = chain.client(PAYER).await;
    let config = channel(0);
    fund(&host, &config, 1_000).await;
    let start = host.block_number().await.unwrap() + 1;
    let stranger = chain.client(STRANGER).await;
    let refused = stranger.initiate_withdraw(&config, Amount::new(1)).await;
    assert_eq!(refused.unwrap_err().revert(), Some("InvalidChannel"));
    payer
        .initiate_withdraw(&config, Amount::new(800))
        .await
        .unwrap();
    let pending = host.channel(&config).await.unwrap().withdrawal.unwrap();
    assert_eq!(pending.amount, Amount::new(800));
    let now = host.now().await.unwrap();
    assert!(pending.finalizes_at.secs_since(now).abs_diff(DELAY_SECS) <= 2);
    let early = payer.finalize_withdraw(&config).await.unwrap_err();
    assert_eq!(early.revert(), Some("WithdrawDelayNotElapsed"));
    // The host sees it coming and claims in time.
    host.claim(&[row(&host, config, 600, 600)]).await.unwrap();
    chain.advance(DELAY_SECS).await;
    let withdrawn = payer.finalize_withdraw(&config).await.unwrap();
    assert_eq!(withdrawn.amount, Amount::new(400));
    let view = host.channel(&config).await.unwrap();
    assert!(view.withdrawal.is_none());
    assert_eq!(view.balance, Amount::new(600));
    let paid = host.token_balance(address(PAYER)).await.unwrap();
    assert_eq!(paid.get(), USDC_1M - 600);
    let (events, _) = host.events(start).await.unwrap();
    assert!(matches!(
        events[0].event,
        ChannelEvent::WithdrawInitiated { amount, finalizes_at, .. }
            if amount.get() == 800 && finalizes_at == pending.finalizes_at
    ));
    assert!(matches!(
        events[2].event,
        ChannelEvent::WithdrawFinalized { amount, .. } if amount.get() == 400
    ));
}

async fn deposits_are_checked_before_they_are_sent(chain: Chain) {
    let host = chain.client(HOST).await;
    let config = channel(0);
    let amount = Amount::new(100);
    let good = consent(&host, &config, amount, 0).await;
    let refused = async |config, amount, consent| {
        let simulated = host.simulate_deposit(&config, amount, &consent).await;
        let sent = host.deposit(&config, amount, &consent).await;
        let name = simulated.unwrap_err().revert().unwrap().to_owned();
        let Err(ChainError::Reverted {
            name: sent,
            transaction: None,
            data,
        }) = sent
        else {
            panic!("{sent:?}");
        };
        assert_eq!(name, sent);
        assert!(data.len() >= 4);
        name
    };
    let sent_before = host.eth_balance(host.address()).await.unwrap();
    let other_amount = Amount::new(101);
    let name = refused(config, other_amount, good.clone()).await;
    assert_eq!(name, "InvalidSignature");
    let name = refused(channel(9), amount, good.clone()).await;
    assert_eq!(name, "InvalidSignature");
    let mut expired = good.clone();
    expired.valid_before = 1;
    let name = refused(config, amount, expired).await;
    assert_eq!(name, "AuthorizationExpired");
    let mut short_delay = config;
    short_delay.withdraw_delay = 899;
    let name = refused(short_delay, amount, good.clone()).await;
    assert_eq!(name, "WithdrawDelayOutOfRange");
    let rich = Amount::new(USDC_1M + 1);
    let too_much = consent(&host, &config, rich, 0).await;
    let name = refused(config, rich, too_much).await;
    assert_eq!(name, "ERC20InsufficientBalance");
    let mut absurd = config;
    absurd.withdraw_delay = u64::MAX;
    let error = host.deposit(&absurd, amount, &good).await.unwrap_err();
    assert!(matches!(error, ChainError::OutOfRange(_)));
    // Nothing of that cost gas.
    let sent_after = host.eth_balance(host.address()).await.unwrap();
    assert_eq!(sent_before, sent_after);

    host.deposit(&config, amount, &good).await.unwrap();
    let name = refused(config, amount, good).await;
    assert_eq!(name, "AuthorizationUsedOrCanceled");
}

async fn exact_transfers(chain: Chain) {
    let host = chain.client(HOST).await;
    let authorization = TransferAuthorization {
        from: address(PAYER),
        to: address(RECEIVER),
        value: Amount::new(250),
        valid_after: 0,
        valid_before: host.now().await.unwrap().get() + 600,
        nonce: alloy::primitives::B256::repeat_byte(7),
    };
    let digest = digest::transfer_authorization(&token_domain(), &authorization);
    let signature = key(PAYER).sign(digest).to_bytes();
    let forged = key(STRANGER).sign(digest).to_bytes();
    let error = host.simulate_transfer(&authorization, &forged).await;
    assert_eq!(error.unwrap_err().revert(), Some("InvalidSignature"));
    let used = async || {
        let nonce = authorization.nonce;
        host.authorization_used(address(PAYER), nonce).await
    };
    assert!(!used().await.unwrap());
    let fate = async |transfer| host.transfer_fate(&transfer).await.unwrap();
    assert_eq!(fate(authorization).await, TransferFate::Open);
    host.simulate_transfer(&authorization, &signature)
        .await
        .unwrap();
    let made = host
        .transfer_with_authorization(&authorization, &signature)
        .await
        .unwrap();
    assert!(used().await.unwrap());
    assert_eq!(fate(authorization).await, TransferFate::Made(made));
    let other = TransferAuthorization {
        value: Amount::new(251),
        ..authorization
    };
    // A used nonce does not prove that this very transfer was made.
    assert_eq!(fate(other).await, TransferFate::Spent);
    let received = host.token_balance(address(RECEIVER)).await.unwrap();
    assert_eq!(received.get(), USDC_1M + 250);
    let error = host
        .transfer_with_authorization(&authorization, &signature)
        .await;
    assert_eq!(
        error.unwrap_err().revert(),
        Some("AuthorizationUsedOrCanceled")
    );
}

async fn many_tasks_send_at_once(chain: Chain) {
    let host = chain.client(HOST).await;
    // Another client of the same account takes nonces away from the first.
    let rival = chain.client(HOST).await;
    let mut tasks = tokio::task::JoinSet::new();
    for salt in 0..24 {
        let client = if salt % 4 == 0 { &rival } else { &host }.clone();
        tasks.spawn(async move {
            let config = channel(salt);
            let amount = Amount::new(10 + u128::from(salt));
            let consent = consent(&client, &config, amount, 0).await;
            loop {
                match client.deposit(&config, amount, &consent).await {
                    Ok(deposited) => break deposited.balance,
                    // The rival's transaction took this one's place in the pool: it was not made.
                    Err(ChainError::Superseded { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let balances = tasks.join_all().await;
    let total: u128 = balances.iter().map(|balance| balance.get()).sum();
    assert_eq!(total, (0..24).map(|salt| 10 + salt).sum());
    let held = host.token_balance(host.contracts().settlement).await;
    assert_eq!(held.unwrap().get(), total);
}
