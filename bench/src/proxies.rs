//! The proxies that can be measured, and how each is started.

mod envoy;
pub(crate) mod haldane;
mod haproxy;
mod l4;
mod nginx;

use std::{
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;

use crate::{
    case::{Case, Kind, Protocol},
    check::Expectation,
    child::{Child, Plan, own_program},
    drive::Engine,
    failure::Failure,
    probe,
    process::Member,
    tls::Identity,
    wire::Target,
};

/// A proxy, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proxy {
    /// The proxy that this program is for.
    Haldane,
    /// The yardstick.
    Haproxy,
    /// For comparison.
    Nginx,
    /// For comparison, when its program is named by --envoy.
    Envoy,
    /// A relay of bytes: the floor.
    L4,
}

/// Where to find the programs, and what they share.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The haldane to measure, when not the one beside this program.
    pub(crate) haldane: Option<PathBuf>,
    /// The envoy to measure.
    pub(crate) envoy: Option<PathBuf>,
    /// Threads or processes of each proxy that serve.
    pub(crate) workers: usize,
    /// Where the proxies run.
    pub(crate) cpus: Vec<usize>,
    /// Open descriptors that each may have.
    pub(crate) descriptors: u64,
    /// What haldane is started by, with its arguments; nothing usually.
    pub(crate) wrapper: Vec<OsString>,
    /// How many routes haldane has besides the one that everything goes to.
    pub(crate) routes: usize,
    /// The certificate of every proxy.
    pub(crate) identity: Identity,
    /// For configuration and logs; removed when this is dropped.
    pub(crate) directory: tempfile::TempDir,
}

/// A proxy that answers.
#[derive(Debug)]
pub(crate) struct Running {
    /// Which.
    pub(crate) proxy: Proxy,
    ports: Ports,
    /// From its start to its first 200, in nanoseconds.
    pub(crate) start_ns: u64,
    child: Child,
}

/// Where a proxy listens, on loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// HTTP/1.1.
    pub(crate) http1: u16,
    /// HTTP/2 without TLS.
    pub(crate) http2: u16,
    /// Both, over TLS.
    pub(crate) tls: u16,
    /// For administration.
    pub(crate) admin: u16,
}

/// What a configuration is made from.
struct Site<'run> {
    ports: Ports,
    /// Ports of stable and canary.
    upstreams: [u16; 2],
    /// Of its own, for whatever it writes.
    directory: &'run Path,
    setup: &'run Setup,
}

/// How a proxy is started on a site.
struct Recipe {
    /// What to write into its configuration file, when it has one.
    configuration: Option<String>,
    /// The arguments, after the program; the path of the file goes last.
    arguments: Vec<OsString>,
    /// Port and path that answer 200 when it is ready, besides the proxy itself.
    ready: Option<(u16, &'static str)>,
}

impl Proxy {
    /// What it is called on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haldane => "haldane",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::L4 => "l4",
        }
    }

    /// How it distributes users.
    pub(crate) fn expectation(self) -> Expectation {
        match self {
            Self::Haldane | Self::Haproxy | Self::Nginx | Self::Envoy => Expectation::Split,
            Self::L4 => Expectation::StableOnly,
        }
    }

    /// Whether it can do what a load asks for. A relay understands nothing: it has no TLS, and the
    /// upstreams speak HTTP/2 to calls only.
    pub(crate) fn serves(self, kind: Kind) -> bool {
        let plain = !kind.tls() && kind != Kind::H2c;
        self != Self::L4 || plain
    }

    /// The program to run.
    ///
    /// # Errors
    /// When it is not there, with what would help.
    pub(crate) fn program(self, setup: &Setup) -> Result<PathBuf, Failure> {
        let missing = |help: &str| Failure::Missing(format!("{}: {help}", self.name()));
        match self {
            Self::Haldane => {
                let beside = || Ok(own_program()?.with_file_name("haldane"));
                let path = setup.haldane.clone().map_or_else(beside, Ok)?;
                if path.is_file() {
                    return Ok(path);
                }
                let path = path.display();
                Err(missing(&format!(
                    "no {path} (cargo build --release, or --haldane PATH)"
                )))
            }
            Self::Haproxy | Self::Nginx => {
                on_path(self.name()).ok_or_else(|| missing("not on PATH, install it"))
            }
            Self::Envoy => match &setup.envoy {
                Some(path) if is_program(path) => Ok(path.clone()),
                Some(path) => Err(missing(&format!("no program {}", path.display()))),
                None => Err(missing("name its program with --envoy PATH")),
            },
            Self::L4 => own_program(),
        }
    }

    /// Starts it and waits until it answers through to an upstream.
    pub(crate) fn start(self, setup: &Setup, engine: &mut Engine) -> Result<Running, Failure> {
        let program = self.program(setup)?;
        engine.upstreams.expect(&Case::new(Kind::Get));
        let ports = free_ports()?;
        let directory = setup
            .directory
            .path()
            .join(format!("{}-{}", self.name(), ports.http1));
        fs::create_dir_all(&directory).map_err(Failure::io("create a temporary directory"))?;
        let site = Site {
            ports,
            upstreams: engine.upstreams.ports(),
            directory: &directory,
            setup,
        };
        let recipe = match self {
            Self::Haldane => haldane::recipe(&site),
            Self::Haproxy => haproxy::recipe(&site),
            Self::Nginx => nginx::recipe(&site),
            Self::Envoy => envoy::recipe(&site),
            Self::L4 => l4::recipe(&site),
        };
        let mut command = match self {
            Self::Haldane => setup.wrapper.clone(),
            Self::Haproxy | Self::Nginx | Self::Envoy | Self::L4 => Vec::new(),
        };
        command.push(program.into_os_string());
        command.extend(recipe.arguments);
        if let Some(text) = recipe.configuration {
            let file = directory.join(format!("{}.conf", self.name()));
            fs::write(&file, text).map_err(Failure::io("write a configuration"))?;
            command.push(file.into_os_string());
        }
        let plan = Plan {
            name: self.name(),
            command,
            cpus: &setup.cpus,
            directory: &directory,
        };
        let mut child = Child::start(&plan)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports.http1));
        let answered_ns = probe::first_200(engine, &mut child, address, "/get")?;
        if let Some((port, path)) = recipe.ready {
            probe::first_200(engine, &mut child, ([127, 0, 0, 1], port).into(), path)?;
        }
        let started_ns = child
            .started_ns()
            .ok_or_else(|| child.failure("it answers, but its start was not noted"))?;
        let start_ns = answered_ns.saturating_sub(started_ns);
        Ok(Running {
            proxy: self,
            ports,
            start_ns,
            child,
        })
    }
}

impl Running {
    /// Where clients of a kind of load connect.
    pub(crate) fn target(&self, kind: Kind, setup: &Setup) -> Target {
        let http2 = kind.protocol() == Protocol::Http2;
        let port = match (kind.tls(), http2 && self.proxy != Proxy::L4) {
            (true, _) => self.ports.tls,
            (false, true) => self.ports.http2,
            (false, false) => self.ports.http1,
        };
        Target {
            address: ([127, 0, 0, 1], port).into(),
            tls: kind.tls().then(|| setup.identity.config(http2)),
        }
    }

    /// Where its administration is.
    pub(crate) fn admin(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.admin).into()
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Result<Vec<Member>, Failure> {
        self.child.tree()
    }

    /// Names the proxy in a violation, and adds what the proxy itself said last.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match (failure.within(self.proxy.name()), self.child.log_tail()) {
            (Failure::Violation(text), log) if !log.is_empty() => {
                Failure::Violation(format!("{text}\nits log ends:\n{log}"))
            }
            (failure, _) => failure,
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub(crate) fn finish(self, time: Duration) -> Result<(), Failure> {
        self.child.finish(time)
    }

    /// # Errors
    /// When it has ended.
    pub(crate) fn check_running(&mut self) -> Result<(), Failure> {
        self.child.check_running()
    }
}

/// A program's path, as the shell would find it; the places of system programs are tried too.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Ports that are free now; nothing else on the machine is known to race for them.
fn free_ports() -> Result<Ports, Failure> {
    let fail = |source| Failure::io("find a free port")(source);
    let bind = || TcpListener::bind(("127.0.0.1", 0)).map_err(fail);
    let listeners = [bind()?, bind()?, bind()?, bind()?];
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(fail)?.port();
    }
    let [http1, http2, tls, admin] = ports;
    Ok(Ports {
        http1,
        http2,
        tls,
        admin,
    })
}
