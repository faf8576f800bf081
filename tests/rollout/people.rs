//! Pausing, promoting, freezing: who may do what when.

use super::*;

const LONG: &str = "steps = [\"5% for 1h\", \"20% until promoted\", \"50% for 1h\", \"100%\"]";

#[test]
fn a_promotion_goes_one_step_however_often_it_is_sent() {
    let walk = Walk::start(LONG);
    walk.until("progressing");
    let body = json!({ "step": 1, "actor": "alice", "reason": "looks good" });
    let (status, answer) = walk.command("promote", &body);
    assert_eq!((status, &answer["changed"]), (200, &json!(true)));
    assert_eq!(answer["weight"], "20%");
    let (status, answer) = walk.command("promote", &body);
    assert_eq!((status, &answer["changed"]), (200, &json!(false)));
    assert_eq!(answer["weight"], "20%");
    let last = walk.proxy.events(0).pop().unwrap();
    assert_eq!(last["by"]["actor"], "alice");
    assert_eq!(last["by"]["reason"], "looks good");
    let (_, answer) = walk.command("promote", &json!({ "full": true }));
    assert_eq!(
        (&answer["phase"], &answer["weight"]),
        (&json!("promoted"), &json!("100%"))
    );
}

#[test]
fn a_step_until_promoted_says_when_it_is_ready() {
    let walk = Walk::start("steps = [\"50% until promoted\", \"100%\"]");
    let load = Load::on(&walk.proxy);
    eventually("it is ready", || {
        walk.story().last().is_some_and(|last| last == "ready 50%")
    });
    load.end();
    let status = walk.proxy.status();
    assert_eq!(
        status["waits_for"],
        "a person to promote; every gate passes"
    );
    assert_eq!(walk.proxy.status()["weight"], "50%");
}

#[test]
fn pausing_and_resuming_have_no_effect_the_second_time() {
    let walk = Walk::start(LONG);
    walk.until("progressing");
    for (verb, phase, changed) in [
        ("pause", "paused", true),
        ("pause", "paused", false),
        ("resume", "progressing", true),
        ("resume", "progressing", false),
    ] {
        let (status, answer) = walk.command(verb, &json!({}));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["phase"], phase);
        assert_eq!(answer["changed"], changed, "{verb}");
        assert_eq!(answer["weight"], "5%");
    }
    assert_eq!(walk.story(), ["started 5%", "paused 5%", "resumed 5%"]);
}

#[test]
fn a_weight_by_hand_takes_the_rollout_off_its_plan() {
    let walk = Walk::start(LONG);
    walk.until("progressing");
    let status = walk.proxy.set_weight("30%");
    assert_eq!(status["phase"], "paused");
    let (_, answer) = walk.command("resume", &json!({}));
    assert_eq!(answer["phase"], "progressing");
    assert_eq!(
        (&answer["weight"], &answer["rollout"]["step"]),
        (&json!("30%"), &json!(2))
    );
}

#[test]
fn what_raises_honours_the_entity_tag() {
    let walk = Walk::start(LONG);
    walk.until("progressing");
    let stale = "if-match: \"0-0\"\r\n";
    for (verb, expected) in [("promote", 412), ("resume", 412), ("pause", 200)] {
        let mut client = Client::connect(walk.proxy.admin_address);
        client.send(format!(
            "POST /v1/routes/default/{verb} HTTP/1.1\r\nhost: {}\r\n{stale}content-type: application/json\r\ncontent-length: 0\r\n\r\n",
            walk.proxy.admin_address
        ));
        assert_eq!(client.answer_to("POST").status, expected, "{verb}");
    }
}

#[test]
fn a_freeze_holds_everything_but_the_way_back() {
    let walk = Walk::start(LONG);
    walk.until("progressing");
    let why = json!({ "actor": "bob", "reason": "incident 42" });
    let (status, answer) = walk.proxy.admin("PUT", "/v1/freeze", &why);
    assert_eq!((status, &answer["changed"]), (200, &json!(true)));
    let (_, answer) = walk.proxy.admin("PUT", "/v1/freeze", &why);
    assert_eq!(answer["changed"], false);
    assert_eq!(answer["frozen"]["reason"], "incident 42");
    for verb in ["promote", "retry"] {
        if verb == "retry" {
            let (status, _) = walk.command("rollback", &json!({}));
            assert_eq!(status, 200, "the way back works");
        }
        let (status, answer) = walk.command(verb, &json!({}));
        assert_eq!(status, 409, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("frozen (by bob: incident 42)"), "{detail}");
    }
    let frozen = crate::reload::metric(&walk.proxy, "haldane_frozen");
    assert_eq!(frozen.as_deref(), Some("1"));
    let (_, answer) = walk.proxy.admin("DELETE", "/v1/freeze", &json!({}));
    assert_eq!(
        (&answer["changed"], &answer["frozen"]),
        (&json!(true), &Value::Null)
    );
    let (status, _) = walk.command("retry", &json!({}));
    assert_eq!(status, 200);
    let status = walk.until("progressing");
    assert_eq!(status["generation"], 2);
    let kinds: Vec<_> = walk.story();
    assert!(
        kinds.contains(&"frozen".to_owned()) && kinds.contains(&"unfrozen".to_owned()),
        "{kinds:?}"
    );
}

#[test]
fn a_frozen_rollout_does_not_begin() {
    let walk = Walk::start("steps = [\"0% until promoted\", \"50% for 1s\", \"100%\"]");
    walk.until("progressing");
    walk.proxy.admin("PUT", "/v1/freeze", &json!({}));
    let (status, answer) = walk.command("rollback", &json!({}));
    assert_eq!(status, 200, "{answer}");
    walk.proxy.admin("DELETE", "/v1/freeze", &json!({}));
    walk.proxy.retry();
    walk.until("progressing");
}
