//! Slow responses.

use std::time::Duration;

use super::{Load, gate, rolled_back, users};
use crate::support::eventually::elapse;
use crate::support::proxy::Setup;
use crate::support::upstream::{Behaviour, Upstream};

/// A version that takes this long for an answer, once it is told to.
fn taking(usual: Duration, name: &'static str) -> Upstream {
    Upstream::scripted(move |mut connection| {
        while connection.request().is_some() {
            elapse(usual);
            let length = name.len();
            connection.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}"
            ));
        }
    })
}

#[test]
fn a_canary_that_is_five_times_slower_is_rolled_back() {
    let stable = taking(Duration::from_millis(10), "stable");
    let canary = taking(Duration::from_millis(50), "canary");
    let proxy = Setup::canary(&stable, &canary, "10%").by_user().start();
    let load = Load::start(&proxy, 8, users);
    let event = rolled_back(&proxy);
    load.end();
    assert_eq!(event["by"]["gate"], "latency", "{event}");
    assert_eq!(event["by"]["measure"]["metric"], "ttfb", "{event}");
    let example = event["by"]["example"].as_str().expect("an example");
    assert!(example.starts_with("request-"), "{event}");
}

/// Both are slow, and so nobody is slower.
#[test]
fn what_slows_both_down_rolls_nothing_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "20%").by_user().start();
    let load = Load::start(&proxy, 4, users);
    load.go_on(500);
    for version in [&stable, &canary] {
        version.behave(Behaviour::Slow(Duration::from_millis(60)));
    }
    load.go_on(300);
    load.end();
    assert_eq!(proxy.events(0).len(), 0, "{:?}", proxy.events(0));
    assert!(gate(&proxy, "latency")["canary"]["samples"].as_u64() > Some(0));
}
