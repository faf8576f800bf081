//! Good and bad results that versions report about themselves, as workers count them.

use std::sync::Arc;

use haldane_decide::gate::spec::{GateRule, GateSpec};
use haldane_decide::role::Role;

use super::histogram::bump;
use crate::sync::{AtomicU64, Ordering};

/// The signals that a route has gates for, with what was counted of them.
pub(crate) struct SignalBoard {
    names: Box<[Arc<str>]>,
    /// By worker, which alone writes there.
    counted: Box<[Counted]>,
    /// What the gates were told already. Written under the route's lock.
    told: Counted,
}

/// Cumulative counts, by signal. Padded so that workers share no cache line.
#[repr(align(128))]
struct Counted(Box<[Results]>);

/// By role: bad and good.
#[derive(Default)]
struct Results([[AtomicU64; 2]; 2]);

impl SignalBoard {
    /// A board for a route with these gates.
    pub(super) fn new(gates: &[GateSpec], workers: usize) -> Self {
        let mut names: Vec<Arc<str>> = Vec::new();
        for gate in gates {
            if let GateRule::Signal { signal, .. } = &gate.rule
                && !names.contains(signal)
            {
                names.push(Arc::clone(signal));
            }
        }
        let counted = || Counted(names.iter().map(|_| Results::default()).collect());
        Self {
            counted: (0..workers).map(|_| counted()).collect(),
            told: counted(),
            names: names.into(),
        }
    }

    /// Whether any gate is about a signal.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A version has reported a result. What no gate is about is not counted.
    pub(crate) fn count(&self, worker: usize, role: Role, name: &[u8], is_good: bool) {
        let index = self.names.iter().position(|own| own.as_bytes() == name);
        let results = index.and_then(|index| self.counted.get(worker)?.0.get(index));
        if let Some(results) = results {
            bump(&results.0[role.index()][usize::from(is_good)], 1);
        }
    }

    /// Calls `tell` with what was counted since the last call: signal, role, good and bad.
    pub(super) fn drain(&self, mut tell: impl FnMut(&str, Role, u64, u64)) {
        for (index, name) in self.names.iter().enumerate() {
            for role in Role::ALL {
                let [bad, good] = [0, 1].map(|kind| {
                    let told = &self.told.0[index].0[role.index()][kind];
                    let of_worker = |counted: &Counted| {
                        counted.0[index].0[role.index()][kind].load(Ordering::Acquire)
                    };
                    let sum: u64 = self.counted.iter().map(of_worker).sum();
                    sum.saturating_sub(told.swap(sum, Ordering::Relaxed))
                });
                if good + bad > 0 {
                    tell(name, role, good, bad);
                }
            }
        }
    }
}
