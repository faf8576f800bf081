//! What is logged, and where nothing is shielded.

use serde_json::{Value, json};

use super::{ask, impatient, is_of_stable, settled, setup, shielded};
use crate::support::client::request;
use crate::support::eventually::{eventually, some};
use crate::support::proxy::Setup;
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

#[test]
fn if_stable_fails_too_the_client_gets_the_failure_of_stable() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = setup(&stable, &canary).top("workers = 1").start();
    stable.behave(Behaviour::Status(503));
    let answer = ask(&proxy, "GET", "/", "");
    assert_eq!((answer.status, answer.text().as_str()), (503, "stable"));
    stable.behave(Behaviour::Reset);
    let answer = ask(&proxy, "PUT", "/", "x");
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (502, "upstream_reset")
    );
    let [of_canary, _] = settled(&proxy, 2, 2);
    assert_eq!(of_canary["failures"], 2);
    // The second was sent once more: its pooled connection might have been stale.
    assert_eq!((canary.log.len(), stable.log.len()), (2, 3));
}

#[test]
fn without_an_address_of_stable_the_client_gets_the_failure_of_the_canary() {
    let (stable, canary) = (Upstream::refusing(), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = impatient(&stable, &canary).start();
    // Until it is known, somebody has to try.
    eventually("stable is known to be dead", || {
        ask(&proxy, "GET", "/", "").text() == "canary"
    });
    let before = shielded(&proxy);
    for method in ["GET", "PUT"] {
        let answer = ask(&proxy, method, "/", "");
        assert_eq!((answer.status, answer.text().as_str()), (500, "canary"));
    }
    assert_eq!(shielded(&proxy), before);
    // Nor is anything recalled to where nobody answers.
    canary.behave(Behaviour::Silent);
    let mut client = proxy.client();
    client.send(request("GET", "/hang", &[("x-user", "a")], ""));
    assert_eq!(client.answer_to("GET").error(), "upstream_timeout");
}

#[test]
fn who_names_the_canary_sees_the_canary() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = setup(&stable, &canary)
        .section("[route.sticky.force]\nheader = \"x-version\"\nfrom = [\"127.0.0.0/8\"]")
        .start();
    let forced = proxy.get("/", &[("x-version", "canary")]);
    assert_eq!((forced.status, forced.text().as_str()), (500, "canary"));
    assert!(is_of_stable(&ask(&proxy, "GET", "/", ""), "GET"));
    assert_eq!(shielded(&proxy), 1);
}

#[test]
fn a_canary_that_is_not_shielded_shows_what_it_does() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Status(500));
    let proxy = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(1_000_000)
        .start();
    assert_eq!(ask(&proxy, "GET", "/", "").text(), "canary");
    assert_eq!((stable.log.len(), shielded(&proxy)), (0, 0));
    // What waits goes on after a rollback.
    canary.behave(Behaviour::Slow(std::time::Duration::from_millis(700)));
    let mut client = proxy.client();
    client.send(request("GET", "/", &[("x-user", "a")], ""));
    eventually("it arrives", || canary.log.len() == 2);
    proxy.roll_back();
    assert_eq!(client.answer_to("GET").text(), "canary");
}

/// A failure that a user was spared is none that the user saw.
#[test]
fn only_what_reaches_a_user_is_in_the_ledger() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = setup(&stable, &canary).start();
    let ask_as = |user: &str, method: &str| {
        let mut client = proxy.client();
        client.send(request(method, "/", &[("x-user", user)], ""));
        client.answer_to(method)
    };
    let ledger = |users: u64, saw_error: u64| {
        eventually("the ledger says so", || {
            let path = "/v1/routes/default/exposure";
            let (_, answer) = proxy.admin("GET", path, &Value::Null);
            answer["users"]["count"] == users && answer["saw_error"]["count"] == saw_error
        });
    };
    for behaviour in [Behaviour::Status(500), Behaviour::Reset] {
        canary.behave(behaviour);
        for user in 0..20 {
            assert!(is_of_stable(&ask_as(&user.to_string(), "GET"), "GET"));
        }
    }
    ledger(20, 0);
    canary.behave(Behaviour::Status(500));
    ask_as("1", "POST");
    canary.behave(Behaviour::Reset);
    ask_as("2", "POST");
    canary.behave(Behaviour::Truncated);
    ask_as("3", "GET");
    ledger(20, 3);
}

/// Before a switch of protocols it is a request like any other.
#[test]
fn an_upgrade_that_the_canary_refuses_is_stable_s() {
    let stable = Upstream::scripted(|mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
            while let Ok(byte) = connection.wire.read(1) {
                connection.wire.write(byte);
            }
        }
    });
    let canary = Upstream::named("canary");
    canary.behave(Behaviour::Status(502));
    let proxy = setup(&stable, &canary).start();
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nhost: test\r\nx-user: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
    );
    assert!(matches!(client.response_head(), Ok((_, 101))));
    client.send("x");
    assert_eq!(client.wire.read(1), Ok(b"x".to_vec()));
    drop(client);
    settled(&proxy, 1, 1);
}

#[test]
fn the_access_log_says_both() {
    let directory = Directory::new("shield-access");
    let path = directory.path("access.log");
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = setup(&stable, &canary)
        .table(&format!("[log.access]\noutput = \"{path}\""))
        .start();
    ask(&proxy, "GET", "/good", "");
    canary.behave(Behaviour::Status(500));
    ask(&proxy, "GET", "/failed", "");
    ask(&proxy, "POST", "/posted", "");
    canary.behave(Behaviour::Reset);
    stable.behave(Behaviour::Status(503));
    ask(&proxy, "GET", "/both", "");
    let lines: Vec<Value> = some("four lines", || {
        let text = std::fs::read_to_string(&path).ok()?;
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() == 4).then_some(lines)
    });
    let seen: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!([
                line["path"],
                line["role"],
                line["version"],
                line["status"],
                line["reason"],
                line["shielded"],
                line["complete"]
            ])
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!(["/good", "canary", "v2", 200, null, null, true]),
            json!(["/failed", "canary", "v2", 200, "status", "v1", true]),
            json!(["/posted", "canary", "v2", 500, "status", null, true]),
            json!(["/both", "canary", "v2", 503, "reset", "v1", true]),
        ]
    );
}
