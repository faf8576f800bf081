//! Debian's Prometheus.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;

use super::tls::Directory;
use super::tools::{Server, tool};

/// Prometheus, which scrapes the target four times a second, and where it is asked.
pub(crate) fn prometheus(directory: &Directory, target: SocketAddr) -> (Server, SocketAddr) {
    let config = format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\nscrape_configs:\n\
         - job_name: tested\n  static_configs:\n  - targets: ['{target}']\n"
    );
    let path = directory.path("prometheus.yml");
    std::fs::write(&path, config).expect("writes");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = free.local_addr().expect("is bound");
    drop(free);
    let server = Server::spawn(
        tool("prometheus", "prometheus")
            .arg(format!("--config.file={path}"))
            .arg(format!("--storage.tsdb.path={}", directory.path("data")))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null()),
    );
    (server, address)
}
