//! Whether rollouts may start and advance: one switch for the whole process.

use std::sync::Arc;

use arc_swap::ArcSwap;
use haldane_decide::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Live;
use super::events::{Happening, ProcessEvent, ProcessEventKind};

/// The switch.
#[derive(Default)]
pub(crate) struct Freeze(ArcSwap<Position>);

/// Where the switch is. Processes of the same releases tell each other, and files tell of
/// processes that have ended: what one hears may be older than what it has done itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Position {
    /// Who has frozen rollouts, if somebody has.
    #[serde(default)]
    pub(crate) frozen: Option<Arc<Frozen>>,
    /// How often the switch was turned until then, in whatever process: the position after
    /// more turns is the later one.
    #[serde(default, rename = "freeze_turns")]
    pub(crate) turns: u64,
}

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

impl Position {
    /// The switch is turned.
    fn then(&self, frozen: Option<Arc<Frozen>>) -> Self {
        let turns = self.turns.saturating_add(1);
        Self { frozen, turns }
    }

    /// Whether this is to be followed where the switch is in the position `ours`. Where two
    /// have turned it at the same time, it is frozen.
    fn is_later_than(&self, ours: &Self) -> bool {
        let rank = |position: &Self| (position.turns, position.frozen.is_some());
        rank(self) > rank(ours)
    }
}

impl Freeze {
    /// Why nothing starts or advances, if that is so.
    pub(crate) fn why(&self) -> Option<Arc<str>> {
        let position = self.0.load();
        let frozen = position.frozen.as_ref();
        frozen.map(|frozen| Arc::clone(&frozen.why))
    }

    /// Who has frozen rollouts, when and why.
    pub(crate) fn get(&self) -> Option<Arc<Frozen>> {
        self.0.load().frozen.clone()
    }

    /// Where the switch is.
    pub(crate) fn position(&self) -> Arc<Position> {
        self.0.load_full()
    }

    /// Begins as the process before has left it.
    pub(crate) fn at(position: Arc<Position>) -> Self {
        Self(ArcSwap::new(position))
    }

    /// Another process has, or had, the switch there.
    fn follow(&self, theirs: Position) {
        let theirs = Arc::new(theirs);
        self.0.rcu(|ours| {
            let is_later = theirs.is_later_than(ours);
            Arc::clone(if is_later { &theirs } else { ours })
        });
    }

    /// Turns the switch, unless it is there. True if it was turned.
    fn turn(&self, frozen: Option<&Arc<Frozen>>) -> bool {
        let is_new = |ours: &Position| ours.frozen.is_some() != frozen.is_some();
        let before = self.0.rcu(|ours| {
            if is_new(ours) {
                Arc::new(ours.then(frozen.cloned()))
            } else {
                Arc::clone(ours)
            }
        });
        is_new(&before)
    }
}

impl Live {
    /// No rollout starts or advances from now on. True if that is new.
    pub(crate) fn freeze(&self, actor: Option<String>, reason: Option<String>) -> bool {
        let at = self.clock.now();
        let frozen = Frozen::new(at, actor.clone(), reason.clone());
        let is_new = self.freeze.turn(Some(&Arc::new(frozen)));
        if is_new {
            self.tell(ProcessEventKind::Frozen { actor, reason });
        }
        is_new
    }

    /// Rollouts start and advance again. True if that is new.
    pub(crate) fn unfreeze(&self, actor: Option<String>, reason: Option<String>) -> bool {
        let is_new = self.freeze.turn(None);
        if is_new {
            self.tell(ProcessEventKind::Unfrozen { actor, reason });
        }
        is_new
    }

    /// Another process of the same releases has, or had, the switch there.
    pub(crate) fn follow_freeze(&self, theirs: Position) {
        self.freeze.follow(theirs);
    }

    fn tell(&self, kind: ProcessEventKind) {
        let at = self.clock.now();
        self.events
            .push(Happening::Process(ProcessEvent { at, kind }));
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frozen() -> Arc<Frozen> {
        Arc::new(Frozen::new(Timestamp::from_micros(1), None, None))
    }

    fn merged(ours: &Position, theirs: &Position) -> Position {
        let switch = Freeze::at(Arc::new(ours.clone()));
        switch.follow(theirs.clone());
        Position::clone(&switch.position())
    }

    #[test]
    fn what_was_done_since_is_not_taken_back() {
        let before = Position::default();
        let on = before.then(Some(frozen()));
        let off = on.then(None);
        let again = off.then(Some(frozen()));
        let row = [before, on, off, again];
        for (index, earlier) in row.iter().enumerate() {
            for later in &row[index..] {
                assert_eq!(merged(earlier, later), *later);
                assert_eq!(merged(later, earlier), *later);
            }
        }
    }

    #[test]
    fn where_two_disagree_it_is_frozen() {
        let start = Position::default().then(Some(frozen()));
        let (off, other) = (start.then(None), start.then(Some(frozen())));
        assert_eq!(merged(&off, &other), other);
        assert_eq!(merged(&other, &off), other);
    }

    #[test]
    fn it_is_turned_once() {
        let switch = Freeze::default();
        assert!(!switch.turn(None));
        assert!(switch.turn(Some(&frozen())));
        assert!(!switch.turn(Some(&frozen())));
        assert!(switch.turn(None));
        assert_eq!(switch.position().turns, 2);
    }

    proptest! {
        #[test]
        fn in_whatever_order_they_hear_of_each_other_they_agree(
            turns in prop::collection::vec((0..3_u64, any::<bool>()), 1..6),
            seed in any::<u64>(),
        ) {
            let positions: Vec<Position> = turns
                .iter()
                .map(|&(turns, is_frozen)| Position { turns, frozen: is_frozen.then(frozen) })
                .collect();
            let one = positions.iter().fold(Position::default(), |a, b| merged(&a, b));
            let mut others = positions;
            let from = seed as usize % others.len();
            others.rotate_left(from);
            others.reverse();
            let other = others.iter().fold(Position::default(), |a, b| merged(&a, b));
            prop_assert_eq!(one, other);
        }
    }
}
