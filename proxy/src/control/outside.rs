//! Asks for the answers that gates judge by, while there is a canary to be judged.

use std::sync::Arc;
use std::time::Duration;

use haldane_config::{OutsideGate, Question};
use haldane_decide::gate::Answer;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::beat::Beats;
use super::remote::{self, Message, exchange};
use crate::live::{Live, Routes};

pub(crate) mod answer;

use answer::{of_prometheus, of_url, path_of};

/// What has changed is looked for once in so many beats.
const BEATS_PER_LOOK: u64 = 2;

/// No answer may take longer; one is expected before the next question.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// Runs for as long as the process does.
pub(super) async fn keep_asking(live: Arc<Live>, beats: Beats) {
    let mut looks = beats.every(BEATS_PER_LOOK);
    let mut seen: Option<Arc<Routes>> = None;
    let mut interviews = Vec::new();
    loop {
        looks.due().await;
        let routes = live.routes();
        if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &routes)) {
            interviews = renewed(interviews, &routes, &live);
            seen = Some(routes);
        }
    }
}

/// One gate that asks. Dropped, it asks no more.
struct Interview {
    route: Arc<str>,
    gate: OutsideGate,
    _task: JoinSet<()>,
}

fn renewed(mut before: Vec<Interview>, routes: &Routes, live: &Arc<Live>) -> Vec<Interview> {
    let mut interviews = Vec::new();
    let all = routes.iter().flat_map(|route| {
        let name = &route.config.name;
        route.config.outside.iter().map(move |gate| (name, gate))
    });
    for (route, gate) in all {
        let is_same = |known: &Interview| known.route == *route && known.gate == *gate;
        interviews.push(match before.iter().position(is_same) {
            Some(index) => before.swap_remove(index),
            None => Interview::new(route, gate, live),
        });
    }
    interviews
}

impl Interview {
    fn new(route: &Arc<str>, gate: &OutsideGate, live: &Arc<Live>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(ask_on(Arc::clone(route), gate.clone(), Arc::clone(live)));
        Self {
            route: Arc::clone(route),
            gate: gate.clone(),
            _task: task,
        }
    }
}

async fn ask_on(name: Arc<str>, gate: OutsideGate, live: Arc<Live>) {
    let mut ticks = tokio::time::interval(gate.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_lost = false;
    loop {
        ticks.tick().await;
        let Some(route) = live.route(&name).filter(|route| route.is_judged()) else {
            continue;
        };
        let asked = live.clock.now();
        let answer = ask(&gate, &live).await;
        tell_of(&answer, (&name, &gate), &mut is_lost);
        route.tell_answer(&gate.gate, answer, asked);
    }
}

/// Writes to the log when answers stop coming, and when they come again.
fn tell_of(answer: &Answer, (route, gate): (&str, &OutsideGate), is_lost: &mut bool) {
    let was_lost = std::mem::replace(is_lost, matches!(answer, Answer::None(_)));
    let (asked, gate) = (gate.remote.url.first(), &*gate.gate);
    match answer {
        Answer::None(problem) if !was_lost => {
            tracing::warn!(route, gate, %asked, %problem, "no answer for a gate");
        }
        Answer::Value(_) if was_lost => {
            tracing::info!(route, gate, %asked, "answers for a gate come again");
        }
        Answer::None(_) | Answer::Value(_) => {}
    }
}

async fn ask(gate: &OutsideGate, live: &Live) -> Answer {
    let message = Message {
        body: None,
        id: None,
        below: match &gate.question {
            Question::Promql(query) => Some(path_of(query)),
            Question::Url => None,
        },
    };
    let patience = gate.interval.min(PATIENCE_MAX);
    let answer = exchange(&gate.remote, message, patience, live).await;
    let found = answer
        .map_err(|failure: remote::Failure| failure.to_string())
        .and_then(|answer| match gate.question {
            Question::Promql(_) => of_prometheus(&answer, gate.interval, live.clock.now()),
            Question::Url => of_url(&answer),
        });
    match found {
        Ok(value) => Answer::Value(value),
        Err(problem) => Answer::None(problem.into()),
    }
}
