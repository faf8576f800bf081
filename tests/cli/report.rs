//! What `haldane report` says of rollouts that were judged by real requests.

use serde_json::Value;

use super::super::rollout::{GATE, Load};
use super::super::support::eventually::{eventually, some};
use super::super::support::proxy::{Proxy, Setup};
use super::super::support::upstream::{Behaviour, Upstream};
use super::ask;

fn setup(upstreams: &[Upstream; 2]) -> Setup {
    Setup::stable(&upstreams[0])
        .route(&format!(
            "canary = {{ version = \"v|2\", upstream = \"{}\", sha = \"4f1e2d\", owner = \"team-a\" }}",
            upstreams[1].url()
        ))
        .section("[route.sticky]\nkey = \"header:x-user\"\nsalt = \"tests\"")
        .section("[route.rollout]\nsteps = [\"50% for 1s\", \"100%\"]\nbake = \"1s\"")
        .section(GATE)
}

fn report(proxy: &Proxy, args: &[&str]) -> String {
    let ran = ask(proxy.admin_address, &[&["report"], args].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    ran.out
}

fn object(proxy: &Proxy, args: &[&str]) -> Value {
    let out = report(proxy, &[&["--format", "json"], args].concat());
    serde_json::from_str(&out).expect("is JSON")
}

#[test]
fn a_rolled_back_canary_is_reported_with_its_numbers_and_again_after_a_retry() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = setup(&upstreams).start();
    eventually("it begins", || proxy.status()["phase"] == "progressing");
    upstreams[1].behave(Behaviour::Status(500));
    let load = Load::on(&proxy);
    eventually("it is rolled back and verified", || {
        let events = proxy.all_events(0);
        events
            .iter()
            .any(|event| event["kind"] == "rollback_verified")
    });
    assert_eq!(load.end(), 0, "stable answers what the canary fails");
    let status = proxy.status();
    let json = object(&proxy, &["default"]);
    assert_eq!(json["schema"], "haldane.report/1");
    assert_eq!(json["outcome"], "rolled_back");
    let cause = status["cause"].as_str().expect("a cause");
    assert_eq!(json["headline"], format!("v|2 was rolled back: {cause}"));
    let canary = &json["versions"]["canary"];
    assert_eq!(
        (&canary["sha"], &canary["owner"]),
        (&"4f1e2d".into(), &"team-a".into())
    );
    for name in ["requests", "failures"] {
        assert_eq!(
            canary["counts"][name], status["versions"]["canary"][name],
            "{name}"
        );
    }
    assert_eq!(json["gates"], status["gates"]);
    assert!(json["rollback"]["micros"].is_u64(), "{json}");
    assert_eq!(json["rollback"]["verified"], true);
    assert!(json["users"]["on_canary"].as_u64() > Some(0), "{json}");
    assert!(
        json["users"]["shielded_requests"].as_u64() > Some(0),
        "{json}"
    );
    assert_eq!(json["result"]["success"], false);
    assert_eq!(json["result"]["rollbackRequired"], true);
    // What was recalled when it was rolled back is none of its failures.
    assert!(
        json["result"]["metrics"]["errorRate"].as_f64() > Some(0.5),
        "{json}"
    );
    for name in ["averageLatency", "throughput"] {
        assert!(
            json["result"]["metrics"][name].as_f64() > Some(0.0),
            "{json}"
        );
    }
    let text = report(&proxy, &[]);
    for part in [
        "## default, generation 1: rolled back\n",
        "| version | v1 | v\\|2 |  |\n",
        "- verified after ",
        "### Timeline\n",
        "### Gates\n",
        "### What users saw\n",
        "- legal now: retry\n",
    ] {
        assert!(text.contains(part), "{part}{text}");
    }
    assert_known_after_a_retry(&proxy, &json);
}

/// What was is still known of it as an earlier generation.
fn assert_known_after_a_retry(proxy: &Proxy, json: &Value) {
    proxy.retry();
    let earlier = object(proxy, &["--generation", "1"]);
    for name in ["outcome", "headline", "began_at", "ended_at", "timeline"] {
        assert_eq!(earlier[name], json[name], "{name}");
    }
    assert_eq!(object(proxy, &[])["generation"], 2);
    assert_eq!(
        ask(proxy.admin_address, &["report", "--generation", "9"]).code,
        2
    );
}

#[test]
fn a_complete_rollout_is_reported_as_a_success() {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = setup(&upstreams).start();
    let load = Load::on(&proxy);
    for phase in ["promoted", "complete"] {
        some(phase, || {
            let now = proxy.status()["phase"].clone();
            (now == phase || now == "complete").then_some(())
        });
    }
    load.end();
    let json = object(&proxy, &[]);
    assert_eq!(json["outcome"], "complete");
    assert_eq!(
        json["headline"],
        "v|2 is complete, v1 is not needed any more"
    );
    assert_eq!(json["result"]["success"], true);
    assert_eq!(json["result"]["rollbackRequired"], false);
    assert!(
        json["ended_at"].is_string() && json["rollback"].is_null(),
        "{json}"
    );
    assert!(json["seconds"].as_f64() > Some(1.0), "{json}");
    let kinds: Vec<&Value> = json["timeline"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| &entry["kind"])
        .collect();
    assert_eq!(kinds, ["started", "promoted", "completed"]);
}

#[test]
fn a_report_without_a_haldane_or_a_route_is_none() {
    let nobody = Upstream::refusing();
    assert_eq!(ask(nobody.address, &["report"]).code, 15);
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let proxy = setup(&upstreams).start();
    let ran = ask(proxy.admin_address, &["report", "nope"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
}
