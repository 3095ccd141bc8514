//! Orders outlive their program, in little room.

use alloy_primitives::B256;

use super::*;

fn placed(provider: &str) -> Placed {
    Placed {
        provider: provider.to_owned(),
        channel: B256::repeat_byte(7),
    }
}

fn length(dir: &Path) -> u64 {
    fs::metadata(dir.join(FILE)).unwrap().len()
}

#[tokio::test]
async fn an_order_is_known_to_whoever_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Cells::open(dir.path()).unwrap();
    let cells = open();
    assert_eq!(cells.get("hire-1"), None);
    for provider in ["a", "b"] {
        cells.put("hire-1", placed(provider)).unwrap();
        cells.durable().await.unwrap();
        assert_eq!(cells.get("hire-1"), Some(placed(provider)));
    }
    drop(cells);
    let cells = open();
    assert_eq!(cells.get("hire-1"), Some(placed("b")));
    cells.clear("hire-1").unwrap();
    cells.clear("hire-1").unwrap();
    assert_eq!(cells.get("hire-1"), None);
    drop(cells);
    assert_eq!(open().get("hire-1"), None);
}

#[tokio::test]
async fn cells_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let cells = Cells::open(dir.path()).unwrap();
    let name = |number: u64| format!("hire-{number}");
    for number in 0..=CELLS_MORE {
        cells.put(&name(number), placed("a")).unwrap();
    }
    let length_max = 2 * CELLS_MORE * CELL_BYTES as u64;
    assert_eq!(length(dir.path()), length_max);
    for number in 0..4 * CELLS_MORE {
        cells.clear(&name(number)).unwrap();
        cells
            .put(&name(number + CELLS_MORE + 1), placed("b"))
            .unwrap();
    }
    cells.durable().await.unwrap();
    assert_eq!(length(dir.path()), length_max);
    let long = "x".repeat(CELL_BYTES);
    cells.put(&long, placed("a")).unwrap_err();
    drop(cells);
    let cells = Cells::open(dir.path()).unwrap();
    let left = (0..=5 * CELLS_MORE).filter(|number| cells.get(&name(*number)).is_some());
    assert_eq!(left.count() as u64, CELLS_MORE + 1);
}

#[test]
fn what_is_torn_or_old_is_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let cells = Cells::open(dir.path()).unwrap();
    cells.put("hire-1", placed("a")).unwrap();
    cells.put("hire-2", placed("a")).unwrap();
    drop(cells);
    let path = dir.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    let record = serde_json::to_string(&Record {
        name: "hire-3".to_owned(),
        placed: placed("a"),
    });
    let old = seal(now_secs() - AGE_SECS_MAX - 60, &record.unwrap());
    bytes[2 * CELL_BYTES..][..old.len()].copy_from_slice(old.as_bytes());
    fs::write(&path, bytes).unwrap();
    let cells = Cells::open(dir.path()).unwrap();
    let known = ["hire-1", "hire-2", "hire-3"].map(|name| cells.get(name).is_some());
    assert_eq!(known, [false, true, false]);
}

#[test]
fn orders_of_earlier_versions_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let json = serde_json::to_string(&placed("a")).unwrap();
    let old = dir.path().join("hire-1.json");
    fs::write(&old, json).unwrap();
    let cells = Cells::open(dir.path()).unwrap();
    assert_eq!(cells.get("hire-1"), Some(placed("a")));
    assert!(!old.exists());
    drop(cells);
    fs::write(&old, "{").unwrap();
    // What cannot be read is not taken for nothing.
    assert!(matches!(
        Cells::open(dir.path()),
        Err(StoreError::Format { .. })
    ));
}
