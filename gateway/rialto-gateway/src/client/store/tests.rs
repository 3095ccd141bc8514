//! A kept state comes back as it was, and nothing else is taken for one.

use super::*;

const WAIT: Duration = Duration::from_millis(60);

fn channel() -> StoredChannel {
    let config = ChannelConfig {
        payer: Address::repeat_byte(1),
        payer_authorizer: Address::repeat_byte(2),
        receiver: Address::repeat_byte(3),
        receiver_authorizer: Address::repeat_byte(4),
        token: Address::repeat_byte(5),
        withdraw_delay: 900,
        salt: B256::repeat_byte(6),
    };
    StoredChannel {
        gateway: "http://127.0.0.1:8402".to_owned(),
        chain_id: 84532,
        snapshot: PayerSnapshot {
            config,
            id: ChannelId(B256::repeat_byte(7)),
            balance: Amount::new(10_000),
            claimed: Amount::new(100),
            charged: Amount::new(300),
            uncertain: Amount::new(100),
            signed_max: Amount::new(1300),
            withdrawal: Some(Withdrawal {
                amount: Amount::new(5),
                finalizes_at: ChainTime::new(1_795_000_000),
            }),
        },
        last_receipt: Some((Amount::new(300), B256::repeat_byte(8))),
        rpc_url: Some("http://127.0.0.1:8403".to_owned()),
        fault: Some("forked".to_owned()),
        unexplained: Amount::new(7),
    }
}

#[tokio::test]
async fn a_state_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("channels");
    assert_eq!(stored_channels(&dir).unwrap(), []);
    let channel = channel();
    let file = ChannelFile::open(&dir, channel.snapshot.id, WAIT)
        .await
        .unwrap();
    assert_eq!(file.load().unwrap(), None);
    for (charged, keep) in [(1, Keep::Now), (2, Keep::Soon), (300, Keep::Now)] {
        let mut channel = channel.clone();
        channel.snapshot.charged = Amount::new(charged);
        file.save(&channel, keep).unwrap();
        assert_eq!(stored_channels(&dir).unwrap(), [channel]);
    }
    drop(file);
    let file = ChannelFile::open(&dir, channel.snapshot.id, WAIT).await;
    assert_eq!(file.unwrap().load().unwrap(), Some(channel.clone()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let state = dir.join(format!("{}.json", channel.snapshot.id));
        assert_eq!((mode(&dir), mode(&state)), (0o700, 0o600));
    }
    assert_eq!(stored_channels(&dir).unwrap(), [channel]);
}

#[tokio::test]
async fn a_channel_is_held_by_one_program_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let id = channel().snapshot.id;
    let first = ChannelFile::open(dir.path(), id, WAIT).await.unwrap();
    let second = ChannelFile::open(dir.path(), id, WAIT).await;
    assert!(matches!(second, Err(StoreError::Busy { .. })));
    drop(first);
    assert!(ChannelFile::open(dir.path(), id, WAIT).await.is_ok());
}

#[tokio::test]
async fn other_formats_are_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let id = channel().snapshot.id;
    let path = dir.path().join(format!("{id}.json"));
    for text in ["", "{}", "{\"format\": 4}"] {
        fs::write(&path, text).unwrap();
        let file = ChannelFile::open(dir.path(), id, WAIT).await.unwrap();
        assert!(
            matches!(file.load(), Err(StoreError::Format { .. })),
            "{text}"
        );
        assert!(path.exists());
    }
}

#[tokio::test]
async fn a_state_of_the_first_format_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let plain = StoredChannel {
        rpc_url: None,
        fault: None,
        unexplained: Amount::ZERO,
        ..channel()
    };
    let id = plain.snapshot.id;
    let path = dir.path().join(format!("{id}.json"));
    let text = serde_json::to_string_pretty(&Record::from(&plain)).unwrap();
    let old = text.replace("\"format\": 3", "\"format\": 1");
    assert_ne!(old, text);
    fs::write(&path, old).unwrap();
    fs::write(dir.path().join("spending.json"), "{}").unwrap();
    let kept = || stored_channels(dir.path()).unwrap();
    assert_eq!(kept(), std::slice::from_ref(&plain));
    // It is replaced by a file with places.
    let file = ChannelFile::open(dir.path(), id, WAIT).await.unwrap();
    assert_eq!(file.load().unwrap(), Some(plain.clone()));
    file.save(&channel(), Keep::Soon).unwrap();
    assert_eq!(kept(), [channel()]);
}
