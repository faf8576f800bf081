//! What outlives the process: the files of the state directory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use haldane_config::{Config, RouteConfig};
use haldane_decide::release::{Release, ReleaseSpec};

use super::admin::live;
use crate::control::state_file::{events, format};
use crate::live::events::PastEvent;
use crate::live::keeping::{Entry, Found};
use crate::live::recall::EvidenceEntry;
use crate::live::{setting_of, spec_of};

/// A file around these bytes, as haldane writes it around its own.
#[must_use]
pub fn sealed(state: &[u8], is_evidence: bool) -> Vec<u8> {
    let form = if is_evidence {
        &format::EVIDENCE
    } else {
        &format::STATE
    };
    form.seal(state)
}

/// Reads a state file and writes what was read.
///
/// # Errors
///
/// Why it cannot be used.
pub fn rewrite_state(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (book, freeze): (BTreeMap<String, Entry>, _) = format::STATE.decode(bytes)?;
    let written = format::STATE.encode(&book, &freeze);
    written.map_err(|error| error.to_string())
}

/// The same with a file of evidence.
///
/// # Errors
///
/// Why it cannot be used.
pub fn rewrite_evidence(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (book, freeze): (BTreeMap<String, Arc<EvidenceEntry>>, _) =
        format::EVIDENCE.decode(bytes)?;
    let written = format::EVIDENCE.encode(&book, &freeze);
    written.map_err(|error| error.to_string())
}

/// Where a route stands in a process that begins.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which attempt it is.
    pub generation: u32,
    /// The canary's share, in parts per million.
    pub weight: u32,
    /// As the admin API says it.
    pub status: String,
    /// What is handed over or kept next.
    pub next: String,
}

/// Where the first route stands in a process that begins with this state file; `None` if
/// that cannot be used.
#[must_use]
pub fn begin(config: &Config, bytes: &[u8]) -> Option<Standing> {
    let (book, freeze) = format::STATE.decode(bytes).ok()?;
    let live = live(config, Some(Found::Whole(book, freeze)));
    let route = live.routes().first().cloned()?;
    let setting = route.setting();
    Some(Standing {
        generation: setting.generation,
        weight: setting.weight.parts_per_million(),
        status: serde_json::to_string(&route.status(&live)).ok()?,
        next: serde_json::to_string(&live.standing()).ok()?,
    })
}

/// What the first route of a configuration is judged by.
#[must_use]
pub fn spec(config: &RouteConfig) -> ReleaseSpec {
    spec_of(config)
}

/// What requests are split by where this release stands, in parts per million.
#[must_use]
pub fn share(release: &Release) -> u32 {
    setting_of(release).weight.parts_per_million()
}

/// What is left of a file with events: their numbers and their lines, and how many lines
/// were dropped.
#[must_use]
pub fn past_events(bytes: &[u8]) -> (Vec<(u64, String)>, usize) {
    let mut found: VecDeque<PastEvent> = VecDeque::new();
    let dropped = events::parse(bytes, &mut found);
    let told = found.iter().map(|event| {
        let text = serde_json::to_string(event);
        (event.seq, text.unwrap_or_default())
    });
    (told.collect(), dropped)
}
