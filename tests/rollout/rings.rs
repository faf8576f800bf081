//! Rings that open as the plan is walked, and are no evidence on the way.

use super::*;

const STEPS: &str = "steps = [\"0.0001% until promoted\", \"1% until promoted\", \"100%\"]";

const RINGS: &str = "[[route.rule]]\nname = \"internal\"\n\
    match = { header = \"x-ring\", values = [\"internal\"] }\nweight = \"100%\"\n\
    [[route.rule]]\nname = \"early\"\n\
    match = { header = \"x-ring\", values = [\"early\"] }\nweight = \"100%\"\nfrom_weight = \"1%\"\n";

fn walk(rollout: &str) -> Walk {
    let gate = "[[route.gate]]\nname = \"meltdown\"\n\
        metric = \"consecutive_failures\"\nrollback = 4\n";
    Walk::with(&format!("{STEPS}\n{rollout}"), &format!("{RINGS}{gate}"))
}

/// Which versions the rings and everybody else get.
fn versions(walk: &Walk) -> [String; 3] {
    ["internal", "early", "none"].map(|ring| walk.version_of("alice", &[("x-ring", ring)]))
}

#[test]
fn each_step_opens_the_next_ring_and_a_rollback_closes_all() {
    let walk = walk("");
    walk.until("progressing");
    assert_eq!(versions(&walk), ["canary", "stable", "stable"]);
    walk.command("promote", &json!({ "step": 1 }));
    assert_eq!(versions(&walk), ["canary", "canary", "stable"]);
    walk.command("promote", &json!({ "full": true }));
    assert_eq!(versions(&walk), ["canary", "canary", "canary"]);
    walk.command("rollback", &json!({}));
    assert_eq!(versions(&walk), ["stable", "stable", "stable"]);
}

#[test]
fn a_canary_that_fails_its_first_ring_goes_no_further() {
    let walk = walk("shield = \"off\"");
    walk.until("progressing");
    walk.canary.behave(Behaviour::Status(503));
    for _ in 0..4 {
        let fields = [("x-user", "alice"), ("x-ring", "internal")];
        assert_eq!(walk.proxy.get("/", &fields).status, 503);
    }
    assert_eq!(walk.proxy.status()["phase"], "rolled_back");
    assert_eq!(versions(&walk), ["stable", "stable", "stable"]);
}
