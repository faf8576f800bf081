//! The last requests of a route that its versions have failed, to be looked at.
//!
//! Written where an exchange ends that has failed, and nowhere else, under a lock of its own
//! that is held for as long as a copy takes. What a client sent is in places of a fixed size,
//! so that floods and long paths take neither time to allocate nor more memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use haldane_config::Tap as Setting;
use haldane_decide::outcome::{FailureReason, RequestId};
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;

use super::Route;
use crate::clock::Micros;
use crate::trace::TraceId;

/// So many requests are kept of each role, by [`Role::index`]. Stable's are there to compare.
const KEPT_MAX: [usize; 2] = [16, 64];

/// The longest that is kept of a method: a few times what methods have.
const METHOD_BYTES_MAX: usize = 24;

/// The longest that is kept of a path. What comes after tells requests apart, not faults.
const PATH_BYTES_MAX: usize = 256;

/// A request that its version has failed.
#[derive(Clone, Debug)]
pub(crate) struct FailedRequest {
    /// When it ended.
    pub(crate) at: Timestamp,
    pub(crate) role: Role,
    pub(crate) version: Arc<str>,
    pub(crate) generation: u32,
    pub(crate) method: Cut<METHOD_BYTES_MAX>,
    /// Without the query.
    pub(crate) path: Cut<PATH_BYTES_MAX>,
    /// What its client spoke.
    pub(crate) protocol: &'static str,
    /// The status that the version gave, if it gave one.
    pub(crate) status: Option<u16>,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) reason: FailureReason,
    /// The address of the version that it was sent to, or was to be.
    pub(crate) address: Option<Arc<str>>,
    /// From its head until it ended.
    pub(crate) duration: Micros,
    pub(crate) trace: Option<TraceId>,
    /// What its client calls it.
    pub(crate) id: Option<RequestId>,
    /// The salted hash of what it was split by, if its client keeps that.
    pub(crate) key: Option<u64>,
    /// Stable was asked in the place of the version.
    pub(crate) shielded: bool,
}

/// The first bytes of a text.
#[derive(Clone, Debug)]
pub(crate) struct Cut<const MAX: usize> {
    bytes: [u8; MAX],
    len: usize,
    is_whole: bool,
}

/// What is kept of a route.
#[derive(Debug, Default)]
pub(super) struct Tap {
    by_role: [Mutex<Kept>; 2],
}

/// The oldest first.
#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<FailedRequest>,
    dropped: u64,
}

impl Route {
    /// Keeps a request that its version has failed, if any are kept.
    pub(crate) fn tap(&self, request: FailedRequest) {
        if self.config.tap == Setting::Failures {
            self.lasting.tap.keep(request);
        }
    }

    /// The last requests that the version of a role has failed, oldest first, and how many
    /// others there were before them.
    pub(crate) fn tapped(&self, role: Role) -> (Vec<FailedRequest>, u64) {
        match self.config.tap {
            Setting::Failures => self.lasting.tap.of(role),
            // An exchange that began before nothing was to be kept may have ended since.
            Setting::Off => (Vec::new(), 0),
        }
    }

    /// Forgets all of them, if none are to be kept any more.
    pub(super) fn trim_tap(&self) {
        if self.config.tap == Setting::Off {
            self.lasting.tap.clear();
        }
    }
}

impl<const MAX: usize> Cut<MAX> {
    /// As much of `text` as there is room for.
    pub(crate) fn of(text: &[u8]) -> Self {
        let len = text.len().min(MAX);
        let mut bytes = [0; MAX];
        bytes[..len].copy_from_slice(&text[..len]);
        Self {
            bytes,
            len,
            is_whole: len == text.len(),
        }
    }

    /// As text, with `…` for what was cut off. What is no UTF-8 becomes U+FFFD.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes[..self.len]).into_owned();
        if !self.is_whole {
            text.push('…');
        }
        text
    }
}

impl Tap {
    fn keep(&self, request: FailedRequest) {
        let most = KEPT_MAX[request.role.index()];
        let mut kept = self.lock(request.role);
        let Kept { requests, dropped } = &mut *kept;
        if requests.len() == most {
            requests.pop_front();
            *dropped += 1;
        } else if requests.is_empty() {
            requests.reserve_exact(most);
        }
        requests.push_back(request);
    }

    fn of(&self, role: Role) -> (Vec<FailedRequest>, u64) {
        let kept = self.lock(role);
        (kept.requests.iter().cloned().collect(), kept.dropped)
    }

    fn clear(&self) {
        for role in Role::ALL {
            *self.lock(role) = Kept::default();
        }
    }

    fn lock(&self, role: Role) -> MutexGuard<'_, Kept> {
        // A panic under the lock leaves requests that have failed indeed.
        let kept = self.by_role[role.index()].lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(role: Role, number: u64) -> FailedRequest {
        FailedRequest {
            at: Timestamp::from_micros(number),
            role,
            version: "v2".into(),
            generation: 1,
            method: Cut::of(b"GET"),
            path: Cut::of(b"/"),
            protocol: "http/1.1",
            status: Some(500),
            grpc_status: None,
            reason: FailureReason::Status,
            address: None,
            duration: 1,
            trace: None,
            id: None,
            key: None,
            shielded: false,
        }
    }

    fn numbers(tap: &Tap, role: Role) -> (Vec<u64>, u64) {
        let (requests, dropped) = tap.of(role);
        let numbers = requests.iter().map(|request| request.at.as_micros());
        (numbers.collect(), dropped)
    }

    #[test]
    fn the_last_are_kept_of_each_role_and_the_others_are_counted() {
        let tap = Tap::default();
        assert_eq!(numbers(&tap, Role::Canary), (Vec::new(), 0));
        for number in 0..1000 {
            tap.keep(request(Role::Canary, number));
        }
        tap.keep(request(Role::Stable, 1000));
        assert_eq!(numbers(&tap, Role::Canary), ((936..1000).collect(), 936));
        assert_eq!(numbers(&tap, Role::Stable), (vec![1000], 0));
        for number in 0..20 {
            tap.keep(request(Role::Stable, number));
        }
        assert_eq!(numbers(&tap, Role::Stable), ((4..20).collect(), 5));
        tap.clear();
        for role in Role::ALL {
            assert_eq!(numbers(&tap, role), (Vec::new(), 0));
        }
    }

    #[test]
    fn it_takes_no_more_than_it_has_places_for() {
        let tap = Tap::default();
        let taken = |role: Role| tap.lock(role).requests.capacity();
        assert_eq!(Role::ALL.map(taken), [0, 0], "an idle route keeps nothing");
        for number in 0..1000 {
            for role in Role::ALL {
                tap.keep(request(role, number));
            }
        }
        let places: usize = Role::ALL.map(taken).iter().sum();
        assert!(places * size_of::<FailedRequest>() <= 64 * 1024, "{places}");
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(Cut::<4>::of(b"").text(), "");
        assert_eq!(Cut::<4>::of(b"/abc").text(), "/abc");
        assert_eq!(Cut::<4>::of(b"/abcd").text(), "/abc…");
        assert_eq!(Cut::<4>::of("/ab\u{e9}".as_bytes()).text(), "/ab\u{fffd}…");
        assert_eq!(Cut::<4>::of(b"/\xff").text(), "/\u{fffd}");
    }
}
