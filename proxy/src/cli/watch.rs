//! `haldane watch`: what happens, as it happens; a screen on a terminal, lines elsewhere.
//!
//! It is told by `GET /v1/stream`. When the connection is lost it says so and tries again
//! until somebody ends it: a haldane that restarts is what one wants to see.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::Exit;
use super::client::{Client, Failure};
use super::output::{Form, complain, is_unread, say, tell};
use super::status::State;
use super::view::{Routes, meant};
use crate::clock::Clock;

#[cfg(feature = "tui")]
mod board;
mod feed;
#[cfg(feature = "tui")]
mod full;
mod lines;
#[cfg(feature = "tui")]
mod screen;
mod sse;
mod standing;
#[cfg(feature = "tui")]
mod terminal;

use feed::{Told, listen};
use lines::{Lines, connection, object};

/// How often it is seen whether anybody reads the lines.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is told, until it cannot be any more.
type Feed = mpsc::Receiver<Result<Told, Failure>>;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The route; all of them if it is left out
    route: Option<String>,
    /// End when the route is in this state, as `status --wait` does: 10 if it is rolled back
    /// before, 13 if it is paused
    #[arg(long, value_name = "STATE")]
    until: Option<State>,
    /// Lines on a terminal too
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    form: Form,
}

/// What the view ends with, beside being told to end.
#[derive(Debug)]
struct Goal {
    state: Option<State>,
    route: Option<String>,
}

/// Whoever tells the view to end with a signal.
struct Signals([Signal; 3]);

pub(crate) async fn watch(args: &Args, client: &Client) -> Result<Exit, Failure> {
    let reply = client.get("/v1/routes").await?;
    let routes: Routes = reply.read()?;
    let route = match (&args.route, args.until) {
        (None, None) => None,
        (name, _) => Some(meant(client, name.as_deref()).await?),
    };
    if let Some(name) = &route
        && !routes.routes.iter().any(|route| route.route == *name)
    {
        return Err(Failure::Request(format!("there is no route {name:?}")));
    }
    let goal = Goal {
        state: args.until,
        route,
    };
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            complain(error);
            return Ok(Exit::Runtime);
        }
    };
    let wants_screen = !args.plain && !args.form.is_json();
    #[cfg(not(feature = "tui"))]
    let _ = wants_screen;
    #[cfg(feature = "tui")]
    if wants_screen && full::is_possible() {
        match terminal::Screen::open() {
            Ok(screen) => return full::watch(screen, client, routes, &goal, signals).await,
            Err(error) => tell(format_args!("no screen, only lines: {error}")),
        }
    }
    in_lines(args.form, &goal, listen(client, routes.seq), signals).await
}

async fn in_lines(
    form: Form,
    goal: &Goal,
    mut feed: Feed,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    let clock = Clock::start();
    let mut lines = Lines::new(goal.route.clone());
    let mut ticks = interval(LOOK_INTERVAL);
    loop {
        let told = tokio::select! {
            told = feed.recv() => told,
            () = signals.any() => return Ok(Exit::Done),
            _ = ticks.tick() => {
                if is_unread() {
                    return Ok(Exit::Done);
                }
                continue;
            }
        };
        let Some(told) = told.transpose()? else {
            return Ok(Exit::Done);
        };
        let now = clock.now().as_micros();
        if form.is_json() {
            match object(&told, goal.route.as_deref()) {
                Some(object) => say(object),
                // It is no object of the API.
                None => connection(&told, now).into_iter().for_each(tell),
            }
        } else {
            lines.of(&told, now).into_iter().for_each(say);
        }
        if let Some(exit) = goal.reached(&told) {
            return Ok(exit);
        }
    }
}

impl Goal {
    /// What to end with, if this says that it is time.
    fn reached(&self, told: &Told) -> Option<Exit> {
        let (Some(state), Told::Status(data)) = (self.state, told) else {
            return None;
        };
        let routes = serde_json::from_str::<Routes>(data).ok()?.into_routes();
        let route = routes
            .into_iter()
            .find(|route| Some(&route.route) == self.route.as_ref())?;
        state.end(&route)
    }
}

impl Signals {
    /// From now on they do not end the process.
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ]))
    }

    async fn any(&mut self) {
        let [hangup, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
