//! What the random runs are drawn from.

use proptest::prelude::*;

use crate::model::{By, CHANNELS, Consented, Op, RECEIVERS, Row};

/// Any step of a run.
pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let channel = any_channel();
    let amount = 0..1000_u128;
    prop_oneof![
        4 => (channel.clone(), amount.clone(), prop_oneof![Just(By::Erc3009), Just(By::Permit2)])
            .prop_map(|(channel, amount, by)| Op::Deposit { channel, amount, by }),
        5 => (prop::collection::vec(any_row(), 0..4), any_consent())
            .prop_map(|(rows, how)| Op::Claim { rows, how }),
        2 => (0..RECEIVERS.len()).prop_map(|receiver| Op::Settle { receiver }),
        3 => (channel.clone(), amount.clone(), any_consent())
            .prop_map(|(channel, amount, how)| Op::Refund { channel, amount, how }),
        2 => (channel.clone(), amount)
            .prop_map(|(channel, amount)| Op::Withdraw { channel, amount }),
        2 => channel.prop_map(|channel| Op::Finalize { channel }),
        // Sums of these stay 100 s away from the delay, whatever real time adds.
        2 => prop_oneof![Just(200_u64), Just(1000)].prop_map(|secs| Op::Wait { secs }),
    ]
}

/// Mostly the same few, so that operations meet.
fn any_channel() -> BoxedStrategy<usize> {
    prop_oneof![3 => Just(0_usize), 2 => Just(CHANNELS - 1), 2 => 0..CHANNELS].boxed()
}

fn any_row() -> impl Strategy<Value = Row> {
    let amounts = (0..1500_u128, 0..1500_u128);
    (any_channel(), amounts, prop::bool::weighted(0.1)).prop_map(|(channel, (a, b), forged)| {
        // Mostly within the ceiling, now and then not.
        let (ceiling, total) = if a % 8 == 0 {
            (a, b)
        } else {
            (a.max(b), a.min(b))
        };
        Row {
            channel,
            ceiling,
            total,
            forged,
        }
    })
}

fn any_consent() -> impl Strategy<Value = Consented> {
    prop_oneof![
        3 => Just(Consented::ByHost),
        3 => Just(Consented::Signed),
        2 => Just(Consented::ByReceiver),
        1 => Just(Consented::Not),
    ]
}
