//! Before the first step of a generation: its gates are tried.
//!
//! A plan does not begin before that has shown that they trip. Whatever stands against it
//! is said in the status, and looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::generation::Generation;
use haldane_decide::rollout::Preconditions;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::live::{Live, Route};

/// How often it is looked at whether a generation waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What did not hold is looked at again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// The last attempt for a route.
struct Attempt {
    generation: Generation,
    task: JoinHandle<()>,
    again: Instant,
}

/// Runs for as long as the process does.
pub(crate) async fn look_after(live: Arc<Live>) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attempts: HashMap<Arc<str>, Attempt> = HashMap::new();
    loop {
        let now = looks.tick().await;
        let routes = live.routes();
        attempts.retain(|name, _| routes.iter().any(|route| route.config.name == *name));
        for route in routes.iter() {
            let Some(generation) = route.awaits_preconditions() else {
                continue;
            };
            let name = &route.config.name;
            let is_due = attempts.get(name).is_none_or(|last| {
                last.task.is_finished() && (last.generation != generation || now >= last.again)
            });
            if is_due {
                let attempt = attempt(Arc::clone(route), generation, Arc::clone(&live));
                let attempt = Attempt {
                    generation,
                    task: tokio::spawn(attempt),
                    again: now + AGAIN,
                };
                attempts.insert(Arc::clone(name), attempt);
            }
        }
    }
}

/// Tries everything that must hold once.
async fn attempt(route: Arc<Route>, generation: Generation, live: Arc<Live>) {
    let told = match check(&route, generation, &live).await {
        Ok(()) => Preconditions::Met,
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

/// A fragment that fits after "waits for" if something does not hold.
async fn check(route: &Arc<Route>, generation: Generation, live: &Arc<Live>) -> Result<(), String> {
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
    Ok(())
}
