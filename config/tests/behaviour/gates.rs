//! Gates and what is promised: each form that is taken, and that all of it can be judged by.

use haldane_config::{Overrides, RouteConfig, Source, load};
use haldane_decide::feed::{Feed, Row};
use haldane_decide::gate::spec::{
    Exposure, GateRule, LatencyMetric, Promise, RateMargin, RunLimit, default_gates,
};
use haldane_decide::release::ReleaseSpec;
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;
use proptest::prelude::{ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::strategy::Strategy;

use super::diagnostics::{GOOD, ROUTE, lines};

fn source(rest: &str) -> Source {
    Source {
        name: "haldane.toml".to_owned(),
        text: format!("{GOOD}{ROUTE}{rest}\n"),
    }
}

fn route(rest: &str) -> RouteConfig {
    match load(Some(&source(rest)), &Overrides::default()) {
        Ok(mut loaded) => {
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            loaded.config.routes.remove(0)
        }
        Err(diagnostics) => panic!("{diagnostics}\n{rest}"),
    }
}

/// The rule of the only gate, with this metric and these lines.
fn rule(metric: &str, rest: &str) -> GateRule {
    let gate = format!("[[route.gate]]\nname = \"g\"\nmetric = \"{metric}\"\n{rest}");
    let mut gates = route(&gate).gates;
    assert_eq!((gates.len(), &*gates[0].name), (1, "g"));
    gates.remove(0).rule
}

#[test]
fn each_metric_has_its_rule() {
    assert_eq!(
        rule("consecutive_failures", "rollback = 10"),
        GateRule::ConsecutiveFailures {
            limit: RunLimit::Count(10)
        }
    );
    assert_eq!(
        rule("consecutive_failures", "rollback = \"auto\""),
        GateRule::ConsecutiveFailures {
            limit: RunLimit::Calibrated
        }
    );
    assert_eq!(rule("new_errors", ""), GateRule::NewErrors);
    assert_eq!(rule("error_trend", ""), GateRule::ErrorTrend);
    assert_eq!(
        rule("burn_rate", "objective = \"99.95%\""),
        GateRule::BurnRate { objective: 0.9995 }
    );
    for (rest, rollback, advance) in [
        ("rollback = \"stable - 5pp\"", Some(0.05), None),
        ("advance = \"stable - 1pp\"", None, Some(0.01)),
        (
            "rollback = \"stable - 1pp\"\nadvance = \"stable - 1pp\"",
            Some(0.01),
            Some(0.01),
        ),
    ] {
        let signal = "order_completed".into();
        let expected = GateRule::Signal {
            signal,
            rollback,
            advance,
        };
        assert_eq!(rule("signal:order_completed", rest), expected);
    }
}

#[test]
fn a_margin_for_failures_is_one_of_two() {
    for (rest, expected) in [
        ("", None),
        (
            "advance = \"service + 0.01pp\"",
            Some(RateMargin::Service(0.0001)),
        ),
        // Of the service, not of the canary: it cannot be compared with the limit.
        (
            "advance = \"service + 50pp\"",
            Some(RateMargin::Service(0.5)),
        ),
        (
            "advance = \"stable + 0.1pp\"",
            Some(RateMargin::AboveStable(0.001)),
        ),
    ] {
        let rest = format!("rollback = [\"stable + 0.1pp\", \"0.01%\", \"1.01x stable\"]\n{rest}");
        let GateRule::ErrorRate { rollback, advance } = rule("error_rate", &rest) else {
            panic!("{rest}")
        };
        assert_eq!((rollback.len(), advance), (3, expected), "{rest}");
    }
}

#[test]
fn a_margin_for_latency_is_for_one_quantile() {
    let rest = "rollback = { p50 = \"1.2x stable\", p90 = \"1ms\", p99 = \"2x stable\" }\nadvance = { p50 = \"1x stable\", p90 = \"900x stable\", \"p99.9\" = \"3x stable\", p99 = \"2x stable\" }";
    let GateRule::Latency {
        metric, advance, ..
    } = rule("duration", rest)
    else {
        panic!("{rest}")
    };
    assert_eq!(metric, LatencyMetric::Duration);
    let read: Vec<_> = advance
        .iter()
        .map(|margin| (margin.quantile.as_ratio(), margin.times))
        .collect();
    assert_eq!(read, [(0.5, 1.0), (0.9, 900.0), (0.999, 3.0), (0.99, 2.0)]);
}

#[test]
fn spikes_are_of_one_of_two_metrics() {
    for (of, expected) in [
        ("", LatencyMetric::Ttfb),
        ("of = \"ttfb\"", LatencyMetric::Ttfb),
        ("of = \"duration\"", LatencyMetric::Duration),
    ] {
        let gates = route(&format!(
            "[[route.gate]]\nname = \"s\"\nmetric = \"latency_spike\"\n{of}\n[[route.gate]]\nname = \"l\"\nmetric = \"{}\"\nrollback.p99 = \"2s\"",
            expected.as_str()
        ))
        .gates;
        let expected = GateRule::LatencySpike { metric: expected };
        assert_eq!(gates[0].rule, expected);
    }
}

#[test]
fn what_is_promised_may_be_chosen() {
    let default = Promise::default();
    for (rest, expected) in [
        ("", default),
        ("[route.rollout]", default),
        (
            "[route.rollout]\nfalse_rollback = \"20%\"\nfalse_advance = \"50%\"",
            Promise {
                false_rollback: 0.2,
                false_advance: 0.5,
                ..default
            },
        ),
        (
            "[route.rollout]\nfalse_rollback = \"0.0001%\"",
            Promise {
                false_rollback: 1e-6,
                ..default
            },
        ),
        ("[route.rollout]\nexposure = {}", default),
        (
            "[route.rollout]\nexposure = { failed_requests = 50, affected_users = 20 }",
            Promise {
                exposure: Exposure {
                    failed_requests: Some(50),
                    affected_users: Some(20),
                },
                ..default
            },
        ),
        (
            "[route.rollout.exposure]\naffected_users = 1",
            Promise {
                exposure: Exposure {
                    failed_requests: None,
                    affected_users: Some(1),
                },
                ..default
            },
        ),
    ] {
        let route = route(rest);
        assert_eq!(route.promise, expected, "{rest}");
        assert_eq!(route.gates, default_gates());
    }
}

/// At 100% nothing can be shown to be stable's doing as well, not even with a limit that
/// does not name it.
#[test]
fn gates_that_need_a_stable_say_so_at_100_percent() {
    for (metric, rest, needs_stable) in [
        ("error_rate", "rollback = \"1%\"", true),
        ("ttfb", "rollback.p99 = \"2s\"", true),
        ("new_errors", "", true),
        ("signal:a", "rollback = \"stable - 1pp\"", true),
        ("consecutive_failures", "rollback = \"auto\"", true),
        ("consecutive_failures", "rollback = 10", false),
        ("error_trend", "", false),
        ("burn_rate", "objective = \"99%\"", false),
    ] {
        let gate = format!("[[route.gate]]\nname = \"g\"\nmetric = \"{metric}\"\n{rest}");
        let found = lines(&format!("{GOOD}{ROUTE}weight = \"100%\"\n{gate}\n"));
        let warning = "warning: route.weight: at 100% the gate \"g\" has no stable";
        assert_eq!(
            found.len(),
            usize::from(needs_stable),
            "{metric}: {found:?}"
        );
        assert!(found.iter().all(|line| line.contains(warning)), "{found:?}");
    }
}

/// Some requests through everything that a route has.
fn judge(route: &RouteConfig) {
    let weight: Weight = "50%".parse().unwrap();
    let spec = ReleaseSpec {
        weight,
        gates: route.gates.clone(),
        promise: route.promise,
        ..ReleaseSpec::default()
    };
    let second = |second: u64| Timestamp::from_micros(second * 1_000_000);
    let mut feed = Feed::new(spec, second(200));
    for n in 0..600 {
        let row = Row {
            at: second(n),
            latency: 1000 * (1 + n % 7),
            role: Role::ALL[usize::from(n > 200 && n % 2 == 0)],
            status: if n % 5 == 0 { 500 } else { 200 },
            key: Some(n),
            weight: if n < 200 { Weight::ZERO } else { weight },
        };
        feed.row(&row);
    }
    let status = feed.status(second(600));
    assert_eq!(status.verdict.gates.len(), route.gates.len());
}

/// What is accepted at its extremes can be judged by.
#[test]
fn extremes_can_be_judged_by() {
    for rest in [
        "",
        "[route.rollout]\nfalse_rollback = \"0.0000000000001%\"\nfalse_advance = \"0.0000000000001%\"\nexposure = { failed_requests = 1000000000000, affected_users = 1000000000000 }",
        "[[route.gate]]\nname = \"g\"\nmetric = \"burn_rate\"\nobjective = \"99.9999999999999%\"",
        "[[route.gate]]\nname = \"g\"\nmetric = \"burn_rate\"\nobjective = \"0.0000000000001%\"",
        "[[route.gate]]\nname = \"g\"\nmetric = \"signal:a\"\nadvance = \"stable - 0.0000000000001pp\"\nrollback = \"stable - 99.9999999999999pp\"",
        "[[route.gate]]\nname = \"g\"\nmetric = \"error_rate\"\nrollback = [\"stable + 99.9999999999999pp hard\", \"1000x stable\", \"0.0000000000001% hard\"]\nadvance = \"service + 99.9999999999999pp\"",
        "[[route.gate]]\nname = \"g\"\nmetric = \"error_rate\"\nrollback = \"stable + 0.0000000000001pp hard\"\nadvance = \"stable + 0.0000000000001pp\"",
        "[[route.gate]]\nname = \"g\"\nmetric = \"consecutive_failures\"\nrollback = 1000000",
        "[[route.gate]]\nname = \"g\"\nmetric = \"ttfb\"\nrollback = { \"p0.000000000001\" = \"1000x stable\", \"p99.9999999999999\" = [\"366d\", \"1.00000001x stable\"] }\nadvance = { \"p0.000000000001\" = \"1x stable\" }",
        "[[route.gate]]\nname = \"g\"\nmetric = \"ttfb\"\nrollback = { p10 = \"2x stable\", p25 = \"2x stable\", p50 = \"2x stable\", p74 = \"2x stable\", p75 = \"2x stable\", p97 = \"2x stable\", p99 = \"2x stable\" }",
        "[[route.gate]]\nname = \"g\"\nmetric = \"ttfb\"\nrollback = { p75 = \"2x stable\", p80 = \"2x stable\", p85 = \"2x stable\", p90 = \"2x stable\", p95 = \"2x stable\" }\nadvance = { \"p96.9\" = \"1.1x stable\" }",
    ] {
        judge(&route(rest));
    }
}

/// A value of a gate's key: right, nearly right or hostile.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "((stable|service) ?[+-] ?)?[0-9]{1,4}(\\.[0-9]{1,12})? ?(pp|%|ms|x stable|)( hard)?",
        "[\\PC&&[^\"\\\\]]{0,20}",
        prop::sample::select(vec![
            "auto".to_owned(),
            "x".repeat(10_000),
            "stable + ".to_owned(),
            "stable - 1e300pp".to_owned(),
            format!("stable + 0.{}1pp", "0".repeat(400)),
            format!("{}%", "9".repeat(400)),
            "NaN%".to_owned(),
            "infx stable".to_owned(),
            "stable + \u{661}pp".to_owned(),
        ]),
    ];
    let text = text.prop_map(|text| format!("\"{text}\""));
    let other = prop::sample::select(vec![
        "5",
        "-1",
        "0x7fffffffffffffff",
        "1e308",
        "nan",
        "-inf",
        "true",
        "[]",
        "[[]]",
        "{}",
        "1979-05-27",
    ]);
    let plain = prop_oneof![4 => text, 1 => other.prop_map(str::to_owned)].boxed();
    let quantile = prop::sample::select(vec!["p50", "p90", "p97", "p99", "\"p99.9\"", "p0", "q"]);
    let entries = prop::collection::vec((quantile, plain.clone()), 0..4).prop_map(|entries| {
        let entries: Vec<String> = entries
            .into_iter()
            .map(|(quantile, value)| format!("{quantile} = {value}"))
            .collect();
        format!("{{ {} }}", entries.join(", "))
    });
    let list = prop::collection::vec(plain.clone(), 0..20)
        .prop_map(|items| format!("[{}]", items.join(", ")));
    prop_oneof![4 => plain, 2 => entries, 1 => list]
}

fn gate() -> impl Strategy<Value = String> {
    let metric = prop::sample::select(vec![
        "error_rate",
        "ttfb",
        "duration",
        "consecutive_failures",
        "new_errors",
        "error_trend",
        "latency_spike",
        "burn_rate",
        "signal:a",
        "signal:",
        "x",
    ]);
    let key = prop::sample::select(vec!["rollback", "advance", "of", "objective"]);
    let keys = prop::collection::btree_map(key, value(), 0..3);
    (any::<u8>(), metric, keys).prop_map(|(name, metric, keys)| {
        let keys = keys
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        let keys: String = keys.collect();
        format!("[[route.gate]]\nname = \"{name}\"\nmetric = \"{metric}\"\n{keys}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any gates are refused with a reason, or can be judged by.
    #[test]
    fn any_gates_are_answered(gates in prop::collection::vec(gate(), 1..6), alpha in value()) {
        for promise in ["", &format!("[route.rollout]\nfalse_rollback = {alpha}\nexposure.failed_requests = {alpha}\n")] {
            match load(Some(&source(&format!("{promise}{}", gates.concat()))), &Overrides::default()) {
                Ok(loaded) => judge(&loaded.config.routes[0]),
                Err(diagnostics) => {
                    assert!(diagnostics.errors() > 0);
                    assert!(!diagnostics.render(false).is_empty());
                }
            }
        }
    }

    /// One gate alone is accepted often enough to be judged by.
    #[test]
    fn any_limits_that_are_accepted_can_be_judged_by(
        at in 1_u32..1_000_000, limit in 1_u32..100_000, margin in 0_u32..100_000, weight in 1_u32..99,
    ) {
        let quantile = format!("p{}", f64::from(at) / 1e4);
        let (limit, margin) = (1.0 + f64::from(limit) / 1e3, 1.0 + f64::from(margin) / 1e3);
        let gates = format!(
            "[[route.gate]]\nname = \"l\"\nmetric = \"ttfb\"\nrollback = {{ \"{quantile}\" = \"{limit:.3}x stable\" }}\nadvance = {{ \"{quantile}\" = \"{margin:.3}x stable\" }}\n[[route.gate]]\nname = \"b\"\nmetric = \"burn_rate\"\nobjective = \"{weight}%\"\n[[route.gate]]\nname = \"e\"\nmetric = \"error_rate\"\nrollback = \"stable + {weight}pp hard\""
        );
        match load(Some(&source(&gates)), &Overrides::default()) {
            Ok(loaded) => {
                assert!(margin <= limit);
                judge(&loaded.config.routes[0]);
            }
            Err(diagnostics) => assert!(margin > limit, "{diagnostics}"),
        }
    }
}
