//! The Markdown, also with names that are none.

use serde_json::json;

use super::*;
use crate::cli::report::facts::tests::facts;

#[test]
fn a_report_has_everything_in_tables_and_lists() {
    let mut facts = facts(2);
    facts.gates = vec![json!({"name": "errors", "verdict": "inconclusive",
        "sentence": "errors: waits for evidence", "evidence": 0.5,
        "canary": {"value": 0.05, "count": 8, "samples": 160},
        "stable": {"value": 0.001, "count": 1, "samples": 1000}})];
    facts.tap = Some(
        json!({"requests": [{"at": "1970-01-01T00:00:50.000Z", "method": "GET",
        "path": "/cart?a|b", "status": 500, "reason": "status", "trace_id": null,
        "shielded": true}]}),
    );
    let text = markdown(&Report::of(facts).expect("is known"));
    for line in [
        "## shop, generation 2: progressing\n",
        "**v2 is in progress at 5%: it waits for its hold: 9s left**\n",
        "- began 1970-01-01T00:00:40.000Z, goes on; so far 50.0 s\n",
        "|  | stable | canary | difference |\n|---|---|---|---|\n",
        "| version | v1 | v2 |  |\n",
        "| owner | team-a | team-a |  |\n",
        "| failures | 1 (0.10%) | 8 (5.00%) | +4.90pp |\n",
        "| p99 | 8.00ms | 8.00ms | +0.0% |\n",
        "| errors | inconclusive | 8 of 160 | 1 of 1000 | 0.50x | errors: waits for evidence |\n",
        "- users who saw an error of it: about 1\n",
        "| 1970-01-01T00:00:40.000Z | v2 starts again, at 5% | ann |  | 5% | info |\n",
        "| 1970-01-01T00:00:50.000Z | GET | /cart?a\\|b | 500 | status | – | yes |\n",
        "- legal now: pause, rollback",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    // Where it is not known, there is no section for it.
    assert!(!text.contains("commit"), "{text}");
}

#[test]
fn an_earlier_generation_is_its_events() {
    let text = markdown(&Report::of(facts(1)).expect("is known"));
    for line in [
        "**v2 was rolled back: errors: canary failed**\n",
        "- from the response that decided until the weight was zero: 17 µs\n",
        "- verified after 3.0 s: the canary gets nothing, and stable is there\n",
        "| errors: canary failed | 0% | critical |\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(
        !text.contains("### Next") && !text.contains("### Gates"),
        "{text}"
    );
}

/// A line without what is escaped in it.
fn bare(line: &str) -> String {
    let mut bare = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            characters.next();
        } else {
            bare.push(character);
        }
    }
    bare
}

#[test]
fn what_others_write_stays_text_in_its_cell() {
    let hostile = "a|b\n\n# x `c` <img src=x onerror=alert(1)> <!-- [l](javascript:1) \\| @all \
        https://evil.example www.evil.example \u{1b}[31m\u{2028}| **b** $x$ &lt; ![i](u)";
    let mut facts = facts(2);
    facts.status.versions.stable.version = hostile.to_owned();
    if let Some(canary) = &mut facts.status.versions.canary {
        canary.version = hostile.to_owned();
        canary.owner = Some(hostile.to_owned());
    }
    facts.gates = vec![json!({"name": hostile, "verdict": hostile, "sentence": hostile})];
    facts.events.push(crate::cli::happened::event(
        json!({"seq": 8, "at": 50_000_000,
        "route": "shop", "generation": 2, "kind": "paused", "step": 1, "weight": hostile,
        "version": hostile, "by": {"kind": "command", "actor": hostile, "reason": hostile}}),
    ));
    facts.tap = Some(
        json!({"requests": [{"at": hostile, "method": hostile, "path": hostile,
        "status": hostile, "reason": {"odd|": hostile}, "shielded": false}]}),
    );
    let text = markdown(&Report::of(facts).expect("is known"));
    let (mut head, mut rows) = (0, 0);
    for line in text.lines().map(bare) {
        for part in [
            "<img", "<!--", "](", " `c`", "@all", "://", "www.", "\u{1b}", " **b", "$x$",
        ] {
            assert!(!line.contains(part), "{part}: {line}");
        }
        if line.starts_with('|') {
            let cells = line.matches('|').count();
            head = if rows == 0 { cells } else { head };
            assert_eq!(cells, head, "{line}");
            rows += 1;
        } else {
            rows = 0;
            let is_known = ["", "## ", "### ", "**", "- ", "Counted since"];
            assert!(
                is_known.iter().any(|begin| line.starts_with(begin)),
                "{line}"
            );
            assert!(!line.starts_with("# x"), "{line}");
        }
    }
    assert_eq!(escaped("v1.2-rc+3 (ok)"), "v1.2-rc+3 (ok)");
}
