//! Forecasts against what simulations of the gates have shown.

use super::latency::LatencyGate;
use super::shape::Slowdown;
use super::*;
use crate::gate::spec::{RateBound, RateLimit, RateMargin, default_gates};

fn weight(text: &str) -> Weight {
    text.parse().unwrap()
}

fn setting(share: &str, rate: f64, requests_per_second: f64) -> Setting {
    Setting {
        traffic: Traffic {
            failure_rate: rate,
            requests_per_second,
            ..Traffic::default()
        },
        promise: Promise::default(),
        shares: Shares::of(&default_gates()),
        weight: weight(share),
        mass: 0.5,
    }
}

fn errors() -> Vec<GateSpec> {
    vec![default_gates().swap_remove(0)]
}

/// That a forecast and a simulation differ by a factor of at most `by`.
fn assert_near(found: f64, simulated: f64, by: f64, what: &str) {
    let factor = found / simulated;
    assert!(
        (1.0 / by..=by).contains(&factor),
        "{what}: {found:.1} and not {simulated}, {factor:.2} times"
    );
}

#[test]
fn failures_are_found_as_fast_as_in_simulations() {
    for (share, rate, bad, simulated) in [
        ("5%", 0.001, 0.01, 848.0),
        ("5%", 0.001, 0.05, 99.0),
        ("5%", 0.001, 0.5, 8.4),
        ("5%", 0.0, 1.0, 4.0),
        ("1%", 0.001, 0.01, 787.0),
        ("1%", 0.001, 0.05, 81.0),
        ("1%", 0.001, 0.5, 6.0),
        ("25%", 0.001, 0.01, 1229.0),
        ("25%", 0.001, 0.05, 156.0),
        ("25%", 0.001, 1.0, 7.0),
        ("50%", 0.001, 0.01, 2209.0),
        ("50%", 0.001, 0.5, 28.0),
        ("50%", 0.001, 1.0, 14.1),
        ("75%", 0.001, 0.01, 4898.0),
        ("75%", 0.001, 1.0, 32.1),
        ("90%", 0.001, 0.01, 12_594.0),
        ("90%", 0.001, 0.05, 1851.0),
        ("90%", 0.001, 1.0, 86.0),
    ] {
        let setting = setting(share, rate, 1000.0);
        let gates = errors();
        let found = FailureGates::new(&gates, &setting).find(bad).unwrap();
        let requests = found.seconds * setting.canary_per_second();
        assert_near(
            requests,
            simulated,
            1.3,
            &format!("{share} {rate} -> {bad}"),
        );
        assert_eq!(found.ending, Ending::RolledBack);
    }
}

#[test]
fn a_late_fault_takes_as_much_more_as_in_simulations() {
    for (bad, simulated) in [(0.01, 1433.0), (0.05, 162.0), (0.5, 12.5)] {
        let setting = Setting {
            // What is put in with three ticks of 2000.
            mass: 3.0 * 0.25 / 2000.0,
            ..setting("5%", 0.001, 1000.0)
        };
        let gates = errors();
        let found = FailureGates::new(&gates, &setting).find(bad).unwrap();
        let requests = found.seconds * setting.canary_per_second();
        assert_near(requests, simulated, 1.3, &format!("{bad}"));
    }
}

#[test]
fn slowness_is_found_as_fast_as_in_simulations() {
    let gates = default_gates();
    for (times, slowest, requests_per_second, simulated, by) in [
        (1.2, 1.0, 1000.0, 4484.0, 1.5),
        (1.2, 1.0, 100.0, 1990.0, 1.5),
        (1.2, 1.0, 10.0, 2901.0, 2.0),
        (2.0, 1.0, 1000.0, 451.0, 1.5),
        (2.0, 1.0, 100.0, 110.0, 1.5),
        (2.0, 1.0, 10.0, 92.0, 1.5),
        (2.0, 0.03, 1000.0, 1107.0, 1.5),
        (2.0, 0.03, 100.0, 982.0, 1.5),
        (2.0, 0.03, 10.0, 1152.0, 1.5),
        (4.0, 0.02, 1000.0, 520.0, 1.5),
        (4.0, 0.02, 100.0, 402.0, 1.5),
        (4.0, 0.02, 10.0, 442.0, 1.5),
    ] {
        let setting = setting("5%", 0.001, requests_per_second);
        let gate = LatencyGate::new(&gates[1], 0, &setting);
        let seconds = gate.seconds_until_seen(Slowdown { times, slowest });
        let requests = seconds * setting.canary_per_second();
        let what = format!("{times} times for {slowest} at {requests_per_second}");
        assert_near(requests, simulated, by, &what);
    }
}

#[test]
fn being_no_slower_is_shown_as_fast_as_in_simulations() {
    let gates = default_gates();
    for (quantile, times, simulated) in [
        (0.5, 1.05, [11_115.0, 4490.0, 4176.0]),
        (0.95, 1.1, [18_050.0, 2799.0, 2339.0]),
        (0.99, 1.2, [10_031.0, 4328.0, 3528.0]),
    ] {
        for (requests_per_second, simulated) in [1000.0, 100.0, 10.0].into_iter().zip(simulated) {
            let setting = setting("5%", 0.001, requests_per_second);
            let gate = LatencyGate::new(&gates[1], 0, &setting);
            let quantile = Quantile::from_ratio(quantile).unwrap();
            let requests = gate.seconds_to_show(quantile, times) * setting.canary_per_second();
            let what = format!("{quantile} at {requests_per_second}");
            assert_near(requests, simulated, 1.5, &what);
        }
    }
}

#[test]
fn being_no_worse_is_shown_as_fast_as_in_simulations() {
    for (rate, margin, simulated) in [
        (0.0001, 0.0001, 86_294.0),
        (0.0001, 0.0002, 27_248.0),
        (0.0001, 0.0004, 11_524.0),
        (0.0001, 0.001, 3085.0),
        (0.0001, 0.002, 1536.0),
        (0.0001, 0.005, 628.0),
        (0.001, 0.0001, 595_333.0),
        (0.001, 0.0002, 155_299.0),
        (0.001, 0.0004, 42_593.0),
        (0.001, 0.001, 8972.0),
        (0.001, 0.002, 2666.0),
        (0.001, 0.005, 650.0),
        (0.01, 0.0004, 310_466.0),
        (0.01, 0.001, 56_994.0),
        (0.01, 0.002, 16_838.0),
        (0.01, 0.005, 2920.0),
    ] {
        let gates = vec![GateSpec {
            name: "errors".into(),
            rule: GateRule::ErrorRate {
                rollback: vec![RateLimit {
                    bound: RateBound::AboveStable(0.001),
                    hard: false,
                }],
                advance: Some(RateMargin::AboveStable(margin)),
            },
        }];
        let setting = setting("5%", rate, 1000.0);
        let shown = FailureGates::new(&gates, &setting).shown(weight("5%"));
        assert_near(
            shown[0].canary_requests,
            simulated,
            1.3,
            &format!("{rate} {margin}"),
        );
    }
}

fn steps(texts: &[&str]) -> Vec<Step> {
    let step = |text: &&str| Step::at(weight(text));
    texts.iter().map(step).collect()
}

#[test]
fn the_steps_of_a_plan_last_until_their_requests_have_come() {
    let step = |text: &str, seconds, requests| crate::plan::Step {
        weight: weight(text),
        hold: Hold::For {
            time: Duration::from_secs(seconds),
            requests,
        },
    };
    let until = crate::plan::Step {
        weight: weight("50%"),
        hold: Hold::UntilPromoted,
    };
    let steps = vec![
        step("1%", 60, 0),
        step("5%", 60, 500),
        step("10%", 1, 500),
        until,
        crate::plan::Step::FULL,
    ];
    let plan = Plan::new(steps, crate::plan::Terms::default()).unwrap();
    let traffic = Traffic {
        requests_per_second: 100.0,
        ..Traffic::default()
    };
    let steps = Step::of_plan(&plan, &traffic);
    let held: Vec<_> = steps.iter().map(|step| step.hold).collect();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(held, [seconds(60), seconds(100), seconds(50), None, None]);
    assert_eq!(steps[0].longest(), seconds(60 + 4 * 3600));
    let silent = Traffic {
        requests_per_second: 0.0,
        ..traffic
    };
    assert_eq!(
        Step::of_plan(&plan, &silent)[1].longest(),
        Some(Duration::MAX)
    );
    // A margin for the service as a whole is about the weight that comes next.
    let forecast = forecast(&default_gates(), &Promise::default(), &steps, &traffic);
    let alone = super::forecast(
        &default_gates(),
        &Promise::default(),
        &steps[1..2],
        &traffic,
    );
    let margin = |step: &StepForecast| {
        let errors = step.shown.iter().find(|one| one.quantile.is_none());
        errors.unwrap().margin
    };
    assert!(margin(&forecast.steps[1]) < margin(&alone.steps[0]));
}

#[test]
fn every_limit_and_every_margin_has_a_line_in_every_step() {
    let steps = steps(&["1%", "5%", "25%", "50%"]);
    let forecast = forecast(
        &default_gates(),
        &Promise::default(),
        &steps,
        &Traffic::default(),
    );
    assert!((forecast.false_rollback - 0.001).abs() < 1e-12);
    assert!(forecast.by_chance < 1e-20, "{}", forecast.by_chance);
    assert_eq!(forecast.steps.len(), 4);
    for step in &forecast.steps {
        assert_eq!(step.detections.len(), 7, "{step:?}");
        assert_eq!(step.shown.len(), 4, "{step:?}");
        let all = step.detections.iter();
        assert!(all.clone().all(|one| one.ending == Ending::RolledBack));
        assert!(all.clone().all(|one| one.seconds.is_finite()), "{step:?}");
        let always = all.clone().find(|one| one.fault == Fault::FailingAlways);
        assert!(always.unwrap().canary_requests <= 16.0, "{step:?}");
        // What is shown is shown for the weight that comes next.
        let margin = step.shown[0].margin;
        let next = steps.get(steps.iter().position(|one| *one == step.step).unwrap() + 1);
        let next = next.map_or(0.5, |next| next.weight.as_ratio());
        assert!((margin - 0.0001 / next).abs() < 1e-9, "{margin}");
    }
}

#[test]
fn a_difference_below_the_limit_holds_and_does_not_roll_back() {
    let gates = errors();
    let setting = setting("5%", 0.0004, 1000.0);
    let found = FailureGates::new(&gates, &setting).find(0.0008).unwrap();
    assert_eq!(found.ending, Ending::Held);
    let found = FailureGates::new(&gates, &setting).find(0.002).unwrap();
    assert_eq!(found.ending, Ending::RolledBack);
}

#[test]
fn a_budget_and_a_run_act_where_they_are_faster() {
    let traffic = Traffic::default();
    let step = steps(&["90%"]);
    let always = |gates: &[GateSpec], promise: &Promise| {
        let forecast = forecast(gates, promise, &step, &traffic);
        let mut found = forecast.steps[0].detections.iter();
        found
            .find(|one| one.fault == Fault::FailingAlways)
            .unwrap()
            .clone()
    };
    // Ten failures in a row come long before 86.
    let found = always(&default_gates(), &Promise::default());
    assert_eq!(found.gate.as_deref(), Some("meltdown"));
    assert!((found.canary_requests - 10.0).abs() < 1e-9);
    let mut promise = Promise::default();
    promise.exposure.failed_requests = Some(4);
    let found = always(&errors(), &promise);
    assert!((found.canary_requests - 5.0).abs() < 0.1, "{found:?}");
}

#[test]
fn without_anything_to_compare_nothing_is_promised() {
    for share in ["0%", "100%"] {
        let forecast = forecast(
            &default_gates()[1..2],
            &Promise::default(),
            &steps(&[share]),
            &Traffic::default(),
        );
        let step = &forecast.steps[0];
        assert!(
            step.detections
                .iter()
                .all(|one| one.ending == Ending::Unseen)
        );
        assert!(step.shown.iter().all(|one| one.seconds.is_infinite()));
    }
    // Alone, the canary is compared with what stable used to do.
    let forecast = forecast(
        &errors(),
        &Promise::default(),
        &steps(&["50%", "100%"]),
        &Traffic::default(),
    );
    let alone = &forecast.steps[1].detections;
    assert!(
        alone
            .iter()
            .all(|one| one.seconds < 600.0 || one.ending == Ending::Unseen)
    );
    assert_eq!(alone.last().unwrap().ending, Ending::RolledBack);
}

#[test]
fn no_traffic_and_extreme_numbers_give_numbers_or_never() {
    for (requests_per_second, failure_rate) in
        [(0.001, 0.0), (1e6, 0.5), (10.0, 1.0), (1000.0, 1e-7)]
    {
        let traffic = Traffic {
            requests_per_second,
            failure_rate,
            ..Traffic::default()
        };
        let steps = steps(&["0.0001%", "5%", "99.9999%", "100%"]);
        let forecast = forecast(&default_gates(), &Promise::default(), &steps, &traffic);
        for step in &forecast.steps {
            for one in &step.detections {
                assert!(
                    one.seconds > 0.0 && !one.users.is_nan(),
                    "{traffic:?}: {one:?}"
                );
            }
            for one in &step.shown {
                assert!(one.seconds > 0.0, "{traffic:?}: {one:?}");
            }
        }
    }
}
