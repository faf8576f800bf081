//! Evidence that goes on in another process.
//!
//! It is kept apart from where releases stand. That must never be lost; evidence may be, and
//! then begins anew: a canary that is worse is rolled back a little later.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use haldane_config::{RouteConfig, Version};
use haldane_decide::generation::Generation;
use haldane_decide::release::evidence::{EvidenceMark, KeptEvidence, Unusable};
use haldane_decide::snapshot::CanaryIdentity;
use haldane_decide::tally::Tally;
use serde::{Deserialize, Serialize};

use super::{Live, Route};
use crate::clock::Clock;

/// The evidence that is kept, by the names of routes.
pub(crate) type EvidenceBook = BTreeMap<String, Arc<EvidenceEntry>>;

/// The evidence of one route, as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct EvidenceEntry {
    /// The canary first, then what it is compared with.
    versions: [CanaryIdentity; 2],
    /// What `Release::recall` takes, in base64.
    evidence: String,
}

/// What an earlier process kept of its evidence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FoundEvidence {
    /// It cannot be used: this is why.
    Damaged(Arc<str>),
    /// There is nothing.
    Nothing,
    /// This.
    Whole(EvidenceBook),
}

/// The evidence of a route, compared with what was kept of it before.
pub(crate) enum News {
    /// This is to be kept from now on.
    Evidence(Box<Fresh>),
    /// There is nothing to judge.
    Nothing,
    /// It is the same as before.
    Same,
}

/// Evidence that was not kept yet.
pub(crate) struct Fresh {
    versions: [CanaryIdentity; 2],
    evidence: KeptEvidence,
}

/// Why a route cannot go on with evidence. Displayed as a fragment that fits after "evidence
/// begins anew: ".
enum Refused {
    OtherStable,
    Unusable(Unusable),
}

impl From<Unusable> for Refused {
    fn from(reason: Unusable) -> Self {
        Self::Unusable(reason)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherStable => f.write_str("stable is another version"),
            Self::Unusable(reason) => reason.fmt(f),
        }
    }
}

impl Fresh {
    /// What it is about, and the form in which it is kept. Takes its time.
    pub(crate) fn into_entry(self) -> (EvidenceMark, Arc<EvidenceEntry>) {
        let mark = self.evidence.mark().clone();
        let entry = EvidenceEntry {
            versions: self.versions,
            evidence: STANDARD.encode(self.evidence.into_bytes()),
        };
        (mark, Arc::new(entry))
    }
}

impl EvidenceEntry {
    /// How much room it takes, in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.evidence.len()
    }
}

impl Route {
    /// The counts that gates judge by: those of all workers, and those of the process before
    /// if its evidence goes on.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self
            .trial
            .base
            .get()
            .map_or_else(Tally::default, |base| **base);
        for shard in &self.shards {
            shard.read_evidence(&mut tally);
        }
        tally
    }

    /// What is new of the evidence, of which this is kept. The lock is held for a copy.
    pub(crate) fn evidence_to_keep(
        &self,
        before: Option<(&EvidenceMark, &EvidenceEntry)>,
        clock: Clock,
    ) -> News {
        let Some(versions) = versions(&self.config).filter(|_| self.is_judged()) else {
            return News::Nothing;
        };
        let judge = self.lock();
        if self.trial.is_over() {
            return News::Nothing;
        }
        let same = before.is_some_and(|(mark, entry)| {
            judge.release.evidence_mark().as_ref() == Some(mark) && entry.versions == versions
        });
        if same {
            return News::Same;
        }
        match judge.release.evidence_to_keep(clock.now()) {
            Some(evidence) => News::Evidence(Box::new(Fresh { versions, evidence })),
            None => News::Nothing,
        }
    }

    /// Goes on with the evidence that was kept of it, or says why not. To be called before
    /// anything is counted.
    pub(super) fn recall(&self, entry: &EvidenceEntry, clock: Clock) {
        if let Err(reason) = self.try_to_recall(entry, clock) {
            let route = &*self.config.name;
            tracing::warn!(route, %reason, "evidence begins anew");
        }
    }

    fn try_to_recall(&self, entry: &EvidenceEntry, clock: Clock) -> Result<(), Refused> {
        let [canary, stable] = &entry.versions;
        match versions(&self.config) {
            Some(now) if now[0] == *canary && now[1] == *stable => {}
            Some(now) if now[0] == *canary => return Err(Refused::OtherStable),
            // There is none of this canary yet.
            Some(_) | None => return Ok(()),
        }
        let bytes = STANDARD.decode(&entry.evidence);
        let bytes = bytes.map_err(|_| Unusable::Damaged)?;
        let mut judge = self.lock();
        let counted = judge.release.recall(&bytes, clock.now())?;
        self.trial.base.get_or_init(|| Box::new(counted));
        self.trial.limits.publish(&judge.release, clock);
        Ok(())
    }
}

impl Live {
    /// Goes on with the evidence that an earlier process has left. To be called before
    /// anything is counted.
    pub(crate) fn recall(&self, found: FoundEvidence) {
        // Then no canary has traffic, and there is nothing to judge.
        if self.keeping.damage().is_some() {
            return;
        }
        match found {
            FoundEvidence::Damaged(reason) => {
                tracing::warn!(%reason, "evidence begins anew");
            }
            FoundEvidence::Nothing => {
                let goes_on = |route: &Arc<Route>| {
                    let found = self.keeping.found_generation(&route.config.name);
                    let now = route.setting();
                    !now.weight.is_zero() && found == Some(Generation(now.generation))
                };
                if self.routes().iter().any(goes_on) {
                    tracing::warn!(reason = "none was kept", "evidence begins anew");
                }
            }
            FoundEvidence::Whole(book) => {
                for route in self.routes().iter() {
                    if let Some(entry) = book.get(&*route.config.name) {
                        route.recall(entry, self.clock);
                    }
                }
            }
        }
    }
}

/// What evidence of a route is about, if it has a canary.
fn versions(config: &RouteConfig) -> Option<[CanaryIdentity; 2]> {
    let canary = config.canary.as_ref().map(Version::canary_identity)?;
    Some([canary, config.stable.canary_identity()])
}
