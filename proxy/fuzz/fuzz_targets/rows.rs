//! Recorded requests: the same however they are read, and the same once they are written.

#![no_main]

use haldane::fuzz::records::{Row, rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    let weight = (selector & 1 == 1).then_some(50_000);
    let (found, bad) = rows(bytes, 1 << 16, weight);
    assert_eq!(rows(bytes, 1 << 16, weight), (found.clone(), bad.clone()));
    let (again, bad_again) = rows(bytes, usize::from(*selector), weight);
    assert_eq!((&again, &bad_again), (&found, &bad));
    assert!(found.is_sorted_by_key(|row| (row.row, row.at)));
    assert!(found.windows(2).all(|two| two[0].at <= two[1].at));
    for row in &found {
        assert!(row.status == 0 || (100..1000).contains(&row.status));
        assert!(row.weight <= 1_000_000 && row.latency <= 86_400_000_000);
    }
    if let Some((line, what)) = bad {
        // A file without an end of its last line has one line more than ends.
        let lines = bytes
            .iter()
            .filter(|byte| matches!(byte, b'\n' | b'\r'))
            .count()
            + 1;
        assert!((1..=lines as u64).contains(&line), "{line} of {lines}");
        assert!(!what.is_empty() && !what.contains('\n'), "{what:?}");
    }
    written(&found);
});

/// Written as either format, rows are the same but for what is hashed and how they are counted.
fn written(found: &[Row]) {
    let mut csv = "timestamp_ms,role,status,latency_us,weight\n".to_owned();
    let mut json = String::new();
    for Row {
        at,
        latency,
        role,
        status,
        weight,
        ..
    } in found
    {
        let (ms, ratio) = (*at as f64 / 1000.0, f64::from(*weight) / 1e6);
        csv += &format!("{ms},{role},{status},{latency},{ratio}\n");
        json += &format!(
            "{{\"timestamp_ms\":{ms},\"role\":\"{role}\",\"status\":{status},\"latency_us\":{latency},\"weight\":{ratio}}}\n"
        );
    }
    let plain = |rows: &[Row]| -> Vec<_> {
        let rows = rows.iter();
        rows.map(|row| (row.at, row.latency, row.role, row.status, row.weight))
            .collect()
    };
    for text in [csv, json] {
        // After the year 2255 microseconds are not told apart.
        if found.last().is_none_or(|last| last.at >= 1 << 53) {
            continue;
        }
        let (again, bad) = rows(text.as_bytes(), 1 << 16, None);
        assert_eq!(bad, None, "{text}");
        assert_eq!(plain(&again), plain(found), "{text}");
    }
}
