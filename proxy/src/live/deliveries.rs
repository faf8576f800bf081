//! How the rollouts of a route have ended, and how long they took.

use std::time::Duration;

use haldane_decide::generation::Generation;
use haldane_decide::release::Release;
use haldane_decide::rollout::{Notice, NoticeKind, Phase, PhaseName};
use haldane_decide::time::Timestamp;

use super::Route;
use super::keeping::Entry;

/// Upper bounds for rollouts in seconds: a minute to four weeks.
pub(crate) const ROLLOUT_BOUNDS: [f64; 14] = [
    60.0,
    300.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    14_400.0,
    43_200.0,
    86_400.0,
    172_800.0,
    432_000.0,
    604_800.0,
    1_209_600.0,
    2_419_200.0,
];

/// How a generation ends. One that another canary replaces has neither ending.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    Completed,
    RolledBack,
}

/// How the generations of a route have ended since the process started.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    course: Course,
    by_ending: [Lengths; 2],
}

/// How many ended in one way, and how long they took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lengths {
    /// How many ended, those included that never had traffic.
    pub(crate) ended: u64,
    /// Seconds from the first traffic to the end, in total.
    pub(crate) sum: f64,
    /// By bound, those above the last at the end.
    pub(crate) counts: [u64; ROLLOUT_BOUNDS.len() + 1],
}

/// The generation that is under way, or was last.
#[derive(Clone, Copy, Debug)]
struct Course {
    generation: Generation,
    /// When it had its first traffic.
    began: Option<Timestamp>,
    /// It has ended: what comes later is another command, not another end.
    is_over: bool,
}

impl Ending {
    pub(crate) const ALL: [Self; 2] = [Self::Completed, Self::RolledBack];

    /// The word in labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl Deliveries {
    /// Nothing has ended; the release stands where it does.
    pub(super) fn new(release: &Release, now: Timestamp) -> Self {
        let is_over = match release.phase().name() {
            PhaseName::Complete | PhaseName::RolledBack => true,
            PhaseName::Idle | PhaseName::Paused | PhaseName::Progressing | PhaseName::Promoted => {
                false
            }
        };
        Self {
            course: Course {
                generation: release.generation(),
                began: (!release.weight().is_zero()).then_some(now),
                is_over,
            },
            by_ending: Default::default(),
        }
    }

    /// The same generation began then, in an earlier process.
    pub(super) fn go_on_since(&mut self, generation: Generation, began: Option<Timestamp>) {
        if generation == self.course.generation && began.is_some() {
            self.course.began = began;
        }
    }

    /// When the generation had its first traffic.
    pub(super) const fn began(&self) -> Option<Timestamp> {
        self.course.began
    }

    /// Takes note of what has happened; the release stands now where that has left it.
    pub(super) fn note(&mut self, notice: &Notice, release: &Release) {
        if notice.generation != self.course.generation {
            self.course = Course {
                generation: notice.generation,
                began: None,
                is_over: false,
            };
        }
        match notice.kind {
            NoticeKind::Completed { .. } => self.end(Ending::Completed, notice.at),
            NoticeKind::RolledBack { .. } => self.end(Ending::RolledBack, notice.at),
            NoticeKind::Started { .. } => self.begin(notice.at),
            // By command, traffic comes without a start.
            _ if !release.weight().is_zero() => self.begin(notice.at),
            _ => {}
        }
    }

    /// How many generations ended so, and how long they took.
    pub(crate) const fn by(&self, ending: Ending) -> &Lengths {
        let [completed, rolled_back] = &self.by_ending;
        match ending {
            Ending::Completed => completed,
            Ending::RolledBack => rolled_back,
        }
    }

    fn begin(&mut self, at: Timestamp) {
        self.course.began.get_or_insert(at);
    }

    fn end(&mut self, ending: Ending, at: Timestamp) {
        if self.course.is_over {
            return;
        }
        self.course.is_over = true;
        let took = self.course.began.map(|began| at.since(began));
        let [completed, rolled_back] = &mut self.by_ending;
        match ending {
            Ending::Completed => completed.add(took),
            Ending::RolledBack => rolled_back.add(took),
        }
    }
}

impl Lengths {
    fn add(&mut self, took: Option<Duration>) {
        self.ended += 1;
        let Some(seconds) = took.map(|took| took.as_secs_f64()) else {
            return;
        };
        self.sum += seconds;
        let bucket = ROLLOUT_BOUNDS.iter().filter(|bound| seconds > **bound);
        if let Some(count) = self.counts.get_mut(bucket.count()) {
            *count += 1;
        }
    }
}

impl Route {
    /// How its generations have ended since the process started.
    pub(crate) fn deliveries(&self) -> Deliveries {
        self.lock().deliveries.clone()
    }

    /// Since when its rollout is complete, if it is.
    pub(crate) fn completed_at(&self) -> Option<Timestamp> {
        match self.lock().release.phase() {
            Phase::Complete { at } => Some(*at),
            Phase::Idle
            | Phase::Paused { .. }
            | Phase::Progressing { .. }
            | Phase::Promoted { .. }
            | Phase::RolledBack { .. } => None,
        }
    }

    /// The generation that was kept began when that says.
    pub(super) fn began_as_kept(&self, entry: &Entry) {
        let generation = entry.release.generation;
        self.lock().deliveries.go_on_since(generation, entry.began);
    }
}

#[cfg(test)]
mod tests {
    use haldane_decide::gate::spec::Promise;
    use haldane_decide::plan::{Plan, Terms};
    use haldane_decide::release::ReleaseSpec;
    use haldane_decide::rollout::{Command, Effect, Order, Promotion};
    use haldane_decide::tally::Tally;
    use haldane_decide::weight::Weight;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn release(weight: Weight) -> Release {
        let spec = ReleaseSpec {
            weight,
            plan: Plan::fixed(Terms::default()),
            has_preconditions: false,
            gates: Vec::new(),
            promise: Promise::default(),
        };
        Release::new(spec, &Tally::default(), at(0))
    }

    fn order(command: Command) -> Order {
        Order {
            command,
            actor: None,
            reason: None,
        }
    }

    fn tell(release: &mut Release, deliveries: &mut Deliveries, command: Command, seconds: u64) {
        let effects = release
            .command(order(command), &Tally::default(), at(seconds))
            .unwrap();
        for effect in effects {
            if let Effect::Announce(notice) = effect {
                deliveries.note(&notice, release);
            }
        }
    }

    #[test]
    fn a_generation_ends_once_and_counts_from_its_first_traffic() {
        let mut release = release(Weight::ZERO);
        let mut deliveries = Deliveries::new(&release, at(0));
        let weight = "5%".parse().unwrap();
        tell(
            &mut release,
            &mut deliveries,
            Command::SetWeight(weight),
            100,
        );
        let full = Command::Promote(Promotion::Full);
        tell(&mut release, &mut deliveries, full, 200);
        tell(&mut release, &mut deliveries, Command::Rollback, 500);
        tell(&mut release, &mut deliveries, Command::Rollback, 900);
        let rolled_back = deliveries.by(Ending::RolledBack);
        assert_eq!(rolled_back.ended, 1);
        assert!((rolled_back.sum - 400.0).abs() < 1e-9);
        assert_eq!(
            rolled_back.counts[2], 1,
            "five minutes to a quarter of an hour"
        );
        assert_eq!(deliveries.by(Ending::Completed).ended, 0);
    }

    #[test]
    fn a_retry_is_a_generation_of_its_own() {
        let mut release = release("5%".parse().unwrap());
        let mut deliveries = Deliveries::new(&release, at(0));
        tell(&mut release, &mut deliveries, Command::Rollback, 30);
        tell(&mut release, &mut deliveries, Command::Retry, 1000);
        assert_eq!(deliveries.began(), Some(at(1000)));
        tell(&mut release, &mut deliveries, Command::Rollback, 1060);
        let rolled_back = deliveries.by(Ending::RolledBack);
        assert_eq!((rolled_back.ended, rolled_back.counts[0]), (2, 2));
    }

    #[test]
    fn one_that_never_had_traffic_has_no_length() {
        let mut release = release(Weight::ZERO);
        let mut deliveries = Deliveries::new(&release, at(0));
        tell(&mut release, &mut deliveries, Command::Rollback, 30);
        let rolled_back = deliveries.by(Ending::RolledBack);
        assert_eq!(
            (rolled_back.ended, rolled_back.counts.iter().sum()),
            (1, 0_u64)
        );
    }

    #[test]
    fn what_an_earlier_process_began_goes_on() {
        let mut release = release("5%".parse().unwrap());
        let mut deliveries = Deliveries::new(&release, at(1000));
        deliveries.go_on_since(release.generation(), Some(at(10)));
        deliveries.go_on_since(release.generation().next(), Some(at(999)));
        tell(&mut release, &mut deliveries, Command::Rollback, 1010);
        assert!((deliveries.by(Ending::RolledBack).sum - 1000.0).abs() < 1e-9);
    }
}
