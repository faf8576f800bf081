//! What gates do as time passes: put capital in, follow stable, and end blocks.

use super::super::baseline::Baseline;
use super::super::spec::LatencyMetric;
use super::super::verdict::Breach;
use super::{BLOCK, Check, FreshLatencies, HARD_BLOCK, LOOK_BACK, Panel, Stage, TICK};
use crate::tally::Tally;
use crate::time::Timestamp;

/// More ticks are not made up for when the clock has jumped.
const TICKS_MAX: u32 = 100_000;

impl Panel {
    /// Lets limits in time follow stable, and puts capital in. To be called before what is
    /// counted since is told.
    pub(crate) fn tick(&mut self, fresh: &mut FreshLatencies<'_>, tally: &Tally, now: Timestamp) {
        match &mut self.stage {
            Stage::Before { since, tick } => {
                if now < *tick {
                    return;
                }
                *tick = now.after(TICK);
                let forgets = now.since(*since) >= LOOK_BACK;
                self.degradation.learn(tally);
                for gate in &mut self.gates {
                    if let Check::BurnRate(burn) = &mut gate.check {
                        burn.see(tally, now);
                    }
                }
                self.take(fresh);
                if forgets {
                    self.forget();
                }
                self.settle();
            }
            Stage::Running(due) => {
                let mut ticks = 0;
                while now >= due.tick && ticks < TICKS_MAX {
                    due.tick = due.tick.after(TICK);
                    ticks += 1;
                }
                if now >= due.tick {
                    due.tick = now.after(TICK);
                }
                for _ in 0..ticks {
                    let mass = self.mass.on_tick();
                    self.release(mass);
                }
                if ticks > 0 {
                    self.take(fresh);
                    self.forget();
                    self.settle();
                    self.look_back(tally);
                } else if !self.is_settled() {
                    self.take(fresh);
                    self.settle();
                }
            }
        }
    }

    /// Takes what stable has done since the last tick. To be called before the rollout
    /// begins.
    pub(crate) fn take(&mut self, fresh: &mut FreshLatencies<'_>) {
        for metric in [LatencyMetric::Duration, LatencyMetric::Ttfb] {
            fresh(metric, &mut self.baselines[metric.index()]);
        }
    }

    fn forget(&mut self) {
        let factor = 0.5_f64.powf(TICK.as_secs_f64() / Baseline::HALF_LIFE_SECONDS);
        for baseline in &mut self.baselines {
            baseline.decay(factor);
        }
    }

    /// Gates that look at the last minutes.
    fn look_back(&mut self, tally: &Tally) {
        let beyond = |metric: LatencyMetric, start: &Tally| {
            let latencies = self.gates.iter().filter_map(|gate| gate.check.latency());
            let mut latencies = latencies.filter(|latency| latency.metric() == metric);
            latencies.next()?.beyond_all(&tally.since(start))
        };
        let seen: Vec<_> = self
            .gates
            .iter()
            .map(|gate| {
                if let Check::LatencySpike(metric, spike) = &gate.check {
                    beyond(*metric, &spike.tick_start)
                } else {
                    None
                }
            })
            .collect();
        for (gate, beyond) in self.gates.iter_mut().zip(seen) {
            if let Check::ErrorTrend(trend) = &mut gate.check {
                trend.tick(tally);
            } else if let Check::LatencySpike(_, spike) = &mut gate.check {
                spike.tick(tally, beyond);
            }
        }
    }

    /// Ends the blocks that are over and judges them.
    pub(crate) fn close(&mut self, tally: &Tally, now: Timestamp) -> Option<Breach> {
        self.last = (*tally, now);
        let Stage::Running(mut due) = self.stage else {
            return None;
        };
        if self.weight.is_zero() {
            return None;
        }
        for gate in &mut self.gates {
            if let Some(run) = gate.check.run_mut() {
                run.see_successes(tally);
            }
        }
        let mut breach = None;
        if now >= due.second {
            due.second = due.second.after(BLOCK).max(now);
            if self.close_second(tally, now) {
                breach = self.check(tally);
            }
        }
        if now >= due.block && self.close_latency(tally) {
            due.block = due.block.after(BLOCK).max(now);
            breach = breach.or_else(|| self.check(tally));
        }
        if now >= due.hard_block {
            due.hard_block = due.hard_block.after(HARD_BLOCK).max(now);
            if self.failures.close_hard(tally) {
                breach = breach.or_else(|| self.check(tally));
            }
        }
        self.stage = Stage::Running(due);
        if breach.is_none() && (self.awaits_stable || self.has_breach() || self.is_answered_badly())
        {
            breach = self.check_counted(tally).or_else(|| self.check(tally));
        }
        breach
    }

    fn is_answered_badly(&self) -> bool {
        let now = self.last.1;
        let mut outside = self.gates.iter().filter_map(|gate| gate.check.outside());
        outside.any(|outside| outside.is_exceeded(now))
    }

    fn has_breach(&self) -> bool {
        self.exposed.is_some() || self.gates.iter().any(|gate| gate.breach.is_some())
    }

    /// What is looked at once a second, with or without the canary in it. True if that
    /// may be evidence which nothing else asks about.
    fn close_second(&mut self, tally: &Tally, now: Timestamp) -> bool {
        let mut has_signals = false;
        let (weight, released) = (self.weight, self.mass.released());
        self.degradation.close(tally);
        self.alone
            .close(tally, || self.degradation.usual_rate_max());
        for gate in &mut self.gates {
            for ceiling in &mut gate.ceilings {
                ceiling.close(tally);
            }
            match &mut gate.check {
                Check::BurnRate(burn) => burn.see(tally, now),
                Check::ErrorRate {
                    no_worse: Some(no_worse),
                    ..
                } => no_worse.see(tally, &self.start, weight),
                Check::Signal(signal) => {
                    signal.close(weight, released);
                    has_signals = true;
                }
                Check::ConsecutiveFailures(_)
                | Check::ErrorRate { .. }
                | Check::ErrorTrend(_)
                | Check::Latency(_)
                | Check::LatencySpike(..)
                | Check::NewErrors
                | Check::Outside(_) => {}
            }
        }
        has_signals
    }

    /// Ends the block of all latency gates, if both versions are in it.
    fn close_latency(&mut self, tally: &Tally) -> bool {
        let released = self.mass.released();
        let latencies = self.gates.iter_mut();
        let latencies = latencies.filter_map(|gate| gate.check.latency_mut());
        let mut closed = false;
        let pending = self.pending;
        for latency in latencies {
            if latency.can_close(tally) {
                latency.close(pending, released, tally);
                closed = true;
            }
        }
        if closed {
            self.pending = 0.0;
        }
        closed
    }
}
