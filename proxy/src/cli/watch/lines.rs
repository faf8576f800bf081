//! The view for pipes and logs: a line for each event, and one when a route stands otherwise.

use std::collections::HashMap;

use serde_json::Value;

use super::feed::Told;
use super::standing;
use crate::cli::happened::{EventView, date};
use crate::cli::output::harmless;
use crate::cli::view::{RouteView, Routes};

/// What was said last of each route.
#[derive(Debug)]
pub(super) struct Lines {
    /// The only route that is looked at, if it is one.
    route: Option<String>,
    last: HashMap<String, String>,
}

impl Lines {
    pub(super) fn new(route: Option<String>) -> Self {
        Self {
            route,
            last: HashMap::new(),
        }
    }

    /// What is to be printed of what was told `now`.
    pub(super) fn of(&mut self, told: &Told, now: u64) -> Vec<String> {
        match told {
            Told::Back | Told::Lost(_) | Told::Restarted => {
                connection(told, now).into_iter().collect()
            }
            Told::Happened(data) => match serde_json::from_str::<EventView>(data) {
                Ok(event) if is_about(self.route.as_deref(), event.route()) => {
                    vec![line(event.at(), event.severity(), &event.sentence())]
                }
                Ok(_) | Err(_) => Vec::new(),
            },
            Told::Status(data) => match serde_json::from_str::<Routes>(data) {
                Ok(routes) => self.standings(routes),
                Err(_) => Vec::new(),
            },
        }
    }

    fn standings(&mut self, routes: Routes) -> Vec<String> {
        let mut lines = Vec::new();
        for route in routes.into_routes() {
            if !is_about(self.route.as_deref(), Some(&route.route)) {
                continue;
            }
            let outline = outline(&route);
            if self.last.get(&route.route) == Some(&outline) {
                continue;
            }
            let mut sentence = format!("{}: {}", route.route, standing::sentence(&route));
            if let Some(waits_for) = &route.waits_for {
                sentence.push_str(&format!("; waits for {waits_for}"));
            }
            lines.push(line(route.at, "status", &sentence));
            self.last.insert(route.route, outline);
        }
        lines
    }
}

/// What is to be said of the connection.
pub(super) fn connection(told: &Told, now: u64) -> Option<String> {
    let sentence = match told {
        Told::Back => "it is there again".to_owned(),
        Told::Happened(_) | Told::Status(_) => return None,
        Told::Lost(why) => format!("lost, and tried again every second: {why}"),
        Told::Restarted => "another haldane answers, which counts events anew".to_owned(),
    };
    Some(line(now, "connection", &sentence))
}

/// Whether what is about `route`, or about all of them, is to be shown.
pub(super) fn is_about(asked: Option<&str>, route: Option<&str>) -> bool {
    match (asked, route) {
        (Some(asked), Some(route)) => asked == route,
        (None, _) | (_, None) => true,
    }
}

/// The object of the API as one line, with nothing of other routes; none if there is nothing
/// else in it.
pub(super) fn object(told: &Told, asked: Option<&str>) -> Option<String> {
    let (Told::Happened(data) | Told::Status(data)) = told else {
        return None;
    };
    // Between its parts JSON may have lines; within them it has none.
    let as_it_is = || Some(data.replace('\n', " "));
    if asked.is_none() {
        return as_it_is();
    }
    let mut value: Value = serde_json::from_str(data).ok()?;
    if let Some(Value::Array(routes)) = value.get_mut("routes") {
        routes.retain(|route| is_about(asked, route["route"].as_str()));
        return Some(value.to_string());
    }
    is_about(asked, value["route"].as_str())
        .then(as_it_is)
        .flatten()
}

/// What must change so that it is worth a line: not how long it takes still.
fn outline(route: &RouteView) -> String {
    let waits_for = route.waits_for.as_deref().unwrap_or_default();
    let without_numbers: String = waits_for
        .chars()
        .filter(|character| !character.is_ascii_digit() && *character != '.')
        .collect();
    let canary = route.versions.canary.as_ref();
    format!(
        "{} {} {:?} {} {:?} {:?} {:?} {} {without_numbers}",
        route.phase,
        route.weight,
        route.rollout.as_ref().map(|rollout| rollout.step),
        route.verdict,
        route.rolled_back_at.or(route.paused_at),
        route.frozen.as_ref().map(|frozen| &frozen.why),
        canary.map(|canary| &canary.version),
        route.rollback_refused.is_some() || route.observed.is_some(),
    )
}

fn line(at: u64, what: &str, sentence: &str) -> String {
    format!("{} {what:<10} {}", date(at), harmless(sentence))
}
