//! The state file: what is read can be written, and a process goes on from whatever it says
//! without giving a canary what was taken from it. And the file with events.

#![no_main]

use std::sync::LazyLock;

use haldane::fuzz::kept::{begin, past_events, rewrite_evidence, rewrite_state, sealed};
use haldane_config::Config;
use haldane_fuzz::config;
use libfuzzer_sys::fuzz_target;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    config(
        r#"
[[route]]
stable = { version = "v1", upstream = "http://127.0.0.1:1" }
canary = { version = "v2", upstream = "http://127.0.0.1:2" }
[route.rollout]
steps = ["5% for 10m and 100 requests", "50% until promoted", "100%"]
"#,
    )
});

fuzz_target!(|data: &[u8]| {
    let Some((selector, data)) = data.split_first() else {
        return;
    };
    match selector % 4 {
        0 => state(&sealed(data, false)),
        1 => evidence(&sealed(data, true)),
        2 => events(data),
        // Without a checksum that fits hardly anything is a file.
        _ => {
            state(data);
            evidence(data);
        }
    }
});

fn state(file: &[u8]) {
    let Ok(written) = rewrite_state(file) else {
        assert!(begin(&CONFIG, file).is_none());
        return;
    };
    assert_eq!(rewrite_state(&written).as_ref(), Ok(&written));
    damaged(file, rewrite_state);
    let (one, other) = (begin(&CONFIG, file), begin(&CONFIG, &written));
    let (Some(one), Some(other)) = (one, other) else {
        panic!("a state that was read cannot be gone on with");
    };
    assert_eq!(
        (one.generation, one.weight),
        (other.generation, other.weight)
    );
    assert!(one.weight <= 1_000_000);
    let status: serde_json::Value = serde_json::from_str(&one.status).expect("is JSON");
    if status["phase"] == "rolled_back" {
        assert_eq!(one.weight, 0, "{status}");
    }
    assert!(!one.next.is_empty());
}

fn evidence(file: &[u8]) {
    if let Ok(written) = rewrite_evidence(file) {
        assert_eq!(rewrite_evidence(&written).as_ref(), Ok(&written));
        damaged(file, rewrite_evidence);
    }
}

/// A file of which one byte is another, or the last is missing, is none.
fn damaged(file: &[u8], read: fn(&[u8]) -> Result<Vec<u8>, String>) {
    assert!(read(&file[..file.len() - 1]).is_err());
    for at in [1, file.len() / 2, file.len() - 2] {
        let mut other = file.to_vec();
        other[at] ^= 1;
        assert!(read(&other).is_err());
    }
}

fn events(data: &[u8]) {
    let (events, dropped) = past_events(data);
    assert!(events.len() <= 1000);
    assert!(events.is_sorted_by(|(one, _), (other, _)| one < other));
    let lines = data.split(|byte| *byte == b'\n').count();
    assert!(events.len() + dropped <= lines);
    let mut written = Vec::new();
    for (seq, text) in &events {
        let event: serde_json::Value = serde_json::from_str(text).expect("is JSON");
        assert_eq!(event["seq"].as_u64(), Some(*seq), "{text}");
        // The text of an earlier process is shown as it was.
        assert!(!text.contains('\n'));
        written.extend_from_slice(text.as_bytes());
        written.push(b'\n');
    }
    assert_eq!(past_events(&written), (events, 0));
}
