//! Keeps a CPU from halting at the lowest priority there is.
//!
//! A virtual CPU that halts takes tens of microseconds to come back, which hides the differences
//! that a latency run looks for.

use std::{ffi::OsString, hint, path::Path};

use crate::{
    child::{Child, Plan, own_program},
    failure::Failure,
};

/// Starts a spinner on the proxies' CPUs; says how it was done.
pub(crate) fn start(cpus: &[usize], directory: &Path) -> Result<(Child, &'static str), Failure> {
    let spin = [own_program()?.into_os_string(), OsString::from("spin")];
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let (mut command, how) = if crate::proxies::on_path("chrt").is_some() {
        (words("chrt --idle 0"), "SCHED_IDLE spinner")
    } else {
        (words("nice -n 19"), "nice 19 spinner (no chrt here)")
    };
    command.extend(spin);
    let child = Child::start(&Plan {
        name: "spinner",
        command,
        cpus,
        directory,
    })?;
    Ok((child, how))
}

/// Spins until it is ended from outside, by its parent or with it.
pub(crate) fn run() -> ! {
    loop {
        hint::spin_loop();
    }
}
