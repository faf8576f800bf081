//! One worker, two, and two processes of one each, which share nothing but the machine.
//!
//! Where there are two CPUs the load shares one with the second worker, and sleeps while it has
//! nothing to do. With a small request at a time on each connection it takes as much of them as
//! haldane does, so that the cost can be compared and the rate cannot. With many calls at a time on
//! few connections it takes a quarter of that, and both workers have most of a CPU.

use super::{Part, Row, part, row};
use crate::{
    args::Scale,
    case::{Case, Kind},
    cpus,
    failure::Failure,
    proxies::Proxy,
    verbs::{
        Bench,
        slice::{Contender, Load, Slice},
        turns,
    },
};

/// A contender on its CPUs.
struct Team {
    contender: Contender,
    /// The load is on one of them.
    shares_cpu: bool,
}

pub(super) fn run(arguments: &Scale, bench: &mut Bench) -> Result<[Part; 2], Failure> {
    let before = (bench.setup.workers, bench.setup.cpus.clone());
    let mut teams = [
        Team::start(1, 1, bench)?,
        Team::start(2, 2, bench)?,
        Team::start(1, 2, bench)?,
    ];
    (bench.setup.workers, bench.setup.cpus) = before;
    let gets = Case::new(Kind::Get);
    let calls = Case::new(Kind::Grpc).with_streams(CALLS);
    let loads = [
        Load::usual(&gets, arguments.seconds),
        Load {
            case: &calls,
            connections: CONNECTIONS,
            time: arguments.seconds,
        },
    ];
    let mut slices: [[Vec<Slice>; 3]; 2] = Default::default();
    for round in 0..arguments.rounds {
        for at in turns(teams.len(), round) {
            for (load, slices) in loads.iter().zip(&mut slices) {
                slices[at].append(&mut teams[at].turn(load, bench)?);
            }
        }
    }
    let [gets, calls] = &slices;
    let many = format!(
        "{}; {CALLS} at a time on each of {CONNECTIONS} connections",
        Kind::Grpc.title()
    );
    Ok([
        part("workers", Kind::Get.title(), arguments, rows("", gets)),
        part("workers", &many, arguments, rows("calls: ", calls)),
    ])
}

impl Team {
    /// As many processes of so many workers as there are to be CPUs for.
    fn start(workers: usize, cpus: usize, bench: &mut Bench) -> Result<Self, Failure> {
        let plan = cpus::Plan::new(cpus)?;
        let shares_cpu = plan.warning.is_some();
        let warning = plan.warning.filter(|new| !bench.notes.contains(new));
        bench.notes.extend(warning);
        (bench.setup.workers, bench.setup.cpus) = (workers, plan.proxy);
        let contender = if cpus > workers {
            Contender::start_twins(Proxy::Haldane, bench)
        } else {
            Contender::start(Proxy::Haldane, bench)
        };
        Ok(Self {
            contender: contender?,
            shares_cpu,
        })
    }

    fn turn(&mut self, load: &Load<'_>, bench: &mut Bench) -> Result<Vec<Slice>, Failure> {
        bench.engine.share_cpu(self.shares_cpu);
        let done = self.contender.turn(load, bench);
        bench.engine.share_cpu(false);
        done.map(|()| std::mem::take(&mut self.contender.slices))
    }
}

fn rows(what: &str, [one, two, twins]: &[Vec<Slice>; 3]) -> Vec<Row> {
    let row = |name, slices, base| row("workers", &format!("{what}{name}"), slices, base);
    vec![
        row("1", one, one),
        row("2", two, one),
        row("two processes of 1", twins, one),
        row("2, to two processes", two, twins),
    ]
}

/// With these the load has little to do for each.
const CALLS: usize = 50;
const CONNECTIONS: usize = 16;
