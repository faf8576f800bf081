//! Whether rollouts may start and advance: one switch for the whole process.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use haldane_decide::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Live;
use super::events::{Happening, ProcessEvent, ProcessEventKind};

/// The switch.
#[derive(Default)]
pub(crate) struct Freeze(ArcSwapOption<Frozen>);

/// Who has frozen rollouts, when and why.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Frozen {
    pub(crate) at: Timestamp,
    pub(crate) actor: Option<String>,
    pub(crate) reason: Option<String>,
    /// The same in one fragment.
    why: Arc<str>,
}

impl Frozen {
    pub(crate) fn new(at: Timestamp, actor: Option<String>, reason: Option<String>) -> Self {
        let by = actor.as_deref().map(|actor| format!("by {actor}"));
        let parts = [by.as_deref(), reason.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        let why = if parts.is_empty() {
            "nobody said why".into()
        } else {
            parts.join(": ").into()
        };
        Self {
            at,
            actor,
            reason,
            why,
        }
    }
}

impl Freeze {
    /// Why nothing starts or advances, if that is so.
    pub(crate) fn why(&self) -> Option<Arc<str>> {
        let frozen = self.0.load();
        frozen.as_ref().map(|frozen| Arc::clone(&frozen.why))
    }

    /// Who has frozen rollouts, when and why.
    pub(crate) fn get(&self) -> Option<Arc<Frozen>> {
        self.0.load_full()
    }

    /// Begins as the process before has left it.
    pub(crate) fn restore(&self, frozen: Option<Arc<Frozen>>) {
        self.0.store(frozen);
    }
}

impl Live {
    /// No rollout starts or advances from now on. True if that is new.
    pub(crate) fn freeze(&self, actor: Option<String>, reason: Option<String>) -> bool {
        if self.freeze.get().is_some() {
            return false;
        }
        let at = self.clock.now();
        let frozen = Frozen::new(at, actor.clone(), reason.clone());
        self.freeze.restore(Some(Arc::new(frozen)));
        self.tell(ProcessEventKind::Frozen { actor, reason });
        true
    }

    /// Rollouts start and advance again. True if that is new.
    pub(crate) fn unfreeze(&self, actor: Option<String>, reason: Option<String>) -> bool {
        if self.freeze.get().is_none() {
            return false;
        }
        self.freeze.restore(None);
        self.tell(ProcessEventKind::Unfrozen { actor, reason });
        true
    }

    /// Another process of the same releases has frozen them.
    pub(crate) fn follow_freeze(&self, frozen: Option<Arc<Frozen>>) {
        if self.freeze.get().is_none() && frozen.is_some() {
            self.freeze.restore(frozen);
        }
    }

    fn tell(&self, kind: ProcessEventKind) {
        let at = self.clock.now();
        self.events
            .push(Happening::Process(ProcessEvent { at, kind }));
        self.changed.notify_one();
    }
}
