//! One gate of a panel.

use super::super::advance::NoWorse;
use super::super::burn::BurnRate;
use super::super::latency::Latency;
use super::super::limit::ConsecutiveFailures;
use super::super::outside::Outside;
use super::super::recent::{Spike, Trend};
use super::super::signal::Signal;
use super::super::spec::{GateName, GateRule, LatencyMetric, RateLimit};
use super::super::verdict::Breach;
use super::ceiling::{Ceiling, CeilingKind};
use super::shares::Shares;
use crate::outcome::RequestId;
use crate::tally::Tally;
use crate::time::Timestamp;
use crate::weight::Weight;

/// A gate, and what it said last.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) name: GateName,
    pub(super) check: Check,
    pub(super) ceilings: Vec<Ceiling>,
    /// A request of the canary that counted against it.
    pub(super) example: Option<RequestId>,
    /// What it would roll back for.
    pub(super) breach: Option<Breach>,
}

#[derive(Clone, Debug)]
pub(super) enum Check {
    BurnRate(BurnRate),
    ConsecutiveFailures(ConsecutiveFailures),
    /// Its evidence is that of the panel.
    ErrorRate {
        limits: Vec<RateLimit>,
        no_worse: Option<Box<NoWorse>>,
    },
    ErrorTrend(Trend),
    Latency(Box<Latency>),
    LatencySpike(LatencyMetric, Box<Spike>),
    /// Its evidence is that of the panel.
    NewErrors,
    Outside(Box<Outside>),
    Signal(Box<Signal>),
}

impl Gate {
    /// The most evidence that the canary is above a limit of this kind.
    pub(super) fn above(&self, kind: CeilingKind) -> f64 {
        let evidence = self.ceilings.iter().map(|one| one.evidence(kind));
        evidence.fold(0.0, f64::max)
    }
}

impl Check {
    /// A check that has seen nothing before `tally`, counts in this ladder, and has its
    /// limits in the slots from there on.
    pub(super) fn new(
        rule: &GateRule,
        (shares, tally, now): (&Shares, &Tally, Timestamp),
        (ladder, first_slot): (usize, usize),
    ) -> Self {
        match rule {
            GateRule::BurnRate { objective } => {
                Self::BurnRate(BurnRate::new(*objective, tally, now))
            }
            GateRule::ConsecutiveFailures { limit } => {
                Self::ConsecutiveFailures(ConsecutiveFailures::new(*limit, tally))
            }
            GateRule::ErrorRate { rollback, advance } => Self::ErrorRate {
                limits: rollback.clone(),
                no_worse: advance.map(|margin| Box::new(NoWorse::new(margin))),
            },
            GateRule::ErrorTrend => Self::ErrorTrend(Trend::new(tally)),
            GateRule::Latency {
                metric,
                rollback,
                advance,
            } => Self::Latency(Box::new(Latency::new(
                *metric,
                (rollback, advance),
                (ladder, first_slot),
                shares.latency,
            ))),
            GateRule::LatencySpike { metric } => {
                Self::LatencySpike(*metric, Box::new(Spike::new(tally)))
            }
            GateRule::NewErrors => Self::NewErrors,
            GateRule::Outside {
                rollback,
                advance,
                interval,
            } => {
                let limits = (*rollback, *advance);
                Self::Outside(Box::new(Outside::new(limits, *interval, now)))
            }
            GateRule::Signal {
                signal,
                rollback,
                advance,
            } => {
                let limits = (*rollback, *advance);
                Self::Signal(Box::new(Signal::new(signal.clone(), limits, shares.signal)))
            }
        }
    }

    pub(super) fn latency(&self) -> Option<&Latency> {
        if let Self::Latency(latency) = self {
            Some(latency)
        } else {
            None
        }
    }

    pub(super) fn latency_mut(&mut self) -> Option<&mut Latency> {
        if let Self::Latency(latency) = self {
            Some(latency)
        } else {
            None
        }
    }

    pub(super) fn signal(&self) -> Option<&Signal> {
        if let Self::Signal(signal) = self {
            Some(signal)
        } else {
            None
        }
    }

    pub(super) fn signal_mut(&mut self) -> Option<&mut Signal> {
        if let Self::Signal(signal) = self {
            Some(signal)
        } else {
            None
        }
    }

    pub(super) fn outside(&self) -> Option<&Outside> {
        if let Self::Outside(outside) = self {
            Some(outside)
        } else {
            None
        }
    }

    pub(super) fn outside_mut(&mut self) -> Option<&mut Outside> {
        if let Self::Outside(outside) = self {
            Some(outside)
        } else {
            None
        }
    }

    pub(super) fn run_mut(&mut self) -> Option<&mut ConsecutiveFailures> {
        if let Self::ConsecutiveFailures(run) = self {
            Some(run)
        } else {
            None
        }
    }

    /// The rollout begins; what `tally` counts already is no evidence.
    pub(super) fn begin(&mut self, tally: &Tally) {
        match self {
            Self::ErrorTrend(trend) => *trend = Trend::new(tally),
            Self::Latency(latency) => latency.begin(tally),
            Self::LatencySpike(_, spike) => **spike = Spike::new(tally),
            Self::BurnRate(_)
            | Self::ConsecutiveFailures(_)
            | Self::ErrorRate { .. }
            | Self::NewErrors
            | Self::Outside(_)
            | Self::Signal(_) => {}
        }
    }

    /// A step begins: whether the canary is no worse has to be shown anew.
    pub(super) fn set_weight(&mut self, weight: Weight, tally: &Tally) {
        match self {
            Self::ErrorRate {
                no_worse: Some(no_worse),
                ..
            } => no_worse.restart(tally),
            Self::Latency(latency) => {
                latency.set_share(weight.as_ratio(), tally);
                latency.begin_step();
            }
            Self::Signal(signal) => signal.begin_step(),
            Self::BurnRate(_)
            | Self::ConsecutiveFailures(_)
            | Self::ErrorRate { .. }
            | Self::ErrorTrend(_)
            | Self::LatencySpike(..)
            | Self::NewErrors
            | Self::Outside(_) => {}
        }
    }
}
