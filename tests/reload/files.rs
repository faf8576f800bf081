//! What files may do: change, break, vanish, be swapped.

use std::fs;

use serde_json::{Value, json};

use super::{File, assert_stands, metric, reload, with_canary};
use crate::support::client::Client;
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::swap_link;
use crate::support::upstream::Upstream;

const SUCCESSFUL: &str = "haldane_config_last_reload_successful";
const SUCCEEDED_AT: &str = "haldane_config_last_reload_success_timestamp_seconds";

fn failures(proxy: &Proxy) -> Vec<Value> {
    let events = proxy.events(0).into_iter();
    events
        .filter(|event| event["kind"] == "reload_failed")
        .collect()
}

#[test]
fn what_cannot_be_used_changes_nothing_and_is_said() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let base = with_canary(&stable, "v2", &canary, "10%");
    let file = File::new("invalid", &base);
    let proxy = file.start();
    assert_eq!(metric(&proxy, SUCCESSFUL).as_deref(), Some("1"));
    proxy.set_weight("5%");
    fs::write(file.directory.0.join("no.pem"), "this is no certificate").unwrap();
    let no_pem = file.directory.path("no.pem");
    let at_once = "stable = \"http://127.0.0.1:1\"";
    for (number, (text, key, line)) in [
        ("listen = [".to_owned(), "", Some(1)),
        (format!("lisen = \":1\"\n{}", base.text()), "lisen", Some(1)),
        (format!("listen = \"127.0.0.1:0\"\n[[route]]\n{at_once}\nweight = \"5\"\n"), "route.weight", Some(4)),
        (format!("listen = \"127.0.0.1:0\"\nadmin = {{ token_file = \"/none\" }}\n[[route]]\n{at_once}\n"), "admin.token_file", Some(2)),
        (format!("listen = {{ address = \"127.0.0.1:0\", tls = \"a\" }}\n[tls.a]\ncert = \"{no_pem}\"\nkey = \"{no_pem}\"\n[[route]]\n{at_once}\n"), "tls", None),
        (String::new(), "listen", None),
    ]
    .into_iter()
    .enumerate()
    {
        file.write(&text);
        for _ in 0..3 {
            let (status, answer) = proxy.reload();
            assert_eq!(status, 422, "{text}: {answer}");
            assert_eq!(answer["type"], "urn:haldane:problem:configuration");
            let diagnostics = answer["diagnostics"].as_array().expect("a list");
            let found = diagnostics.iter().any(|item| {
                item["severity"] == "error" && item["key"] == key && item["line"] == json!(line)
            });
            assert!(found, "{key} {line:?}: {answer}");
        }
        assert_eq!(failures(&proxy).len(), number + 1, "each is told once");
        assert_eq!(metric(&proxy, SUCCESSFUL).as_deref(), Some("0"), "{text}");
        assert_stands(&proxy, 1, "idle", "5%");
        assert_eq!(proxy.get("/", &[]).status, 200);
    }
    fs::remove_file(&file.path).unwrap();
    assert_eq!(proxy.reload().0, 422);
    // What is in force is in the file again: nothing to do, and nothing wrong.
    file.write(&base.text());
    let (status, answer) = proxy.reload();
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!(false)),
        "{answer}"
    );
    assert_eq!(metric(&proxy, SUCCESSFUL).as_deref(), Some("1"));
}

#[test]
fn a_changed_file_is_found_and_a_bad_one_told_once() {
    let stable = Upstream::named("stable");
    let other = Upstream::named("other");
    let file = File::new("found", &Setup::stable(&stable));
    let proxy = file.start();
    let before: f64 = metric(&proxy, SUCCEEDED_AT).unwrap().parse().unwrap();
    assert!(before > 1.7e9, "{before}");
    // In place, as `cp` and editors do it.
    fs::write(&file.path, Setup::stable(&other).text()).unwrap();
    eventually("the new one is in force", || {
        proxy.get("/", &[]).text() == "other"
    });
    eventually("it is said", || {
        let after: f64 = metric(&proxy, SUCCEEDED_AT).unwrap().parse().unwrap();
        after > before
    });
    assert_eq!(failures(&proxy).len(), 0, "no half of a file was read");
    fs::write(&file.path, "nonsense").unwrap();
    eventually("it is told", || !failures(&proxy).is_empty());
    assert_eq!(metric(&proxy, SUCCESSFUL).as_deref(), Some("0"));
    let (status, answer) = proxy.reload();
    assert_eq!(status, 422, "{answer}");
    fs::write(&file.path, Setup::stable(&stable).text()).unwrap();
    eventually("the good one is in force", || {
        proxy.get("/", &[]).text() == "stable"
    });
    eventually("and it is said", || {
        metric(&proxy, SUCCESSFUL).as_deref() == Some("1")
    });
    assert_eq!(failures(&proxy).len(), 1);
}

#[test]
fn a_directory_that_is_swapped_behind_a_link_is_followed() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let file = File::new("swapped", &Setup::stable(&stable));
    let directory = &file.directory.0;
    for (name, upstream) in [("..one", &stable), ("..two", &other)] {
        fs::create_dir(directory.join(name)).unwrap();
        let text = Setup::stable(upstream).text();
        fs::write(directory.join(name).join("haldane.toml"), text).unwrap();
    }
    // What Kubernetes does with a ConfigMap: the file is a link through a link.
    fs::remove_file(&file.path).unwrap();
    std::os::unix::fs::symlink("..one", directory.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/haldane.toml", &file.path).unwrap();
    let proxy = file.start();
    assert_eq!(proxy.get("/", &[]).text(), "stable");
    // More than once: the first look comes with the start.
    for (target, name) in [("..two", "other"), ("..one", "stable"), ("..two", "other")] {
        swap_link(&directory.join("..data"), &directory.join(target));
        eventually("it is followed", || proxy.get("/", &[]).text() == name);
    }
    assert_eq!(failures(&proxy).len(), 0);
}

#[test]
fn the_api_checks_without_changing_anything() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let base = with_canary(&stable, "v2", &canary, "10%");
    let file = File::new("check", &base);
    let proxy = file.start();
    let other = with_canary(&stable, "v3", &canary, "10%");
    let toml = |text: &str| {
        let mut client = Client::connect(proxy.admin_address);
        client.send(format!(
            "POST /v1/config/check HTTP/1.1\r\nhost: {}\r\ncontent-type: application/toml\r\ncontent-length: {}\r\n\r\n{text}",
            proxy.admin_address,
            text.len()
        ));
        let answer = client.answer_to("POST");
        let value: Value = serde_json::from_slice(&answer.body.bytes).expect("JSON");
        (answer.status, value)
    };
    let in_json = |text: &str| proxy.admin("POST", "/v1/config/check", &json!({ "config": text }));
    let changes = json!(["route default: another canary"]);
    for (status, answer) in [toml(&other.text()), in_json(&other.text())] {
        assert_eq!((status, &answer["changes"]), (200, &changes), "{answer}");
        assert_eq!(answer["schema"], "haldane.config/1");
    }
    let (status, answer) = proxy.admin("POST", "/v1/config/check", &Value::Null);
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!(false)),
        "{answer}"
    );
    for (status, answer) in [toml("x = 1"), in_json("x = 1")] {
        assert_eq!(status, 422, "{answer}");
        assert_eq!(answer["diagnostics"][0]["line"], 1, "{answer}");
    }
    for body in [json!({ "confg": "" }), json!([])] {
        assert_eq!(proxy.admin("POST", "/v1/config/check", &body).0, 400);
    }
    assert_stands(&proxy, 1, "idle", "10%");
    assert_eq!(proxy.events(0).len(), 0);
    assert_eq!(metric(&proxy, SUCCESSFUL).as_deref(), Some("1"));
    file.write(&other.text());
    let (status, answer) = proxy.admin("POST", "/v1/config/check", &Value::Null);
    assert_eq!((status, &answer["changes"]), (200, &changes), "{answer}");
    for method in ["GET", "PUT"] {
        assert_eq!(
            proxy.admin(method, "/v1/config/reload", &Value::Null).0,
            405
        );
    }
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let stable = Upstream::named("stable");
    let proxy = Setup::stable(&stable).start();
    for path in ["/v1/config/reload", "/v1/config/check"] {
        let (status, answer) = proxy.admin("POST", path, &Value::Null);
        assert_eq!(status, 409, "{path}: {answer}");
    }
    let text = Setup::stable(&stable).text();
    let (status, answer) = proxy.admin("POST", "/v1/config/check", &json!({ "config": text }));
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!(false)),
        "{answer}"
    );
}

#[test]
fn workers_are_the_one_thing_that_needs_a_restart() {
    let (stable, other) = (Upstream::named("stable"), Upstream::named("other"));
    let file = File::new("workers", &Setup::stable(&stable).top("workers = 1"));
    let proxy = file.start();
    let changes = reload(&proxy, &file, &Setup::stable(&other).top("workers = 3"));
    assert_eq!(
        changes,
        json!([
            "workers changed, which needs a restart",
            "route default: another stable"
        ])
    );
    assert_eq!(proxy.get("/", &[]).text(), "other");
    let (status, answer) = proxy.reload();
    assert_eq!(status, 200);
    assert_eq!(answer["changed"], false, "{answer}");
    assert_eq!(answer["needs_restart"], json!(["workers"]), "still");
}

#[test]
fn a_token_is_replaced_with_its_file() {
    let stable = Upstream::named("stable");
    let file = File::new("token", &Setup::stable(&stable));
    let token = file.directory.0.join("token");
    fs::write(&token, "first\n").unwrap();
    let setup = Setup::stable(&stable).text().replace(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!(
            "admin = {{ listen = \"127.0.0.1:0\", token_file = \"{}\" }}",
            token.display()
        ),
    );
    file.write(&setup);
    let proxy = file.start();
    let rollback = |token: &str| {
        let mut client = Client::connect(proxy.admin_address);
        client.send(format!(
            "POST /v1/rollback HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
            proxy.admin_address
        ));
        client.answer_to("POST").status
    };
    assert_eq!((rollback("first"), rollback("second")), (200, 401));
    fs::write(&token, "second\n").unwrap();
    eventually("the new one counts", || rollback("second") == 200);
    assert_eq!(rollback("first"), 401);
    fs::write(&token, "").unwrap();
    eventually("an empty one is refused", || !failures(&proxy).is_empty());
    assert_eq!(rollback("second"), 200, "the last good one stays");
}
