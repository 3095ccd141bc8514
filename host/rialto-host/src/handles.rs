//! How many handles a call held at once.
//!
//! The engine's table tells neither its size nor how many of its places are in use, but it uses free places
//! before it takes new ones: as many as it has were once in use together.

use wasmtime::component::{Resource, ResourceTable};

/// What stands in a place while places are counted.
struct Counted;

/// The most entries that `table` ever had at once. The table is as it was afterwards.
pub(crate) fn peak(table: &mut ResourceTable) -> u64 {
    let used = table.iter_mut().count() as u64;
    let usual = table.max_capacity();
    // With no room for new places only those that are there and free can be taken.
    table.set_max_capacity(0);
    let free: Vec<Resource<Counted>> = std::iter::from_fn(|| table.push(Counted).ok()).collect();
    table.set_max_capacity(usual);
    let peak = used.saturating_add(free.len() as u64);
    // Backwards: so the places are free in the order in which they were.
    for counted in free.into_iter().rev() {
        let given_back = table.delete(counted);
        debug_assert!(given_back.is_ok(), "it was put there just now");
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_stays_when_handles_go_and_the_table_goes_on_as_before() {
        let mut table = ResourceTable::new();
        table.set_max_capacity(4);
        assert_eq!(peak(&mut table), 0);
        let one = table.push(1_u8).unwrap();
        let two = table.push(2_u8).unwrap();
        let three = table.push(3_u8).unwrap();
        assert_eq!(peak(&mut table), 3);
        table.delete(two).unwrap();
        table.delete(one).unwrap();
        assert_eq!(peak(&mut table), 3);
        assert_eq!(*table.get(&three).unwrap(), 3);
        // The same places in the same order, and no more than the table may have.
        assert_eq!(table.push(4_u8).unwrap().rep(), 0);
        assert_eq!(table.push(5_u8).unwrap().rep(), 1);
        assert_eq!(peak(&mut table), 3);
        assert_eq!(table.push(6_u8).unwrap().rep(), 3);
        assert!(table.push(7_u8).is_err());
        assert_eq!(peak(&mut table), 4);
    }
}
