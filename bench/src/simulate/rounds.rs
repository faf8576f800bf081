//! Rollouts side by side on a few threads, with results in their order.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Calls `one` with every number below `count`. Each is on its own, so it does not matter
/// which thread has it.
pub(crate) fn each<T: Send>(count: u64, threads: usize, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, results) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut own = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            own.push((index, one(index)));
        }
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(own);
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whatever_the_threads() {
        let squares: Vec<u64> = (0..100).map(|index| index * index).collect();
        for threads in [1, 2, 5] {
            assert_eq!(each(100, threads, |index| index * index), squares);
        }
        assert!(each(0, 2, |index| index).is_empty());
    }
}
