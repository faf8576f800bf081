//! What of a panel outlives the process.

use super::gate::{Check, Gate};
use super::{Due, Panel, Stage};
use crate::gate::signal::Signal;
use crate::gate::tape::{Kept, Tape, kept};
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

impl Panel {
    /// What was counted when it was asked last.
    pub(crate) const fn counted(&self) -> &Tally {
        &self.last.0
    }

    /// The canary's share.
    pub(crate) const fn weight(&self) -> Weight {
        self.weight
    }

    /// What was reported from outside, of all signals together.
    pub(crate) fn signalled(&self) -> u64 {
        let signals = self.gates.iter().filter_map(|gate| gate.check.signal());
        signals.map(Signal::reported).sum()
    }
}

/// What failed or was refused is judged again by what comes next.
impl Kept for Panel {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            gates,
            promise: _,
            manner: _,
            shares: _,
            mass,
            stage,
            weight,
            failures,
            classes,
            alone,
            degradation,
            baselines,
            pending,
            stalled_after,
            awaits_stable,
            exposed: _,
            start,
            begun_at,
            last,
        } = self;
        weight.pass(tape);
        mass.pass(tape);
        stage.pass(tape);
        failures.pass(tape);
        classes.pass(tape);
        alone.pass(tape);
        degradation.pass(tape);
        baselines.pass(tape);
        pending.pass(tape);
        stalled_after.pass(tape);
        awaits_stable.pass(tape);
        start.pass(tape);
        begun_at.pass(tape);
        last.pass(tape);
        for gate in gates {
            gate.pass(tape);
            if let Some(latency) = gate.check.latency_mut() {
                latency.go_on_with(weight.as_ratio());
            }
        }
    }
}

impl Kept for Stage {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut is_running = matches!(self, Self::Running(_));
        is_running.pass(tape);
        let (mut since, mut due) = match *self {
            Self::Before { since, tick } => (since, Due::all_at(tick)),
            Self::Running(due) => (due.tick, due),
        };
        if is_running {
            due.pass(tape);
            *self = Self::Running(due);
        } else {
            since.pass(tape);
            due.tick.pass(tape);
            *self = Self::Before {
                since,
                tick: due.tick,
            };
        }
    }
}

impl Due {
    const fn all_at(time: Timestamp) -> Self {
        Self {
            tick: time,
            block: time,
            hard_block: time,
            second: time,
        }
    }
}

kept!(Due {
    tick,
    block,
    hard_block,
    second,
});
kept!(Gate {
    check,
    ceilings,
    example,
} without { name, breach });

impl Kept for Check {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        match self {
            Self::BurnRate(burn) => burn.pass(tape),
            Self::ConsecutiveFailures(run) => run.pass(tape),
            Self::ErrorRate { no_worse, .. } => tape.present(no_worse),
            Self::ErrorTrend(trend) => trend.pass(tape),
            Self::Latency(latency) => latency.pass(tape),
            Self::LatencySpike(_, spike) => spike.pass(tape),
            // What is outside is asked anew, and soon.
            Self::NewErrors | Self::Outside(_) => {}
            Self::Signal(signal) => signal.pass(tape),
        }
    }
}
