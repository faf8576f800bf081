//! Who was on the canary, and who saw an error there.

use std::collections::BTreeSet;

use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;
use serde_json::{Value, json};

use crate::support::eventually::{eventually, some};
use crate::support::http2::H2Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

const KEYS: &str = "[route.rollout]\nledger = \"keys\"";

/// The hash of a user, and whether the canary has them under this weight.
fn hashed(user: &str, weight: &str) -> (String, bool) {
    let weight: Weight = weight.parse().expect("is a share");
    let key = Salt::from_text("tests").split_key(user.as_bytes());
    let is_on_canary = key.position() < weight.parts_per_million();
    (format!("{:016x}", key.to_bits()), is_on_canary)
}

#[track_caller]
fn exposure(proxy: &Proxy, query: &str) -> Value {
    let path = format!("/v1/routes/default/exposure{query}");
    let (status, answer) = proxy.admin("GET", &path, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until so many users were on the canary, and so many saw an error there.
#[track_caller]
fn exposed(proxy: &Proxy, users: usize, saw_error: usize) -> Value {
    some("the ledger says so", || {
        let answer = exposure(proxy, "");
        let is = answer["users"] == json!({ "count": users, "exact": true })
            && answer["saw_error"] == json!({ "count": saw_error, "exact": true });
        is.then_some(answer)
    })
}

#[test]
fn each_user_of_the_canary_counts_once_and_the_hashes_are_told_where_that_is_asked_for() {
    for (more, tells) in [("", false), (KEYS, true)] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = Setup::canary(&stable, &canary, "30%")
            .top("workers = 2")
            .by_user()
            .meltdown(1000)
            .section(more)
            .start();
        let ask = |users: std::ops::Range<u32>| {
            let h2 = H2Client::connect(proxy.address);
            let mut expected = BTreeSet::new();
            for user in users.map(|number| format!("user-{number}")) {
                let (hash, is_on_canary) = hashed(&user, "30%");
                let fields = [("x-user", &*user)];
                let role = proxy.get("/", &fields).text();
                assert_eq!(role == "canary", is_on_canary);
                h2.get("/", &fields);
                expected.extend(is_on_canary.then_some(hash));
            }
            expected
        };
        let all = ask(0..100);
        exposed(&proxy, all.len(), 0);
        canary.behave(Behaviour::Status(503));
        let unlucky = ask(90..100);
        canary.behave(Behaviour::Good);
        let fields: [(&str, &str); 0] = [];
        for _ in 0..40 {
            proxy.get("/", &fields);
        }
        let without_key = canary.log.len();
        let answer = exposed(&proxy, all.len(), unlucky.len());
        // Chance has sent some of those without a key there.
        assert!(
            answer["requests_without_key"].as_u64() < Some(40),
            "{answer}"
        );
        assert!(without_key > all.len());
        assert_eq!(
            (&answer["generation"], &answer["canary"]),
            (&json!(1), &json!("v2"))
        );
        if !tells {
            assert_eq!(
                (&answer["ledger"], &answer["keys"]),
                (&json!("counts"), &Value::Null)
            );
            continue;
        }
        let (mut told, mut after) = (BTreeSet::new(), String::new());
        loop {
            let page = exposure(&proxy, &format!("?limit=7{after}"));
            for one in page["keys"].as_array().expect("a list") {
                let hash = one["key"].as_str().expect("a text").to_owned();
                assert_eq!(one["saw_error"], unlucky.contains(&hash), "{one}");
                assert!(told.insert(hash), "{one} twice");
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(told, all);
    }
}

#[test]
fn a_generation_has_a_ledger_of_its_own_which_a_rollback_leaves_and_a_reload_too() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = crate::support::tls::Directory::new("ledger");
    let path = directory.path("haldane.toml");
    let setup = Setup::canary(&stable, &canary, "99.9999%")
        .by_user()
        .meltdown(3)
        .section(KEYS);
    std::fs::write(&path, setup.text()).expect("writes");
    let proxy = Proxy::start_file(path.as_ref());
    for user in ["a", "b"] {
        proxy.get("/", &[("x-user", user)]);
    }
    exposed(&proxy, 2, 0);
    let changed = setup.route("expose_version = true").text();
    std::fs::write(&path, changed).expect("writes");
    proxy.reload();
    proxy.get("/", &[("x-user", "c")]);
    exposed(&proxy, 3, 0);
    canary.behave(Behaviour::Status(500));
    for user in ["c", "d", "e"] {
        proxy.get("/", &[("x-user", user)]);
    }
    assert_eq!(proxy.status()["phase"], "rolled_back");
    exposed(&proxy, 5, 3);
    canary.behave(Behaviour::Good);
    proxy.retry();
    exposed(&proxy, 0, 0);
    proxy.get("/", &[("x-user", "a")]);
    let answer = exposed(&proxy, 1, 0);
    assert_eq!(answer["generation"], 2);
}

#[test]
fn an_explanation_says_whether_a_key_was_on_the_canary() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "99.9999%")
        .by_user()
        .meltdown(9)
        .section(KEYS)
        .start();
    proxy.get("/", &[("x-user", "well")]);
    canary.behave(Behaviour::Status(500));
    proxy.get("/", &[("x-user", "unlucky")]);
    exposed(&proxy, 2, 1);
    for (user, on_canary, saw_error, words) in [
        ("well", true, false, "it was on the canary and saw no error"),
        (
            "unlucky",
            true,
            true,
            "it was on the canary and saw an error",
        ),
        ("absent", false, false, "it was not on the canary"),
    ] {
        let (status, answer) = proxy.admin("POST", "/v1/explain", &json!({ "key": user }));
        assert_eq!(status, 200, "{answer}");
        let expected = json!({ "on_canary": on_canary, "saw_error": saw_error });
        assert_eq!(answer["exposed"], expected, "{answer}");
        let why = answer["why"].as_str().expect("says why");
        assert!(why.ends_with(words), "{why}");
    }
}

#[test]
fn an_answer_that_breaks_off_or_never_comes_is_an_error_that_is_seen_and_a_404_is_none() {
    for (behaviour, is_error) in [
        (Behaviour::Status(404), false),
        (Behaviour::Status(500), true),
        (Behaviour::Reset, true),
        (Behaviour::Truncated, true),
    ] {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = Setup::canary(&stable, &canary, "99.9999%")
            .by_user()
            .meltdown(9)
            .start();
        canary.behave(behaviour);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n");
        // It may be cut short.
        client.try_answer_to("GET").ok();
        eventually("the ledger says so", || {
            let answer = exposure(&proxy, "");
            answer["users"]["count"] == 1 && answer["saw_error"]["count"] == u64::from(is_error)
        });
    }
}

#[test]
fn questions_that_are_not_understood_are_refused() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "5%").start();
    for query in [
        "limit=0",
        "limit=10001",
        "after=1",
        "after=xxxxxxxxxxxxxxxx",
        "all",
        "limit",
    ] {
        let path = format!("/v1/routes/default/exposure?{query}");
        assert_eq!(proxy.admin("GET", &path, &Value::Null).0, 400, "{query}");
    }
    let (status, _) = proxy.admin("GET", "/v1/routes/none/exposure", &Value::Null);
    assert_eq!(status, 404);
}
