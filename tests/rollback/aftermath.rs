//! A rollback is looked after until it is known that it has worked.

use std::time::Duration;

use serde_json::Value;

use crate::support::eventually::some;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

/// Waits for the event that says how the last rollback has gone.
#[track_caller]
fn aftermath(proxy: &Proxy) -> Value {
    some("the aftermath is known", || {
        let events = proxy.all_events(0).into_iter();
        let kind = |event: &Value| event["kind"].as_str().unwrap_or_default().to_owned();
        let mut found = events.filter(|event| kind(event).ends_with("verified"));
        found.next()
    })
}

#[test]
fn it_is_verified_when_the_last_request_of_the_canary_has_ended() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    canary.behave(Behaviour::Slow(Duration::from_secs(1)));
    let proxy = Setup::canary(&stable, &canary, "100%").by_user().start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nx-user: a\r\n\r\n");
    some("it is there", || (canary.log.len() == 1).then_some(()));
    proxy.roll_back();
    let verified = aftermath(&proxy);
    assert_eq!(verified["kind"], "rollback_verified");
    assert_eq!(verified["severity"], "info");
    assert_eq!(verified["generation"], 1);
    assert_eq!(verified["canary_requests"], 1);
    assert!(verified["seconds"].as_f64().unwrap() >= 3.0, "{verified}");
    let events = proxy.events(0);
    let rolled_back = &events[events.len() - 1];
    assert_eq!(rolled_back["kind"], "rolled_back");
    assert_eq!(rolled_back["severity"], "warning", "somebody asked for it");
}

#[test]
fn what_goes_on_before_it_is_known_is_said() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "100%").by_user().start();
    proxy.roll_back();
    proxy.retry();
    let unverified = aftermath(&proxy);
    assert_eq!(unverified["kind"], "rollback_unverified");
    assert_eq!(
        unverified["why"],
        "the next generation began before it was known"
    );
}
