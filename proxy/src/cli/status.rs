//! `haldane status`: one screen, or waiting for a state.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::{Instant, sleep_until};

use super::Exit;
use super::client::{Client, Failure, Reply};
use super::output::{Form, Style, complain, say};
use super::view::{RouteView, Routes, VersionView, meant, path_of};

/// How often the state is looked at while it is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The route; all of them if it is left out
    route: Option<String>,
    /// Wait until the route is in this state
    #[arg(long, value_name = "STATE")]
    wait: Option<State>,
    /// How long to wait at most, such as 90s or 15m
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = super::duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    form: Form,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum State {
    /// The rollout is over: the version before is not needed any more
    #[value(name = "complete")]
    Complete,
    /// There is no plan, or it has not begun
    #[value(name = "idle")]
    Idle,
    /// Every gate passes
    #[value(name = "pass")]
    Pass,
    /// Nothing moves but by command
    #[value(name = "paused")]
    Paused,
    /// The plan is walked
    #[value(name = "progressing")]
    Progressing,
    /// The canary has all traffic
    #[value(name = "promoted")]
    Promoted,
    /// The canary has lost its traffic
    #[value(name = "rolled_back")]
    RolledBack,
}

impl State {
    fn is_reached(self, route: &RouteView) -> bool {
        let phase = route.phase.as_str();
        match self {
            Self::Complete => phase == "complete",
            Self::Idle => phase == "idle",
            Self::Pass => route.verdict == "pass" && !is_rolled_back(route),
            Self::Paused => phase == "paused",
            Self::Progressing => phase == "progressing",
            Self::Promoted => matches!(phase, "promoted" | "complete"),
            Self::RolledBack => is_rolled_back(route),
        }
    }

    /// What waiting for this state ends with, if it ends where the route stands: it is
    /// reached, or nothing goes on by itself.
    pub(crate) fn end(self, route: &RouteView) -> Option<Exit> {
        if self.is_reached(route) {
            Some(Exit::Done)
        } else if is_rolled_back(route) {
            Some(Exit::RolledBack)
        } else if route.phase == "paused" {
            Some(Exit::Paused)
        } else {
            None
        }
    }
}

fn is_rolled_back(route: &RouteView) -> bool {
    route.phase == "rolled_back"
}

pub(crate) async fn status(args: &Args, client: &Client, admin: &str) -> Result<Exit, Failure> {
    if let Some(state) = args.wait {
        let route = meant(client, args.route.as_deref()).await?;
        return wait(args, state, &route, client, admin).await;
    }
    match &args.route {
        Some(route) => {
            let reply = client.get(&path_of(route, "")).await?;
            show(args.form, &reply, &[reply.read()?], admin);
        }
        None => {
            let reply = client.get("/v1/routes").await?;
            let all: Routes = reply.read()?;
            show(args.form, &reply, &all.into_routes(), admin);
        }
    }
    Ok(Exit::Done)
}

async fn wait(
    args: &Args,
    state: State,
    route: &str,
    client: &Client,
    admin: &str,
) -> Result<Exit, Failure> {
    let path = path_of(route, "");
    let deadline = Instant::now() + args.timeout;
    loop {
        let reply = client.get(&path).await?;
        let view: RouteView = reply.read()?;
        let exit = state.end(&view).or_else(|| {
            let is_over = Instant::now() >= deadline;
            is_over.then(|| {
                complain(format_args!("timed out after {:?}", args.timeout));
                Exit::TimedOut
            })
        });
        if let Some(exit) = exit {
            show(args.form, &reply, &[view], admin);
            return Ok(exit);
        }
        sleep_until(deadline.min(Instant::now() + LOOK_INTERVAL)).await;
    }
}

fn show(form: Form, reply: &Reply, routes: &[RouteView], admin: &str) {
    if form.is_json() {
        say(reply.text());
        return;
    }
    let style = Style::of(&io::stdout());
    let screens: Vec<String> = routes
        .iter()
        .map(|route| screen(route, style, admin))
        .collect();
    say(screens.join("\n\n"));
}

/// A route for people. `admin` is what commands must carry to reach the same haldane.
pub(crate) fn screen(route: &RouteView, style: Style, admin: &str) -> String {
    let mut text = String::new();
    let phase = match route.phase.as_str() {
        "rolled_back" => style.bad("rolled back"),
        "paused" => style.bad("paused"),
        phase => style.strong(phase),
    };
    let share = if route.versions.canary.is_none() {
        "no canary".to_owned()
    } else if let Some(step) = step(route) {
        format!("canary has {}{step}", route.weight)
    } else if route.weight == route.configured_weight {
        format!("canary has {}", route.weight)
    } else {
        format!(
            "canary has {} (configured {})",
            route.weight, route.configured_weight
        )
    };
    let name = style.strong(&route.route);
    push(
        &mut text,
        format_args!(
            "route {name}: {phase}, generation {}, {share}",
            route.generation
        ),
    );
    push_why(&mut text, route, style);
    push(&mut text, format_args!("\n{}", table(route)));
    for (role, version) in versions(route) {
        for unhealthy in version.addresses.iter().filter(|one| !one.healthy) {
            let address = style.bad(&unhealthy.address);
            push(&mut text, format_args!("  {role}: {address} is unhealthy"));
        }
    }
    if !route.gates.is_empty() && route.versions.canary.is_some() {
        let verdict = style.verdict(&route.verdict, &route.verdict);
        push(&mut text, format_args!("\ngates: {verdict}"));
        for gate in &route.gates {
            let verdict = style.verdict(&gate.verdict, format_args!("{:12}", gate.verdict));
            push(&mut text, format_args!("  {verdict}  {}", gate.sentence));
        }
    }
    if route.versions.canary.is_some() && !route.commands.is_empty() {
        push(&mut text, "\nlegal now:");
        for command in &route.commands {
            let share = match command.as_str() {
                "weight" => " SHARE",
                "promote" if route.rollout.is_none() => " --full",
                _ => "",
            };
            push(
                &mut text,
                format_args!("  haldane{admin} {command} {}{share}", route.route),
            );
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Which step it is at, if there is a plan.
fn step(route: &RouteView) -> Option<String> {
    let rollout = route.rollout.as_ref()?;
    let steps = rollout.steps.iter().enumerate().map(|(index, step)| {
        if u32::try_from(index + 1) == Ok(rollout.step) {
            format!("[{}]", step.weight)
        } else {
            step.weight.clone()
        }
    });
    let steps: Vec<String> = steps.collect();
    Some(format!(", plan {}", steps.join(" ")))
}

/// Why it stands where it does, and what it waits for.
fn push_why(text: &mut String, route: &RouteView, style: Style) {
    let ago = |at: Option<u64>| {
        let ago = at.map(|at| Duration::from_micros(route.at.saturating_sub(at)));
        ago.map_or_else(String::new, |ago| format!(" {} ago", coarse(ago)))
    };
    if let Some(cause) = &route.cause {
        let cause = style.bad(cause);
        if route.paused_at.is_some() {
            push(
                text,
                format_args!("paused{} by {cause}", ago(route.paused_at)),
            );
        } else {
            let ago = ago(route.rolled_back_at);
            push(text, format_args!("rolled back{ago} by {cause}"));
        }
    }
    if route.completed_at.is_some() {
        let ago = ago(route.completed_at);
        push(
            text,
            format_args!("complete{ago}: the version before is not needed any more"),
        );
    }
    if let Some(frozen) = &route.frozen {
        push(text, format_args!("frozen: {}", style.bad(&frozen.why)));
    }
    if let Some(refused) = &route.rollback_refused {
        push(
            text,
            format_args!("not rolled back: {}", style.bad(refused)),
        );
    }
    if let Some(observed) = &route.observed {
        push(text, format_args!("only told: {}", style.bad(observed)));
    }
    if let Some(waits_for) = &route.waits_for {
        push(text, format_args!("waits for {waits_for}"));
    }
}

fn push(text: &mut String, line: impl std::fmt::Display) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

fn table(route: &RouteView) -> String {
    let mut rows = vec![
        [
            "",
            "version",
            "requests",
            "in flight",
            "failures",
            "p50",
            "p95",
            "p99",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(versions(route).map(|(role, version)| row(role, version)));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| widest(rows.iter().map(|row| row[column].as_str())))
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                // Names to the left, numbers to the right.
                let _ = if column < 2 {
                    write!(line, "  {cell:<width$}")
                } else {
                    write!(line, "  {cell:>width$}")
                };
            }
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Both versions, by the names of their roles.
pub(crate) fn versions(route: &RouteView) -> impl Iterator<Item = (&'static str, &VersionView)> {
    let canary = route.versions.canary.iter();
    std::iter::once(("stable", &route.versions.stable))
        .chain(canary.map(|version| ("canary", version)))
}

fn row(role: &str, version: &VersionView) -> Vec<String> {
    let times = &version.ttfb_seconds;
    vec![
        role.to_owned(),
        version.version.clone(),
        version.requests.to_string(),
        version.in_flight.to_string(),
        failures(version),
        time(times.p50),
        time(times.p95),
        time(times.p99),
    ]
}

/// How many requests failed, and which share.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage on a screen needs no 52 bits"
)]
pub(crate) fn failures(version: &VersionView) -> String {
    match (version.failures, version.requests) {
        (0, _) | (_, 0) => version.failures.to_string(),
        (failures, requests) => {
            let percent = failures as f64 / requests as f64 * 100.0;
            format!("{failures} ({percent:.2}%)")
        }
    }
}

/// A time in milliseconds, or a dash where nothing was measured.
pub(crate) fn time(seconds: Option<f64>) -> String {
    match seconds.map(|seconds| seconds * 1e3) {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2}ms"),
        Some(ms) if ms < 100.0 => format!("{ms:.1}ms"),
        Some(ms) => format!("{ms:.0}ms"),
    }
}

/// How long ago, in the largest unit that fits.
fn coarse(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}
