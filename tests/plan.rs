//! What gates will be able to say, before there is traffic.

use serde_json::Value;

use super::cli::{file, run};

fn json(args: &[&str]) -> Value {
    let ran = run(&[&["plan", "-o", "json"], args].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

fn fault<'a>(step: &'a Value, name: &str, times: Option<f64>) -> &'a Value {
    let faults = step["faults"].as_array().expect("a list");
    let found = faults
        .iter()
        .find(|one| one["fault"] == name && one["times"].as_f64() == times);
    found.unwrap_or_else(|| panic!("{name}: {step}"))
}

#[test]
fn the_default_gates_at_a_thousand_requests_per_second() {
    let plan = json(&[]);
    assert_eq!(plan["schema"], "haldane.plan/1");
    assert_eq!(plan["false_rollback"], 0.001);
    assert_eq!(plan["traffic"]["requests_per_second"], 1000.0);
    let step = &plan["steps"][0];
    assert_eq!(step["weight"], "5%");
    assert_eq!(step["canary_per_second"], 50.0);
    let always = fault(step, "failing_always", None);
    // Four failures, hardly any of them stable's.
    let requests = always["canary_requests"].as_f64().expect("a number");
    assert!((3.9..=4.0).contains(&requests), "{step}");
    assert_eq!(always["gate"], "errors");
    assert_eq!(always["ending"], "rolled_back");
    let requests = |times| {
        fault(step, "failing", Some(times))["canary_requests"]
            .as_f64()
            .unwrap()
    };
    assert!((700.0..1000.0).contains(&requests(10.0)), "{step}");
    assert!(
        requests(2.0) > requests(5.0) && requests(5.0) > requests(10.0),
        "{step}"
    );
    let slower = fault(step, "slower", Some(2.0));
    assert_eq!(slower["quantile"], "p99");
    let seconds = slower["seconds"].as_f64().unwrap();
    assert!((10.0..40.0).contains(&seconds), "{step}");
    assert_eq!(step["shown"].as_array().map(Vec::len), Some(4));
    assert!(step["shown_seconds"].as_f64().unwrap() > 60.0);
}

#[test]
fn every_step_has_its_own_numbers_and_fits_on_a_screen() {
    let args = [
        "--steps",
        "1% for 10m,5%,25% for 30m,100%",
        "--rps",
        "100",
        "--error-rate",
        "1%",
    ];
    let plan = json(&args);
    let weights: Vec<&str> = plan["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|step| step["weight"].as_str())
        .collect();
    assert_eq!(weights, ["1%", "5%", "25%", "100%"]);
    assert_eq!(plan["steps"][0]["hold_seconds"], 600.0);
    // There is nothing to show without stable.
    assert!(plan["steps"][3]["shown_seconds"].is_null());
    let ran = run(&[&["plan"], &args[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "at 1% for 10 min",
        "fails always",
        "p99",
        "is too short to show that",
        "never advances",
    ] {
        assert!(ran.out.contains(part), "{part}:\n{}", ran.out);
    }
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn gates_and_weight_come_from_the_configuration() {
    let path = file(
        "plan.toml",
        "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\nweight = \"20%\"\n\
         [[route.gate]]\nname = \"nerve\"\nmetric = \"consecutive_failures\"\nrollback = 3\n",
    );
    let config = path.to_str().expect("is text");
    let plan = json(&["-c", config]);
    let step = &plan["steps"][0];
    assert_eq!(step["weight"], "20%");
    assert_eq!(fault(step, "failing_always", None)["gate"], "nerve");
    assert_eq!(plan["false_rollback"], 0.0);
    assert!(plan["false_rollback_by_chance"].as_f64().unwrap() > 1e-6);
    let ran = run(&["plan", "-c", config]);
    assert!(ran.out.contains("comes by chance"), "{ran:?}");
}

#[test]
fn a_plan_for_nothing_is_a_mistake_of_the_command_line() {
    for args in [
        &["plan", "--rps", "0"][..],
        &["plan", "--rps", "many"],
        &["plan", "--error-rate", "5"],
        &["plan", "--p99", "250"],
        &["plan", "--p50", "1s", "--p99", "250ms"],
        &["plan", "--steps", "0%"],
        &["plan", "--steps", "5% for ever"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(
            ran.out.is_empty() && !ran.err.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn check_warns_of_gates_that_cannot_decide() {
    let path = file(
        "advice.toml",
        "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\n\
         weight = \"80%\"\nrollout = { exposure = { failed_requests = 3 } }\n\
         [[route.gate]]\nname = \"errors\"\nmetric = \"error_rate\"\nrollback = \"stable + 0.1pp\"\n\
         advance = \"stable + 0.1pp\"\n\
         [[route.gate]]\nname = \"nerve\"\nmetric = \"consecutive_failures\"\nrollback = 4\n",
    );
    let file = path.to_str().expect("is text");
    let ran = run(&["check", file]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "acts on 4 failures in a row",
        "at 80% stable has little traffic left",
        "the budget of 3 is used up",
        "route[0].rollout.exposure.failed_requests",
    ] {
        assert!(ran.err.contains(part), "{part}:\n{}", ran.err);
    }
    assert!(!ran.err.contains("requests per second"), "{ran:?}");
    let ran = run(&["check", file, "--rps", "0.02", "--error-rate", "0.5%"]);
    for part in [
        "cannot show its limit for advancing within 4 h",
        "fails 2 times as often",
    ] {
        assert!(ran.err.contains(part), "{part}:\n{}", ran.err);
    }
    let ran = run(&["check", file, "--error-rate", "0.5%"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn check_has_no_advice_for_what_can_decide() {
    let path = file(
        "fine.toml",
        "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\n\
         weight = \"5%\"\n",
    );
    let file = path.to_str().expect("is text");
    let quiet = run(&["check", file]);
    let busy = run(&["check", file, "--rps", "5000"]);
    assert_eq!((quiet.code, busy.code), (0, 0));
    assert_eq!(quiet.err, busy.err, "{busy:?}");
    assert!(!quiet.err.contains("route[0].weight"), "{quiet:?}");
}

/// A route whose canary walks a plan.
fn walking(name: &str, rollout: &str) -> String {
    let path = file(
        name,
        &format!(
            "listen = \":0\"\n[[route]]\nstable = \"http://127.0.0.1:1\"\ncanary = \"http://127.0.0.1:2\"\n\
             [route.rollout]\n{rollout}\n"
        ),
    );
    path.to_str().expect("is text").to_owned()
}

#[test]
fn check_warns_of_plans_that_are_too_bold_too_slow_or_only_watch() {
    let file = walking(
        "bold.toml",
        "steps = [\"10% for 1m\", \"80% for 1m\", \"100%\"]\non_breach = \"observe\"\nmax_hold = \"1m\"",
    );
    let ran = run(&["check", &file]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "the first step gives the canary 10% of all users at once",
        "at 80% stable has little traffic left",
        "a breach is only told",
    ] {
        assert!(ran.err.contains(part), "{part}:\n{}", ran.err);
    }
    let ran = run(&["check", &file, "--rps", "10", "--error-rate", "1%"]);
    let part = "cannot show its limit for advancing within 2 min";
    assert!(ran.err.contains(part), "{}", ran.err);
    for plan in ["conservative", "standard", "aggressive"] {
        let file = walking("bold.toml", &format!("plan = \"{plan}\""));
        let ran = run(&["check", &file]);
        assert!(!ran.err.contains("rollout"), "{plan}: {}", ran.err);
    }
}

#[test]
fn the_steps_of_a_plan_are_forecast_as_it_walks_them() {
    let file = walking(
        "walk.toml",
        "steps = [\"0% until promoted\", \"1% for 10m and 6000 requests\", \"50% for 10m\", \"100%\"]\n\
         max_hold = \"1h\"",
    );
    let plan = json(&["-c", &file, "--rps", "100"]);
    let steps = plan["steps"].as_array().expect("a list").iter();
    let weights: Vec<_> = steps.map(|step| &step["weight"]).collect();
    assert_eq!(weights, ["1%", "50%", "100%"]);
    // As many requests take longer than ten minutes.
    assert_eq!(plan["steps"][0]["hold_seconds"], 6000.0);
    assert_eq!(plan["steps"][0]["longest_seconds"], 9600.0);
    assert_eq!(plan["steps"][1]["hold_seconds"], 600.0);
    assert!(plan["steps"][2]["hold_seconds"].is_null());
    let ran = run(&["plan", "-c", &file, "--rps", "100"]);
    assert!(ran.out.contains("the plan pauses before"), "{}", ran.out);
}
