//! Peers that are not ours: clients and servers that people use, at first without haldane,
//! which is a test of the peers, and then with it between them.

use std::collections::BTreeMap;

use super::support::client::Client;
use super::support::eventually::some;
use super::support::proxy::Proxy;
use super::support::tls::{Authority, Directory};

mod browser;
mod grpc;
mod http2;
mod websocket;

/// haldane between a client and what the lines of its only route say.
struct Between {
    listen: String,
    drain: &'static str,
    tables: String,
    route: String,
}

/// A certificate for `localhost`, in files.
pub(crate) struct Certificate {
    directory: Directory,
}

impl Between {
    /// All requests go to the stable version, which is at this URL.
    fn stable(url: &str) -> Self {
        Self {
            listen: "\"127.0.0.1:0\"".to_owned(),
            drain: "200ms",
            tables: String::new(),
            route: format!("stable = {{ version = \"v1\", upstream = \"{url}\" }}\n"),
        }
    }

    /// The same over TLS, with a certificate like this one.
    fn encrypted(url: &str, certificate: &Certificate) -> Self {
        let mut between = Self::stable(url);
        let ca = format!("{{ ca = \"{}\",", certificate.ca());
        between.route = between.route.replacen('{', &ca, 1);
        between
    }

    /// This share of the users goes to a canary at this URL.
    fn canary(self, url: &str, weight: &str) -> Self {
        self.route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{url}\" }}\nweight = \"{weight}\"\n\
             sticky = {{ key = \"header:x-user\", salt = \"tests\" }}"
        ))
    }

    /// Adds lines to the route.
    fn route(mut self, lines: &str) -> Self {
        self.route = format!("{}{lines}\n", self.route);
        self
    }

    /// What is under way when haldane ends may take this long.
    fn drain(mut self, timeout: &'static str) -> Self {
        self.drain = timeout;
        self
    }

    /// Clients are to speak TLS.
    fn tls(mut self, certificate: &Certificate) -> Self {
        self.listen = "{ address = \"127.0.0.1:0\", tls = \"edge\" }".to_owned();
        self.tables = format!(
            "[tls.edge]\ncert = \"{}\"\nkey = \"{}\"\n",
            certificate.cert(),
            certificate.key()
        );
        self
    }

    #[track_caller]
    fn start(&self) -> Proxy {
        Proxy::start(&format!(
            "listen = {}\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
             drain = {{ linger = \"0s\", timeout = \"{}\" }}\n{}[[route]]\n{}",
            self.listen, self.drain, self.tables, self.route
        ))
    }
}

impl Certificate {
    pub(crate) fn new(test: &str) -> Self {
        let (authority, directory) = (Authority::new(), Directory::new(test));
        directory.write_pair("localhost", &authority.issue("localhost"));
        std::fs::write(directory.path("ca.crt"), authority.pem()).expect("is writable");
        Self { directory }
    }

    /// A file beside it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path(name)
    }

    pub(crate) fn cert(&self) -> String {
        self.directory.path("localhost.crt")
    }

    pub(crate) fn key(&self) -> String {
        self.directory.path("localhost.key")
    }

    /// Who signed it.
    fn ca(&self) -> String {
        self.directory.path("ca.crt")
    }
}

/// The sum of the series with this name that have all these labels.
#[track_caller]
fn metric(proxy: &Proxy, name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    let text = client.answer_to("GET").text();
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?.strip_prefix('{')?;
        let has_all = wanted.iter().all(|label| rest.contains(label.as_str()));
        has_all.then(|| value.parse::<f64>().expect("a number"))
    });
    series.sum()
}

/// Waits until that sum is this one, and fails with what it was instead: an outcome is
/// counted with the end of a response, which its client may have read before.
#[track_caller]
fn assert_counted(proxy: &Proxy, name: &str, labels: &[(&str, &str)], expected: usize) {
    let mut found = BTreeMap::new();
    let what = format!("{name} {labels:?} is {expected}");
    some(&what, || {
        let value = metric(proxy, name, labels);
        *found.entry(format!("{value}")).or_insert(0) += 1;
        assert!(value <= expected as f64, "{what}: it was {found:?}");
        ((value - expected as f64).abs() < 1e-9).then_some(())
    });
}
