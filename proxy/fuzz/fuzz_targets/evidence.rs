//! Evidence: whatever the bytes are, they are refused or can be gone on with.

#![no_main]

use std::sync::LazyLock;

use haldane::fuzz::kept::spec;
use haldane_decide::outcome::{ErrorClass, Evidence, FailureReason, Outcome};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::split::SplitKey;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_fuzz::config;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"
[[route]]
stable = { version = "v1", upstream = "http://127.0.0.1:1" }
canary = { version = "v2", upstream = "http://127.0.0.1:2" }
weight = "5%"
[[route.gate]]
name = "errors"
metric = "error_rate"
rollback = ["stable + 0.5pp", "5% hard"]
advance = "stable + 0.2pp"
[[route.gate]]
name = "latency"
metric = "duration"
rollback = { p50 = "1.5x stable", p99 = ["2x stable", "800ms"] }
advance = { p50 = "1.1x stable", p99 = "1.25x stable" }
[[route.gate]]
name = "orders"
metric = "signal:orders"
rollback = "stable - 5pp"
advance = "stable - 1pp"
"#;

static SPEC: LazyLock<ReleaseSpec> = LazyLock::new(|| spec(&config(CONFIG).routes[0]));

/// What a release has written that has seen a little of everything.
static WRITTEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut release = new();
    let counted = go_on(&mut release, Tally::default(), 20, 0);
    assert!(counted.of(Role::Stable).successes > 0);
    kept(&release, 20)
});

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000 + seconds * 1_000_000)
}

fn new() -> Release {
    Release::new(SPEC.clone(), &Tally::default(), at(0))
}

fn kept(release: &Release, second: u64) -> Vec<u8> {
    release
        .evidence_to_keep(at(second))
        .map_or_else(Vec::new, |kept| kept.into_bytes())
}

/// Some seconds of traffic, of which the canary fails what the bits of `failing` say.
fn go_on(release: &mut Release, mut tally: Tally, from: u64, failing: u64) -> Tally {
    for second in from..from + 20 {
        let stable = tally.of_mut(Role::Stable);
        stable.successes = stable.successes.saturating_add(500);
        stable.timed = stable.timed.saturating_add(500);
        let canary = tally.of_mut(Role::Canary);
        canary.successes = canary.successes.saturating_add(20);
        if failing >> (second % 20) & 1 == 1 || second == 13 {
            canary.failures = canary.failures.saturating_add(1);
            let outcome = Outcome {
                role: Role::Canary,
                evidence: Evidence::Failure(FailureReason::Status),
                key: Some(SplitKey::from_random(second << 40)),
                weight: release.weight(),
                class: Some(ErrorClass::of_status(503)),
                request: None,
            };
            drop(release.observe(&outcome, &tally, at(second)));
        }
        release.report_signal("orders", Role::Stable, 100, 3);
        release.report_signal("orders", Role::Canary, 30, 1);
        drop(release.absorb(&tally, &mut |_, _| {}, at(second)));
        let status = serde_json::to_string(&release.status(at(second)));
        assert!(status.is_ok_and(|status| !status.is_empty()));
        let _ = release.verdict();
    }
    tally
}

/// Changes what was written: each four bytes are a place, how many bytes, and what to.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut bytes = WRITTEN.clone();
    for edit in edits.chunks_exact(4) {
        let [high, low, what, value] = *edit else {
            continue;
        };
        let place = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
        match what % 4 {
            0 => bytes[place] = value,
            1 => bytes[place] ^= value,
            2 => bytes.insert(place, value),
            _ => drop(bytes.remove(place)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [selector, failing, rest @ ..] = data else {
        return;
    };
    let bytes = if selector % 8 == 7 {
        rest.to_vec()
    } else {
        edited(rest)
    };
    let mut release = new();
    let before = kept(&release, 20);
    let Ok(counted) = release.recall(&bytes, at(20)) else {
        assert_eq!(
            kept(&release, 20),
            before,
            "refused, and something has changed"
        );
        return;
    };
    // What was read is what is written, and can be read again.
    let written = kept(&release, 20);
    let mut again = new();
    assert_eq!(again.recall(&written, at(20)).as_ref(), Ok(&counted));
    assert_eq!(kept(&again, 20), written);
    go_on(&mut release, counted, 20, u64::from(*failing) << 3);
    let later = kept(&release, 40);
    if !later.is_empty() && release.weight() == again.weight() {
        assert!(new().recall(&later, at(40)).is_ok(), "cannot be read again");
    }
});
