//! Rollouts that walk their plan by themselves, and people who steer them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually::{eventually, some};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

mod begin;
mod dark;
mod delivery;
mod people;
mod reloads;
mod rings;
mod waiting;

/// A gate that some hundred requests are enough for.
pub(crate) const GATE: &str = "[[route.gate]]\n\
    name = \"errors\"\n\
    metric = \"error_rate\"\n\
    rollback = \"stable + 20pp\"\n\
    advance = \"stable + 15pp\"";

/// What stable and the canary of a test are, and haldane in front of them.
struct Walk {
    _stable: Upstream,
    canary: Upstream,
    proxy: Proxy,
}

/// A route with this `[route.rollout]`, whose canary is asked for by name too.
fn setup(stable: &Upstream, canary: &Upstream, rollout: &str) -> Setup {
    Setup::stable(stable)
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\" }}",
            canary.url()
        ))
        .section(
            "[route.sticky]\nkey = \"header:x-user\"\nsalt = \"tests\"\n\
             force = { header = \"x-version\", from = [\"127.0.0.0/8\"] }",
        )
        .section(&format!("[route.rollout]\n{rollout}"))
}

impl Walk {
    fn start(rollout: &str) -> Self {
        Self::with(rollout, GATE)
    }

    fn with(rollout: &str, gate: &str) -> Self {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let proxy = setup(&stable, &canary, rollout).section(gate).start();
        Self {
            _stable: stable,
            canary,
            proxy,
        }
    }

    /// Waits until the route is in this phase.
    #[track_caller]
    fn until(&self, phase: &str) -> Value {
        some(phase, || {
            let status = self.proxy.status();
            (status["phase"] == phase).then_some(status)
        })
    }

    /// Gives a command: status and answer.
    fn command(&self, verb: &str, body: &Value) -> (u16, Value) {
        let path = format!("/v1/routes/default/{verb}");
        self.proxy.admin("POST", &path, body)
    }

    /// What has happened, as `kind` or `kind weight`.
    fn story(&self) -> Vec<String> {
        let events = self.proxy.events(0);
        let told = |event: &Value| {
            let weight = event.get("to").or_else(|| event.get("weight"));
            let kind = event["kind"].as_str().unwrap_or_default();
            match weight.and_then(Value::as_str) {
                Some(weight) => format!("{kind} {weight}"),
                None => kind.to_owned(),
            }
        };
        events.iter().map(told).collect()
    }

    /// Which version answers this user.
    fn version_of(&self, user: &str, fields: &[(&str, &str)]) -> String {
        let fields: Vec<_> = fields.iter().copied().chain([("x-user", user)]).collect();
        self.proxy.get("/", &fields).text()
    }
}

/// Requests of one user after another, until it is dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(proxy: &Proxy) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicU64::new(0));
        let threads = (0..2).map(|thread| {
            let (stop, failed) = (Arc::clone(&stop), Arc::clone(&failed));
            let address = proxy.address;
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut user = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    user += 1;
                    let user = format!("{thread}-{user}");
                    if client.get("/", &[("x-user", &user)]).status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            failed,
        }
    }

    /// Stops, and says how many requests have failed.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("every request is answered");
        }
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The standard plan with seconds for days.
const STANDARD: &str = "steps = [\"2% for 1s and 20 requests\", \"10% for 1s\", \
    \"50% for 1s\", \"100%\"]\nbake = \"1s\"";

#[test]
fn a_healthy_canary_walks_the_whole_plan() {
    let walk = Walk::start(STANDARD);
    let load = Load::on(&walk.proxy);
    // Longer than one may wait for one thing: there are five.
    for phase in ["progressing", "promoted", "complete"] {
        for _ in 0..3 {
            let status = walk.proxy.status();
            if status["phase"] == phase || status["phase"] == "complete" {
                break;
            }
            let seq = walk.proxy.live.events.last();
            eventually("something happens", || walk.proxy.live.events.last() > seq);
        }
    }
    let status = walk.until("complete");
    assert_eq!(load.end(), 0);
    assert_eq!(status["weight"], "100%");
    assert_eq!(
        walk.story(),
        [
            "started 2%",
            "progressed 10%",
            "progressed 50%",
            "promoted",
            "completed 100%"
        ]
    );
    assert_eq!(status["commands"], json!(["weight", "rollback"]));
    for (result, count) in [("completed", 1), ("rolled_back", 0)] {
        let labels = [&*format!("result=\"{result}\"")];
        for metric in [
            "haldane_rollouts_total",
            "haldane_rollout_duration_seconds_count",
        ] {
            assert_eq!(walk.proxy.metric(metric, &labels), count, "{result}");
        }
    }
    assert_eq!(walk.version_of("anybody", &[]), "canary");
}

#[test]
fn a_canary_that_breaks_at_any_step_ends_rolled_back() {
    let gates = format!(
        "{GATE}\n[[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = 10"
    );
    for weight in ["2%", "10%", "50%", "100%"] {
        let walk = Walk::with(STANDARD, &gates);
        let load = Load::on(&walk.proxy);
        some(weight, || {
            let status = walk.proxy.status();
            (status["weight"] == weight).then_some(())
        });
        walk.canary.behave(Behaviour::Status(500));
        let status = walk.until("rolled_back");
        load.end();
        assert_eq!(status["weight"], "0%");
        let story = walk.story();
        assert_eq!(story.last().map(String::as_str), Some("rolled_back"));
        let before = &story[story.len() - 2];
        assert!(before.contains(weight) || before == "promoted", "{story:?}");
    }
}

#[test]
fn a_step_says_what_it_waits_for() {
    let walk = Walk::start("steps = [\"5% for 1h and 500 requests\", \"100%\"]");
    let status = walk.until("progressing");
    let waits = status["waits_for"].as_str().unwrap();
    assert!(
        waits.starts_with("its hold: ") && waits.ends_with(" and 500 requests left"),
        "{waits}"
    );
    assert_eq!(status["rollout"]["step"], 1);
    assert_eq!(status["rollout"]["next_weight"], "100%");
    assert_eq!(status["rollout"]["steps"][0]["hold_requests"], 500);
    let step = crate::reload::metric(&walk.proxy, "haldane_rollout_step");
    assert_eq!(step.as_deref(), Some("{route=\"default\"} 1.0"));
}

#[test]
fn a_step_without_evidence_waits_and_then_pauses() {
    let walk = Walk::start("steps = [\"5% for 1s\", \"100%\"]\nmax_hold = \"1s\"");
    let status = walk.until("paused");
    assert_eq!(status["weight"], "5%");
    let cause = status["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("no verdict in time: errors: waits for"),
        "{cause}"
    );
    assert_eq!(status["verdict"], "inconclusive");
}

#[test]
fn a_breach_pauses_or_is_told_if_the_plan_says_so() {
    let meltdown =
        "[[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = 3";
    for (on_breach, phase, kind) in [
        ("pause", "paused", "paused 50%"),
        ("observe", "progressing", "breached 50%"),
    ] {
        let plan = format!("steps = [\"50% for 1h\", \"100%\"]\non_breach = \"{on_breach}\"");
        let walk = Walk::with(&plan, meltdown);
        walk.until("progressing");
        walk.canary.behave(Behaviour::Status(500));
        let load = Load::on(&walk.proxy);
        eventually(kind, || {
            walk.story().last().is_some_and(|last| last == kind)
        });
        let status = walk.proxy.status();
        load.end();
        assert_eq!(status["phase"], phase);
        assert_eq!(status["weight"], "50%");
        assert_eq!(status["verdict"], "fail");
    }
}
