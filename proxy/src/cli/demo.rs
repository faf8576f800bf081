//! `haldane demo`: two toy versions, load and the proxy in one process; ends by itself.
//!
//! Nothing in it is told how it should end. The toys and the clients speak HTTP over
//! real sockets, the state is asked for over the admin API, and the report at the end
//! compares what three sides counted: the proxy, the canary itself, and the clients.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::ValueEnum;
use haldane_config::{Overrides, Source, load};
use tokio::sync::oneshot;

use super::Exit;
use super::client::{Client, Failure};
use super::output::say;
use crate::app::App;
use crate::clock::Clock;

mod course;
mod load;
mod report;
mod stats;
mod toy;

use course::Course;
use load::{Load, USERS};
use stats::Stats;
use toy::{Fault, Toys};

/// The canary's share.
const WEIGHT: &str = "10%";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What is wrong with the canary
    #[arg(long, value_enum, default_value_t = Scenario::Errors)]
    scenario: Scenario,
    /// Port of the proxy on 127.0.0.1; 0 is any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the admin API on 127.0.0.1; 0 is any that is free
    #[arg(long, default_value_t = 0)]
    admin_port: u16,
}

/// What becomes wrong with the canary after a few good seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Scenario {
    /// Nothing: both are the same, and both fail or are slow now and then
    Aa,
    /// It answers 500
    Errors,
    /// Nothing
    Good,
    /// It does not answer any more
    Hang,
    /// It answers much later than stable
    Slow,
}

impl Scenario {
    /// Whether the canary is worse than stable.
    const fn is_bad(self) -> bool {
        match self {
            Self::Aa | Self::Good => false,
            Self::Errors | Self::Hang | Self::Slow => true,
        }
    }

    /// What is wrong with both versions from the start.
    const fn common_fault(self) -> Fault {
        match self {
            Self::Aa => Fault::Worn,
            Self::Errors | Self::Good | Self::Hang | Self::Slow => Fault::None,
        }
    }
}

/// Runs the demo and judges what was measured.
pub(crate) async fn demo(args: &Args) -> Exit {
    let result = match Stand::build(args) {
        Ok(stand) => stand.run(args.scenario).await,
        Err(why) => Err(Failure::Request(why)),
    };
    result.unwrap_or_else(|failure| {
        // Whatever it was, everything that took part is ours.
        failure.report();
        Exit::Runtime
    })
}

/// Everything that takes part, ready to begin.
struct Stand {
    app: App,
    /// Everybody's clock: moments that different sides saw can be compared.
    clock: Clock,
    toys: Toys,
    proxy: SocketAddr,
    /// URL of the admin API.
    admin: String,
}

impl Stand {
    fn build(args: &Args) -> Result<Self, String> {
        let toys = Toys::bind().map_err(|error| error.to_string())?;
        let source = Source {
            name: "demo".to_owned(),
            text: configuration(args, &toys),
        };
        let loaded = load(Some(&source), &Overrides::default())
            .map_err(|diagnostics| diagnostics.to_string())?;
        let app = App::bind(loaded.config).map_err(|error| error.to_string())?;
        let admin = app.admin_addr().map_err(|error| error.to_string())?;
        Ok(Self {
            clock: app.live().clock,
            toys,
            proxy: *app.data_addrs().first().ok_or("nothing listens")?,
            admin: format!("http://{admin}"),
            app,
        })
    }

    async fn run(self, scenario: Scenario) -> Result<Exit, Failure> {
        let client = Client::new(&self.admin, None)?;
        introduce(scenario, self.proxy, &self.admin);
        let stats = Arc::new(Stats::default());
        let canary = self.toys.start(self.clock, scenario.common_fault());
        let canary = canary.map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let course = async {
            let load = Load::start(self.proxy, self.clock, Arc::clone(&stats)).map_err(failed)?;
            let course = Course::new(scenario, self.clock, &client, &stats, &canary);
            let result = course.run(load).await;
            // Nobody waits for it if the proxy has ended by itself.
            let _ = stop.send(());
            result
        };
        let (served, outcome) = tokio::join!(
            self.app.run(async {
                drop(stopped.await);
            }),
            course
        );
        served.map_err(failed)?;
        Ok(report::report(scenario, &outcome?, &stats, &canary))
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Request(error.to_string())
}

fn configuration(args: &Args, toys: &Toys) -> String {
    let Args {
        port, admin_port, ..
    } = args;
    let [stable, canary] = toys.addresses();
    format!(
        r#"
listen = "127.0.0.1:{port}"
workers = 2
drain = {{ linger = "0s", timeout = "2s" }}
[admin]
listen = "127.0.0.1:{admin_port}"
[[route]]
name = "demo"
stable = {{ version = "v1", upstream = "http://{stable}" }}
canary = {{ version = "v2", upstream = "http://{canary}" }}
weight = "{WEIGHT}"
[route.sticky]
key = "header:{}"
"#,
        load::USER_HEADER
    )
}

fn introduce(scenario: Scenario, proxy: SocketAddr, admin: &str) {
    let will = match scenario {
        Scenario::Aa => "v2 is v1 once more, and both fail or are slow now and then",
        Scenario::Errors => "soon v2 will answer 500",
        Scenario::Good => "v2 is as good as v1",
        Scenario::Hang => "soon v2 will not answer any more",
        Scenario::Slow => "soon v2 will answer much later than v1",
    };
    say(format_args!(
        "\
v1 is stable, v2 is the canary and has {WEIGHT} of {USERS} users; {will}
  proxy    http://{proxy}
  look at  {admin}/
  status   haldane status --admin {admin}
  or       curl -s {admin}/v1/routes
  metrics  curl -s {admin}/metrics
"
    ));
}
