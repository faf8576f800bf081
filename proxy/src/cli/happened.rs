//! An event of the admin API, whichever haldane has written it, in words.

use haldane_decide::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::telemetry::access::date::rfc3339;

/// One event. What it lacks is not said: those of earlier processes have the form of theirs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct EventView(Map<String, Value>);

/// The reply about events.
#[derive(Debug, Deserialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<EventView>,
}

impl EventView {
    pub(crate) fn seq(&self) -> u64 {
        self.count("seq").unwrap_or_default()
    }

    /// When it happened, in microseconds since the epoch.
    pub(crate) fn at(&self) -> u64 {
        self.count("at").unwrap_or_default()
    }

    /// What it is, as the API names it.
    pub(crate) fn kind(&self) -> &str {
        self.text("kind").unwrap_or("event")
    }

    /// `info`, `warning` or `critical`.
    pub(crate) fn severity(&self) -> &str {
        self.text("severity").unwrap_or("info")
    }

    /// The route that it is about; none for what is about all of them.
    pub(crate) fn route(&self) -> Option<&str> {
        self.text("route")
    }

    pub(crate) fn generation(&self) -> Option<u32> {
        u32::try_from(self.count("generation")?).ok()
    }

    /// The canary's share from here on, if it is said.
    pub(crate) fn weight(&self) -> Option<&str> {
        match self.kind() {
            "promoted" => Some("100%"),
            "rolled_back" => Some("0%"),
            _ => self.text("to").or_else(|| self.text("weight")),
        }
    }

    /// A text of the event, of this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A count of the event, of this name.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// A number of the event, of this name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// Who did it: a person, a gate, the plan.
    pub(crate) fn who(&self) -> Option<String> {
        let by = self.0.get("by");
        let of = |name: &str| by.and_then(|by| by.get(name)).and_then(Value::as_str);
        match of("kind") {
            None => self.text("actor").map(str::to_owned),
            Some("breach") => Some(format!("gate {}", of("gate").unwrap_or("unknown"))),
            Some("command") => Some(of("actor").unwrap_or("somebody").to_owned()),
            Some("configuration") => Some("the configuration".to_owned()),
            Some("overdue" | "plan") => Some("the plan".to_owned()),
            Some(other) => Some(in_spaces(other)),
        }
    }

    /// Why: what a gate says, or the reason that a person gave.
    pub(crate) fn why(&self) -> Option<String> {
        let by = self.0.get("by");
        let of = |name: &str| by.and_then(|by| by.get(name));
        match of("kind").and_then(Value::as_str) {
            None => {
                let own = ["reason", "why", "detail", "sentence"];
                let own = own.iter().find_map(|name| self.text(name));
                own.map(str::to_owned)
            }
            Some("breach") => Some(match self.text("cause") {
                Some(cause) => cause.to_owned(),
                None => {
                    let gate = of("gate").and_then(Value::as_str).unwrap_or("a gate");
                    let number = |name: &str| of(name).map_or_else(String::new, Value::to_string);
                    format!("{gate}: {} with limit {}", number("value"), number("limit"))
                }
            }),
            Some("command") => of("reason").and_then(Value::as_str).map(str::to_owned),
            Some("overdue" | "state_damaged") => {
                of("detail").and_then(Value::as_str).map(str::to_owned)
            }
            Some(_) => None,
        }
    }

    /// What has happened, without who did it and why.
    pub(crate) fn what(&self) -> String {
        let version = self.text("version").unwrap_or("the canary");
        let stable = self.text("stable_version").unwrap_or("stable");
        let weight = self.weight().unwrap_or("its weight");
        let from = self.text("from").unwrap_or("its weight");
        let step = self.count("step").unwrap_or_default();
        let list = |name: &str| -> String {
            let list = self.0.get(name).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join("; ")
        };
        match self.kind() {
            "agreed" => "who was asked before the first step has said yes".to_owned(),
            "breached" => format!("{version} fails and stays at {weight}, as configured"),
            "completed" => format!("{version} is complete at {weight}"),
            "confirmed" => format!("{version} is confirmed to be worse, and stays at {weight}"),
            "frozen" => "frozen: no rollout starts or advances".to_owned(),
            "incident" => {
                format!("{version} and {stable} are both degraded, nothing is rolled back")
            }
            "paused" => format!("{version} is paused in step {step} at {weight}"),
            "prepared" => format!("{version} is the next canary"),
            "progressed" => format!("{version} goes from {from} to {weight}, step {step}"),
            "promoted" => format!("{version} is promoted from {from} to all traffic"),
            "ready" => format!("{version} passes step {step} at {weight} and waits for a person"),
            "reconfigured" => format!("reconfigured: {}", self.amended()),
            "reload_failed" => format!("reload failed: {}", list("errors")),
            "reloaded" => format!("reloaded: {}", list("changes")),
            "resumed" => format!("{version} goes on in step {step} at {weight}"),
            "retried" => format!("{version} starts again, at {weight}"),
            "reweighed" => format!("{version} goes from {from} to {weight}"),
            "rollback_refused" => {
                format!("{version} fails but stays at {weight}: {stable} cannot be reached")
            }
            "rollback_unverified" => "rollback not verified".to_owned(),
            "rollback_verified" => {
                "rollback verified: the canary gets nothing, and stable is there".to_owned()
            }
            "rolled_back" => format!("{version} was rolled back from {from} to {stable}"),
            "started" => format!("{version} starts at {weight}"),
            "state_damaged" => format!("{version} begins without traffic: its state is damaged"),
            "unfrozen" => "unfrozen: rollouts start and advance".to_owned(),
            other => in_spaces(other),
        }
    }

    /// All of it in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = match self.route() {
            Some(route) => format!("{route}: {}", self.what()),
            None => self.what(),
        };
        match (self.who(), self.why()) {
            // What a gate says begins with its name.
            (Some(who), Some(why)) if who.starts_with("gate ") => {
                sentence.push_str(&format!(" ({why})"));
            }
            (Some(who), Some(why)) => sentence.push_str(&format!(" ({who}: {why})")),
            (Some(only), None) | (None, Some(only)) => sentence.push_str(&format!(" ({only})")),
            (None, None) => {}
        }
        sentence
    }

    /// What of a configuration was changed.
    fn amended(&self) -> String {
        let parts = ["stable", "gates", "weight", "plan"];
        let is_amended = |name: &&str| self.0.get(*name) == Some(&Value::Bool(true));
        let amended: Vec<&str> = parts.into_iter().filter(is_amended).collect();
        amended.join(", ")
    }
}

/// A moment as people and programs read it, in UTC.
pub(crate) fn date(micros: u64) -> String {
    rfc3339(Timestamp::from_micros(micros))
}

/// The moment that [`date`] has written, in microseconds since the epoch.
pub(crate) fn moment(date: &str) -> Option<u64> {
    let part = |from: usize, to: usize| date.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let is_utc = date.ends_with('Z') && date.len() == 24 && (1..=12).contains(&month);
    if !is_utc || year < 1970 {
        return None;
    }
    // Days in the Gregorian calendar, counted from 1 March of year 0
    // (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
    let year = year - u64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some((seconds * 1000 + part(20, 23)?) * 1000)
}

fn in_spaces(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
pub(crate) fn event(value: Value) -> EventView {
    serde_json::from_value(value).expect("is an object")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_sentence_with_who_and_why() {
        for (value, sentence) in [
            (
                json!({"kind": "started", "route": "shop", "version": "v2", "weight": "5%",
                    "by": {"kind": "plan"}}),
                "shop: v2 starts at 5% (the plan)",
            ),
            (
                json!({"kind": "rolled_back", "route": "shop", "version": "v2", "from": "5%",
                    "stable_version": "v1", "cause": "errors: canary failed",
                    "by": {"kind": "breach", "gate": "errors"}}),
                "shop: v2 was rolled back from 5% to v1 (errors: canary failed)",
            ),
            (
                json!({"kind": "paused", "route": "shop", "version": "v2", "step": 2,
                    "weight": "5%", "by": {"kind": "command", "actor": "ann", "reason": "lunch"}}),
                "shop: v2 is paused in step 2 at 5% (ann: lunch)",
            ),
            (
                json!({"kind": "frozen", "actor": null, "reason": "incident"}),
                "frozen: no rollout starts or advances (incident)",
            ),
            (
                json!({"kind": "reconfigured", "route": "shop", "weight": true, "plan": true,
                    "gates": false, "stable": false}),
                "shop: reconfigured: weight, plan",
            ),
        ] {
            assert_eq!(event(value).sentence(), sentence);
        }
    }

    /// Those before a restart may be of another haldane.
    #[test]
    fn an_event_of_another_form_is_told_as_far_as_it_goes() {
        let odd = event(json!({"kind": "moved_on", "at": "soon", "by": 7}));
        assert_eq!((odd.sentence().as_str(), odd.at()), ("moved on", 0));
        assert_eq!(event(json!({})).sentence(), "event");
        let old = event(json!({"kind": "rolled_back", "version": "v2",
            "by": {"kind": "breach", "gate": "errors", "value": 0.5, "limit": 0.1}}));
        assert_eq!(old.why().as_deref(), Some("errors: 0.5 with limit 0.1"));
    }

    proptest! {
        #[test]
        fn a_date_is_read_as_it_was_written(millis in any::<u64>(), text in any::<String>()) {
            // Until the year 9999.
            let micros = millis % 253_402_300_800_000 * 1000;
            assert_eq!(moment(&date(micros)), Some(micros));
            // Whatever else there is, it is no panic.
            moment(&text);
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T00:00:00.000+01:00",
            "1969-12-31T23:59:59.999Z",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
