//! Messages of a hand-over: what is read can be written, and whoever goes on from one or
//! follows one never gives a canary more than it says.

#![no_main]

use std::sync::LazyLock;

use haldane::fuzz::wire::{follow, rewrite_message};
use haldane_config::Config;
use haldane_fuzz::{config, wait_for};
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
    // Lengths that fit are hard to guess: texts are put behind theirs.
    let texts: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(2).collect();
    let framed: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| [&(text.len() as u32).to_be_bytes(), *text].concat())
        .collect();
    let _ = wait_for(rewrite_message(data));
    for bytes in &framed {
        let Ok(written) = wait_for(rewrite_message(bytes)) else {
            continue;
        };
        let again = wait_for(rewrite_message(&written)).expect("was written so");
        assert_eq!(again, written);
        // Cut short it is none.
        assert!(wait_for(rewrite_message(&written[..written.len() - 1])).is_err());
    }
    if let Some([before, after]) = wait_for(follow(&CONFIG, &framed.concat())) {
        assert!(before <= 1_000_000 && after <= 1_000_000);
    }
});
