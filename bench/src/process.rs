//! What the kernel knows about a process tree: its members, CPU time and memory.

use std::{fs, path::PathBuf};

use crate::failure::Failure;

/// A process, told apart from a later one with the same id by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its process id.
    pub(crate) pid: u32,
    parent: u32,
    /// Clock ticks after boot.
    started: u64,
}

impl Member {
    /// Whether it still runs: not ended, not a zombie, not another process with its id.
    pub(crate) fn is_alive(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .filter(|stat| state(stat) != Some("Z"))
            .and_then(|stat| member(&stat))
            .is_some_and(|member| member.started == self.started)
    }
}

/// The process and all its descendants.
pub(crate) fn tree(root: u32) -> Result<Vec<Member>, Failure> {
    let entries = fs::read_dir("/proc").map_err(Failure::io("list /proc"))?;
    let all: Vec<Member> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        // A process that ends while the list is read is no longer of interest.
        .filter_map(|pid| member(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect();
    Ok(descendants(&all, root))
}

/// Nanoseconds of CPU time of all threads of the tree that live now.
pub(crate) fn cpu_ns(tree: &[Member]) -> Result<u64, Failure> {
    let mut total_ns = 0;
    for member in tree {
        let tasks = PathBuf::from(format!("/proc/{}/task", member.pid));
        let entries = fs::read_dir(&tasks).map_err(Failure::io(format!("list {tasks:?}")))?;
        for entry in entries.flatten() {
            let path = entry.path().join("schedstat");
            // A thread may end between the two reads.
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            total_ns += run_time_ns(&text).ok_or_else(|| {
                Failure::violation(format!("{path:?} is not understood: {text:?}"))
            })?;
        }
    }
    Ok(total_ns)
}

/// Proportional set size of the tree in KiB: shared pages are divided among those who share them.
pub(crate) fn pss_kib(tree: &[Member]) -> Result<u64, Failure> {
    let mut total_kib = 0;
    for member in tree {
        let path = format!("/proc/{}/smaps_rollup", member.pid);
        let text = fs::read_to_string(&path).map_err(Failure::io(format!("read {path}")))?;
        total_kib += pss_line_kib(&text)
            .ok_or_else(|| Failure::violation(format!("{path} has no Pss line")))?;
    }
    Ok(total_kib)
}

fn descendants(all: &[Member], root: u32) -> Vec<Member> {
    let mut tree: Vec<Member> = all
        .iter()
        .copied()
        .filter(|member| member.pid == root)
        .collect();
    let mut at = 0;
    while let Some(parent) = tree.get(at).map(|member| member.pid) {
        tree.extend(all.iter().filter(|member| member.parent == parent));
        at += 1;
    }
    tree
}

/// proc_pid_stat(5): the name in parentheses may contain spaces and parentheses.
fn member(stat: &str) -> Option<Member> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Member {
        pid,
        parent,
        started,
    })
}

fn state(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().next()
}

/// The first of three numbers: time on the CPU (kernel, sched-stats documentation).
fn run_time_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

fn pss_line_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let tail = "0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 7";
        let stat = format!("42 (a b) S 1 (c) R 7 42 42 {tail}");
        let expected = Member {
            pid: 42,
            parent: 7,
            started: 12345,
        };
        assert_eq!(member(&stat), Some(expected));
        assert_eq!(state(&stat), Some("R"));
        assert_eq!(member("42 (a"), None);
        assert_eq!(member(""), None);
    }

    #[test]
    fn schedstat_begins_with_run_time() {
        assert_eq!(run_time_ns("103585 2171630 2\n"), Some(103_585));
        assert_eq!(run_time_ns(""), None);
        assert_eq!(run_time_ns("x 1 2"), None);
    }

    #[test]
    fn pss_is_not_pss_dirty() {
        let text =
            "55-7f ---p 0 00:00 0 [rollup]\nRss:    1748 kB\nPss_Dirty:  108 kB\nPss:   303 kB\n";
        assert_eq!(pss_line_kib(text), Some(303));
        assert_eq!(pss_line_kib("Pss_Dirty: 1 kB\n"), None);
    }

    #[test]
    fn descendants_of_descendants_belong_to_the_tree() {
        let of = |pid, parent| Member {
            pid,
            parent,
            started: 0,
        };
        let all = [of(1, 0), of(5, 4), of(2, 1), of(4, 2), of(3, 1)];
        assert_eq!(descendants(&all, 2), [of(2, 1), of(4, 2), of(5, 4)]);
        assert_eq!(descendants(&all, 9), []);
    }

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let tree = tree(std::process::id()).unwrap();
        assert!(tree[0].is_alive());
        assert!(cpu_ns(&tree[..1]).unwrap() > 0);
        assert!(pss_kib(&tree[..1]).unwrap() > 0);
    }
}
