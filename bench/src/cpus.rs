//! Which CPUs the proxies get and which one drives them.

use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::Failure;

/// The allotment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each worker of a proxy, from the lowest on.
    pub(crate) proxy: Vec<usize>,
    /// The highest; `None` when there is only one, and nothing is pinned then.
    pub(crate) driver: Option<usize>,
    /// What the reader of the numbers has to know about this allotment.
    pub(crate) warning: Option<String>,
}

impl Plan {
    /// Shares the CPUs that this process may use.
    pub(crate) fn new(workers: usize) -> Result<Self, Failure> {
        Ok(Self::over(&allowed()?, workers))
    }

    fn over(allowed: &[usize], workers: usize) -> Self {
        let mut proxy: Vec<usize> = allowed.iter().copied().take(workers).collect();
        let Some((&driver, rest)) = allowed.split_last().filter(|(_, rest)| !rest.is_empty())
        else {
            proxy.clear();
            let warning = Some("only one CPU: the load competes with the proxy".to_owned());
            return Self {
                proxy,
                driver: None,
                warning,
            };
        };
        let warning = (workers > rest.len()).then(|| {
            format!(
                "{workers} workers on {} CPUs: the load shares CPU {driver}",
                allowed.len()
            )
        });
        Self {
            proxy,
            driver: Some(driver),
            warning,
        }
    }
}

/// Pins the calling thread; children inherit it. An empty list leaves it alone.
pub(crate) fn pin(cpus: &[usize]) -> Result<(), Failure> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
        .map_err(|errno| Failure::io(format!("pin to CPUs {cpus:?}"))(errno.into()))
}

/// What this process might use when it began: pinning the driver leaves it one of them.
fn allowed() -> Result<Vec<usize>, Failure> {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    if let Some(allowed) = ALLOWED.get() {
        return Ok(allowed.clone());
    }
    let set = sched_getaffinity(None)
        .map_err(|errno| Failure::io("read the CPU affinity")(errno.into()))?;
    let allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    Ok(ALLOWED.get_or_init(|| allowed.collect()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_has_a_cpu_of_its_own_when_there_are_enough() {
        let plan = Plan::over(&[0, 1], 1);
        assert_eq!(
            (plan.proxy, plan.driver, plan.warning),
            (vec![0], Some(1), None)
        );
        let plan = Plan::over(&[2, 3, 7], 2);
        assert_eq!(
            (plan.proxy, plan.driver, plan.warning),
            (vec![2, 3], Some(7), None)
        );
    }

    #[test]
    fn sharing_is_said() {
        let plan = Plan::over(&[0, 1], 2);
        assert_eq!(
            (plan.proxy.as_slice(), plan.driver),
            ([0, 1].as_slice(), Some(1))
        );
        assert!(plan.warning.is_some());
        let plan = Plan::over(&[0], 1);
        assert_eq!((plan.proxy.as_slice(), plan.driver), ([].as_slice(), None));
        assert!(plan.warning.is_some());
    }
}
