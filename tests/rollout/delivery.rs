//! What delivery is measured by, of a rollout that is complete.

use super::*;
use crate::reload::metric;

#[test]
fn a_complete_rollout_has_a_lead_time_and_is_overdue_after_a_while() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::stable(&stable)
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\", owner = \"team-checkout\", \
             sha = \"5f1c9e2\", commit_time = \"2020-01-01T01:00:00+01:00\" }}",
            canary.url()
        ))
        .section("[route.rollout]\nsteps = [\"100%\"]\nbake = \"0s\"\nexpires = \"1s\"")
        .start();
    eventually("it is complete", || proxy.status()["phase"] == "complete");
    let versions = &proxy.status()["versions"];
    assert_eq!(versions["canary"]["owner"], "team-checkout");
    assert_eq!(versions["canary"]["sha"], "5f1c9e2");
    assert_eq!(versions["canary"]["commit_time"], "2020-01-01T00:00:00Z");
    assert_eq!(versions["stable"].get("owner"), None);
    let lead = metric(&proxy, "haldane_rollout_lead_time_seconds").expect("a lead time");
    let seconds: f64 = lead.split_once("} ").expect("labels").1.parse().unwrap();
    // Five years at least.
    assert!(seconds > 5.0 * 365.0 * 86_400.0, "{lead}");
    eventually("it is overdue", || {
        metric(&proxy, "haldane_rollout_overdue").as_deref() == Some("{route=\"default\"} 1.0")
    });
}

#[test]
fn a_rollout_under_way_has_no_lead_time_and_is_not_overdue() {
    let walk = Walk::start("steps = [\"5% for 1h\", \"100%\"]\nexpires = \"1s\"");
    walk.until("progressing");
    let of = |name| metric(&walk.proxy, name);
    assert_eq!(of("haldane_rollout_lead_time_seconds"), None);
    let overdue = of("haldane_rollout_overdue");
    assert_eq!(overdue.as_deref(), Some("{route=\"default\"} 0.0"));
}
