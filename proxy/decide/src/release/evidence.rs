//! Evidence that outlives the process.
//!
//! A process that begins counts from zero, and evidence is about everything that was counted
//! since the rollout began. So whoever goes on with evidence adds what it was about to every
//! tally that it tells from then on.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::{Release, ReleaseSpec};
use crate::gate::{Kept, Panel, Tape};
use crate::generation::Generation;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

/// The form, and the meaning of what is in it. Another one is not read.
const FORM: u64 = 2;

/// The evidence of a release at one moment. Made under whatever lock the release has, and
/// turned into bytes without it.
#[derive(Clone, Debug)]
pub struct KeptEvidence {
    mark: EvidenceMark,
    at: Timestamp,
    fingerprint: u64,
    panel: Panel,
    is_shared: bool,
    is_confirmed: bool,
}

/// What evidence is about: if that is the same, so is the evidence, but for the time that has
/// gone by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EvidenceMark {
    generation: Generation,
    weight: Weight,
    tally: Tally,
    signalled: u64,
}

/// Why a release cannot go on with evidence. Displayed as a fragment that fits after
/// "evidence begins anew: ".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unusable {
    /// It is not what was written.
    Damaged,
    /// Another haldane has written it, which judges otherwise.
    OtherForm,
    /// It is of other gates, or was to be sure of something else.
    OtherGates,
    /// It is of another generation, or another weight.
    OtherStanding,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "what was kept is damaged",
            Self::OtherForm => "what was kept is of another version of haldane",
            Self::OtherGates => "the gates are others",
            Self::OtherStanding => "what was kept is of another generation or weight",
        })
    }
}

impl KeptEvidence {
    /// What it is about.
    #[must_use]
    pub const fn mark(&self) -> &EvidenceMark {
        &self.mark
    }

    /// What [`Release::recall`] takes.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut tape = Tape::blank();
        let mut form = FORM;
        tape.count(&mut form, u64::MAX >> 1);
        tape.bits(&mut self.fingerprint);
        self.mark.generation.0.pass(&mut tape);
        self.mark.weight.pass(&mut tape);
        self.at.pass(&mut tape);
        self.is_shared.pass(&mut tape);
        self.is_confirmed.pass(&mut tape);
        self.panel.pass(&mut tape);
        tape.into_bytes()
    }
}

impl Release {
    /// What the evidence is about now; `None` if the canary is rolled back.
    #[must_use]
    pub fn evidence_mark(&self) -> Option<EvidenceMark> {
        self.is_judged().then(|| EvidenceMark {
            generation: self.generation(),
            weight: self.weight(),
            tally: *self.panel.counted(),
            signalled: self.panel.signalled(),
        })
    }

    /// The evidence as it is now; `None` if there is nothing to judge: the canary is rolled
    /// back, or the rollout complete.
    #[must_use]
    pub fn evidence_to_keep(&self, now: Timestamp) -> Option<KeptEvidence> {
        let mark = self.evidence_mark()?;
        Some(KeptEvidence {
            mark,
            at: now,
            fingerprint: self.spec.fingerprint(),
            panel: self.panel.clone(),
            is_shared: self.is_shared,
            is_confirmed: self.is_confirmed,
        })
    }

    /// Goes on with evidence of a release that stood where this one stands, which has been
    /// told nothing yet. Returns what is to be added to every tally from now on.
    ///
    /// # Errors
    ///
    /// Why it cannot; then nothing has changed.
    pub fn recall(&mut self, bytes: &[u8], now: Timestamp) -> Result<Tally, Unusable> {
        let mut tape = Tape::of(bytes);
        let (mut form, mut fingerprint) = (0, 0);
        tape.count(&mut form, u64::MAX >> 1);
        if form != FORM {
            let is_damaged = tape.is_damaged();
            return Err(if is_damaged {
                Unusable::Damaged
            } else {
                Unusable::OtherForm
            });
        }
        tape.bits(&mut fingerprint);
        let (mut generation, mut weight, mut at) = (0_u32, Weight::ZERO, now);
        generation.pass(&mut tape);
        weight.pass(&mut tape);
        at.pass(&mut tape);
        if tape.is_damaged() {
            return Err(Unusable::Damaged);
        }
        if fingerprint != self.spec.fingerprint() {
            return Err(Unusable::OtherGates);
        }
        if (Generation(generation), weight) != (self.generation(), self.weight())
            || !self.is_judged()
        {
            return Err(Unusable::OtherStanding);
        }
        tape.was_written(at, now);
        let (mut is_shared, mut is_confirmed) = (false, false);
        is_shared.pass(&mut tape);
        is_confirmed.pass(&mut tape);
        let tally = Tally::default();
        let mut panel = Panel::new(&self.spec.gates, &self.spec.promise, &tally, now);
        panel.pass(&mut tape);
        if !tape.is_read() || panel.weight() != weight {
            return Err(Unusable::Damaged);
        }
        let counted = *panel.counted();
        // Where the plan is another one now, what is to be shown is too.
        panel.set_next_weight(self.rollout.next_weight(), &counted);
        self.panel = panel;
        self.is_shared = is_shared;
        self.is_confirmed = is_confirmed;
        self.publish_limits();
        Ok(counted)
    }
}

impl ReleaseSpec {
    /// Tells what a release is judged by from anything else that it may be.
    fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(format!("{:?}", (&self.gates, &self.promise)).as_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests;
