//! Before the first step of a generation: its gates are tried, and who must agree is asked.
//!
//! A plan does not begin before the gates have tripped on a canary that only fails, and
//! everybody in `pre` has said yes. Whatever stands against it is said in the status, and
//! looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::generation::Generation;
use haldane_decide::rollout::Preconditions;
use haldane_decide::weight::Weight;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ask::{Question, ask};
use super::beat::Beats;
use crate::live::events::{AgreementEvent, Happening};
use crate::live::{Live, Route};

/// What did not hold is looked at again after so long, and then after twice as long each
/// time.
const AGAIN: Duration = Duration::from_secs(1);

/// Never later than this.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// The last attempt for a route.
struct Attempt {
    generation: Generation,
    task: JoinHandle<()>,
    again: Instant,
    pause: Duration,
}

/// Runs for as long as the process does.
pub(crate) async fn look_after(live: Arc<Live>, beats: Beats) {
    let mut looks = beats.every(1);
    let mut attempts: HashMap<Arc<str>, Attempt> = HashMap::new();
    loop {
        looks.due().await;
        let now = Instant::now();
        let routes = live.routes();
        attempts.retain(|name, _| routes.iter().any(|route| route.config.name == *name));
        for route in routes.iter() {
            let Some(generation) = route.awaits_preconditions() else {
                continue;
            };
            let name = &route.config.name;
            let last = attempts.get(name);
            let of_this = last.filter(|last| last.generation == generation);
            let is_due = last.is_none_or(|last| last.task.is_finished())
                && of_this.is_none_or(|last| now >= last.again);
            if is_due {
                let pause = of_this.map_or(AGAIN, |last| (2 * last.pause).min(AGAIN_MAX));
                let attempt = attempt(Arc::clone(route), generation, Arc::clone(&live));
                let attempt = Attempt {
                    generation,
                    task: tokio::spawn(attempt),
                    again: now + pause,
                    pause,
                };
                attempts.insert(Arc::clone(name), attempt);
            }
        }
    }
}

/// Tries everything that must hold once.
async fn attempt(route: Arc<Route>, generation: Generation, live: Arc<Live>) {
    let told = match check(&route, generation, &live).await {
        Ok(agreements) => {
            for agreement in agreements {
                live.events.push(Happening::Agreement(agreement));
            }
            Preconditions::Met
        }
        Err(why) => {
            let name = &*route.config.name;
            tracing::warn!(route = name, %generation, why, "the rollout does not begin");
            Preconditions::Awaited(why.into())
        }
    };
    // A reload may have put another route in its place, which has the same release.
    if let Some(route) = live.route(&route.config.name) {
        route.tell_preconditions(generation, told);
    }
}

/// Who has said yes; a fragment that fits after "waits for" if something does not hold.
async fn check(
    route: &Arc<Route>,
    generation: Generation,
    live: &Arc<Live>,
) -> Result<Vec<AgreementEvent>, String> {
    let (of, shared) = (Arc::clone(route), Arc::clone(live));
    let drill = tokio::task::spawn_blocking(move || of.try_gates(generation.0, &shared));
    let drill = drill
        .await
        .map_err(|error| format!("a fire drill that ends: {error}"))?;
    if !drill.is_good() {
        let what = drill.sentence;
        return Err(format!(
            "gates that stop a broken canary: in the fire drill {what}"
        ));
    }
    let config = &route.config;
    let mut agreements = Vec::new();
    let Some(canary) = &config.canary else {
        return Ok(agreements);
    };
    let first = config.plan.steps().first();
    for hook in &config.pre {
        let question = Question {
            route: &config.name,
            version: &canary.name,
            stable_version: &config.stable.name,
            generation: generation.0,
            from: Weight::ZERO,
            to: first.map_or(Weight::ZERO, |step| step.weight),
        };
        let who = hook.remote.url.first();
        let answer = ask(&hook.remote, question, hook.timeout, live).await;
        let yes = answer.map_err(|refusal| format!("a yes of {who}: {refusal}"))?;
        agreements.push(AgreementEvent {
            at: live.clock.now(),
            route: Arc::clone(&config.name),
            generation,
            kind: "agreed",
            actor: who.to_string(),
            status: yes.status.as_u16(),
            reason: Some(yes.said).filter(|said| !said.is_empty()),
        });
    }
    Ok(agreements)
}
