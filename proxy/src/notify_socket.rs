//! What the service manager is told: systemd's notification protocol (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` in the environment nobody asked, and nothing is told.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::monotonic_micros;

/// The listeners are up and the configuration is in force. Names this process as the
/// one that counts, which after a hand-over is news.
pub(crate) fn ready() {
    tell(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// The drain begins.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

/// A reload begins; [`ready`] says that it is over.
pub(crate) fn reloading() {
    tell(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}",
        monotonic_micros()
    ));
}

/// One line for people.
pub(crate) fn status(text: &str) {
    let line = text.lines().next().unwrap_or_default();
    tell(&format!("STATUS={line}"));
}

/// Says again and again that the calling task still runs, if the service manager wants
/// to know it; never returns.
pub(crate) async fn watchdog() {
    let variable = |name| std::env::var(name).ok();
    let asked = interval(
        variable("WATCHDOG_USEC").as_deref(),
        variable("WATCHDOG_PID").as_deref(),
        std::process::id(),
    );
    let Some(interval) = asked else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell("WATCHDOG=1");
    }
}

/// How often to say so: twice within the time that is allowed (sd_watchdog_enabled(3)).
fn interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok()?;
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    (meant && usec > 1).then(|| Duration::from_micros(usec / 2))
}

fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(name.as_bytes(), state) {
        tracing::debug!(%error, state, "cannot tell the service manager");
    }
}

fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not stop the control plane.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_by_whom_it_means() {
        let half_a_second = Some(Duration::from_millis(500));
        for (usec, pid, expected) in [
            (Some("1000000"), None, half_a_second),
            (Some("1000000"), Some("7"), half_a_second),
            (Some("1000000"), Some("8"), None),
            (Some("1000000"), Some(""), None),
            (Some("0"), None, None),
            (Some("1"), None, None),
            (Some("-1"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(interval(usec, pid, 7), expected, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn both_kinds_of_names_are_reached() {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("haldane-notify-{id}"));
        let named = UnixDatagram::bind(&path).expect("binds");
        let name = format!("haldane-notify-{id}");
        let address = SocketAddr::from_abstract_name(&name).expect("is short");
        let hidden = UnixDatagram::bind_addr(&address).expect("binds");
        let heard = |socket: &UnixDatagram, name: &[u8]| {
            send(name, "READY=1").expect("is sent");
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("comes");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(heard(&named, path.as_os_str().as_bytes()), "READY=1");
        assert_eq!(heard(&hidden, format!("@{name}").as_bytes()), "READY=1");
        std::fs::remove_file(&path).expect("is there");
        reloading();
        assert!(send(b"relative", "X").is_err());
    }
}
