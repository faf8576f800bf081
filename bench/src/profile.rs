//! What callgrind has counted in one thread: instructions, and calls that allocate.

use std::collections::HashMap;

/// The counts of a profile, or what lies between two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Instructions in user space.
    pub(crate) instructions: u64,
    /// Calls to the functions of the allocator that allocate.
    pub(crate) allocations: u64,
}

/// Reads a profile (Callgrind's format, version 1).
///
/// # Errors
/// Says what is missing.
pub(crate) fn read(profile: &str) -> Result<Counts, String> {
    let mut allocating = HashMap::new();
    let mut counts = Counts::default();
    let mut called = false;
    for line in profile.lines() {
        if let Some(total) = line.strip_prefix("totals: ") {
            let total = total.split(' ').next().unwrap_or_default();
            counts.instructions = total.parse().map_err(|_| format!("{line:?}"))?;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = allocates(name, &mut allocating);
        } else if let Some(name) = line.strip_prefix("fn=") {
            allocates(name, &mut allocating);
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| called) {
            let calls = calls.split(' ').next().unwrap_or_default();
            counts.allocations += calls.parse::<u64>().map_err(|_| format!("{line:?}"))?;
        }
    }
    match counts.instructions {
        0 => Err("no total".to_owned()),
        _ => Ok(counts),
    }
}

/// A name is given once, with a number, and by its number alone from then on.
fn allocates<'name>(name: &'name str, known: &mut HashMap<&'name str, bool>) -> bool {
    match name.split_once(' ') {
        Some((number, name)) => {
            let allocates = ALLOCATING.contains(&name);
            known.insert(number, allocates);
            allocates
        }
        None => known.get(name).copied().unwrap_or(false),
    }
}

impl Counts {
    /// What came between two profiles, for each of `requests`.
    pub(crate) fn per_request(self, before: Self, requests: u64) -> (f64, f64) {
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / requests as f64;
        (
            each(self.instructions, before.instructions),
            each(self.allocations, before.allocations),
        )
    }
}

/// By the names that they have in a C library and in mimalloc.
const ALLOCATING: [&str; 9] = [
    "aligned_alloc",
    "calloc",
    "malloc",
    "memalign",
    "mi_malloc_aligned",
    "mi_realloc_aligned",
    "mi_zalloc_aligned",
    "posix_memalign",
    "realloc",
];

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "# callgrind format\nversion: 1\npart: 1\nthread: 2\nevents: Ir\n\
        summary: 900\n\nob=(1) /bin/x\nfl=(1) x.rs\nfn=(1) main\n3 10\ncob=(2) libc\n\
        cfn=(2) malloc\ncalls=4 0\n3 100\ncfn=(3) free\ncalls=4 0\n3 50\n\nfn=(4) other\n5 7\n\
        cfn=(2)\ncalls=1 0\n5 25\ncfn=(5) malloc_usable_size\ncalls=9 0\n5 1\n\ntotals: 900\n";

    #[test]
    fn instructions_and_allocations_are_counted() {
        let expected = Counts {
            instructions: 900,
            allocations: 5,
        };
        assert_eq!(read(PROFILE), Ok(expected));
        assert!(read("").is_err());
        assert!(read("totals: x\n").is_err());
    }

    #[test]
    fn what_the_start_costs_falls_out() {
        let counts = |instructions, allocations| Counts {
            instructions,
            allocations,
        };
        let (instructions, allocations) = counts(5000, 30).per_request(counts(1000, 10), 40);
        assert_eq!((instructions, allocations), (100.0, 0.5));
    }
}
