//! Child processes that never outlive the run.
//!
//! A child is started through the hidden verb `launch` of this very program, which pins itself,
//! asks to be ended with its parent, notes the time, and becomes the wanted program. Its process id
//! stays the same. So nothing is left over even when the run itself is killed.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::{args::Launch, clock, cpus, failure::Failure, process as tree};

/// A running child; it is ended and reaped when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    name: &'static str,
    process: process::Child,
    log: PathBuf,
    stamp: PathBuf,
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan<'run> {
    /// For messages, and for the names of its files.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Where it may run; empty is anywhere.
    pub(crate) cpus: &'run [usize],
    /// For its log.
    pub(crate) directory: &'run Path,
}

impl Child {
    /// Starts it; it may need some time before it serves.
    pub(crate) fn start(plan: &Plan<'_>) -> Result<Self, Failure> {
        let doing = || format!("start {}", plan.name);
        let log = plan.directory.join(format!("{}.log", plan.name));
        let stamp = plan.directory.join(format!("{}.stamp", plan.name));
        let output = File::create(&log).map_err(Failure::io(doing()))?;
        let errors = output.try_clone().map_err(Failure::io(doing()))?;
        let mut command = Command::new(own_program()?);
        command.arg("launch").arg("--stamp").arg(&stamp);
        for cpu in plan.cpus {
            command.arg("--cpu").arg(cpu.to_string());
        }
        command.arg("--").args(&plan.command);
        // A process group of its own: an interrupt from the terminal comes to the run only, which
        // then ends its children in order.
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let process = command.spawn().map_err(Failure::io(doing()))?;
        Ok(Self {
            name: plan.name,
            process,
            log,
            stamp,
        })
    }

    /// It and its descendants.
    pub(crate) fn tree(&self) -> Result<Vec<tree::Member>, Failure> {
        tree::tree(self.process.id())
    }

    /// When it became the wanted program; `None` while it has not.
    pub(crate) fn started_ns(&self) -> Option<u64> {
        fs::read_to_string(&self.stamp).ok()?.trim().parse().ok()
    }

    /// # Errors
    /// When it has ended, with the end of its log.
    pub(crate) fn check_running(&mut self) -> Result<(), Failure> {
        let status = self
            .process
            .try_wait()
            .map_err(Failure::io("wait for a child"))?;
        match status {
            None => Ok(()),
            Some(status) => Err(self.failure(&status.to_string())),
        }
    }

    /// A failure that carries the end of the log.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let detail = format!("{what}\n{}", self.log_tail());
        Failure::Start {
            proxy: self.name,
            detail: detail.trim_end().to_owned(),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        // It may have ended in the meantime, which is what is wanted.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }

    /// All that it wrote to its standard output and error.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines of what it wrote to its standard output and error.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub(crate) fn finish(mut self, time: Duration) -> Result<(), Failure> {
        signal(self.process.id(), Signal::TERM);
        self.wait_at_most(time);
        match self.process.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(self.failure("it does not end")),
        }
    }

    fn wait_at_most(&mut self, time: Duration) {
        let end = clock::now_ns() + clock::ns(time);
        while matches!(self.process.try_wait(), Ok(None)) && clock::now_ns() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let tree = self.tree().unwrap_or_default();
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.process.id(), Signal::TERM);
            self.wait_at_most(TERM_TIME);
        }
        for member in tree.iter().filter(|member| member.is_alive()) {
            signal(member.pid, Signal::KILL);
        }
        self.wait_at_most(TERM_TIME);
    }
}

/// Becomes another program; returns only when that fails.
pub(crate) fn launch(launch: &Launch) -> Failure {
    match prepare(launch) {
        Ok(mut command) => Failure::io(format!("run {:?}", launch.command))(command.exec()),
        Err(failure) => failure,
    }
}

fn prepare(launch: &Launch) -> Result<Command, Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|errno| Failure::io("tie a child to its parent")(errno.into()))?;
    cpus::pin(&launch.cpus)?;
    let (program, arguments) = launch
        .command
        .split_first()
        .ok_or_else(|| Failure::Missing("the program to launch".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments);
    fs::write(&launch.stamp, clock::now_ns().to_string())
        .map_err(Failure::io("note the time of the start"))?;
    Ok(command)
}

/// The path of this program.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::io("find this program"))
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended in the meantime, which is what is wanted.
        let _ended = kill_process(pid, signal);
    }
}

/// How long a child may take to end by itself.
const TERM_TIME: Duration = Duration::from_secs(1);

/// How much of a log is shown: the last lines name the cause.
const LOG_TAIL: usize = 2000;
