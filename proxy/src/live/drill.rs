//! What the fire drill of a route's gates has shown.

use haldane_decide::drill::{Drill, Fault};
use haldane_decide::release::ReleaseSpec;
use serde::Serialize;

use super::{Live, Route, spec_of};
use crate::clock::Clock;

/// How a drill went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DrillReport {
    /// For which generation.
    pub(crate) generation: u32,
    /// Whether the gates have stopped the canary that only failed; absent if none of them is
    /// about what a drill can show.
    pub(crate) tripped: Option<bool>,
    /// How often it had failed then.
    pub(crate) faults: u64,
    /// From the last failure to the decision. Seconds.
    pub(crate) seconds: Option<f64>,
    /// The same in words.
    pub(crate) sentence: String,
}

impl DrillReport {
    /// Whether a canary may have traffic after this.
    pub(crate) fn is_good(&self) -> bool {
        self.tripped != Some(false)
    }
}

/// Tries the gates of a spec. Takes up to some hundred milliseconds if they do not trip.
pub(crate) fn drill(spec: &ReleaseSpec, generation: u32, clock: Clock) -> DrillReport {
    let Some(mut drill) = Drill::new(spec) else {
        return DrillReport {
            generation,
            tripped: None,
            faults: 0,
            seconds: None,
            sentence: "no gate is about what a drill can show".to_owned(),
        };
    };
    let what = match drill.fault() {
        Fault::Errors => "failures",
        Fault::Slowness => "slow requests",
    };
    while !drill.has_failed() {
        drill.answer();
        let began = clock.micros();
        let gate = drill
            .fail()
            .map(|decision| decision.breach.gate.to_string());
        let took = clock.micros().saturating_sub(began);
        if let Some(gate) = gate {
            let faults = drill.faults();
            return DrillReport {
                generation,
                tripped: Some(true),
                faults,
                seconds: Some(std::time::Duration::from_micros(took).as_secs_f64()),
                sentence: format!("{gate} tripped after {faults} {what}, {took} µs after the last"),
            };
        }
    }
    let faults = drill.faults();
    DrillReport {
        generation,
        tripped: Some(false),
        faults,
        seconds: None,
        sentence: format!("the gates let {faults} {what} in a row pass"),
    }
}

impl Route {
    /// Tries its gates, and keeps how that went.
    pub(crate) fn try_gates(&self, generation: u32, live: &Live) -> DrillReport {
        let report = drill(&spec_of(&self.config), generation, live.clock);
        self.lock().drill = Some(report.clone());
        report
    }

    /// How its gates were tried last.
    pub(crate) fn drill(&self) -> Option<DrillReport> {
        self.lock().drill.clone()
    }
}
