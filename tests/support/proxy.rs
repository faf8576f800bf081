//! haldane itself, on a thread of the test or as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use haldane::app::App;
use haldane::live::Live;
use haldane::origin::Origin;
use haldane_config::{AdminAddress, Overrides, Source, load};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::client::{Client, Response, admin_request};
use super::eventually::{eventually, some};
use super::upstream::Upstream;

/// A configuration in the making.
#[derive(Clone)]
pub(crate) struct Setup {
    top: String,
    tables: String,
    route: String,
    sections: String,
    /// What `shield` says, if it says anything.
    shield: Option<&'static str>,
}

/// A running haldane. It is stopped when this is dropped.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where the admin API answers.
    pub(crate) admin_address: SocketAddr,
    /// Where metrics and health are answered besides.
    pub(crate) ops_address: Option<SocketAddr>,
    /// What requests and the control plane share.
    pub(crate) live: Arc<Live>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Setup {
    /// One route named `default` to one version, `v1`.
    pub(crate) fn stable(stable: &Upstream) -> Self {
        Self::stable_at(&stable.url())
    }

    /// The same for a version at this URL.
    pub(crate) fn stable_at(url: &str) -> Self {
        Self {
            top: "listen = \"127.0.0.1:0\"\nadmin = { listen = \"127.0.0.1:0\" }\n".to_owned(),
            tables: String::new(),
            route: format!("stable = {{ version = \"v1\", upstream = \"{url}\" }}\n"),
            sections: String::new(),
            shield: None,
        }
    }

    /// One route named `default` to `v1` and the canary `v2`. Clients see what the canary
    /// does, unless it is [`Setup::shielded`].
    pub(crate) fn canary(stable: &Upstream, canary: &Upstream, weight: &str) -> Self {
        Self::canary_at(&stable.url(), &canary.url(), weight)
    }

    /// The same for versions at these URLs.
    pub(crate) fn canary_at(stable: &str, canary: &str, weight: &str) -> Self {
        let unshielded = Self {
            shield: Some("off"),
            ..Self::stable_at(stable)
        };
        unshielded.route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{canary}\" }}\nweight = \"{weight}\""
        ))
    }

    /// What the canary fails is answered from stable where that is safe, as by default.
    pub(crate) fn shielded(self) -> Self {
        Self {
            shield: None,
            ..self
        }
    }

    /// Speaks HTTP/2 to all versions.
    pub(crate) fn upstreams_in_h2(self) -> Self {
        self.route("upstream_protocol = \"h2\"")
    }

    /// Where the text says `from` it says `to`.
    pub(crate) fn with(mut self, from: &str, to: &str) -> Self {
        for part in [
            &mut self.top,
            &mut self.tables,
            &mut self.route,
            &mut self.sections,
        ] {
            *part = part.replace(from, to);
        }
        self
    }

    /// Adds lines before all tables, like `workers = 1`.
    pub(crate) fn top(mut self, lines: &str) -> Self {
        self.top = format!("{}{lines}\n", self.top);
        self
    }

    /// Adds a table before the route, like `[limits]`.
    pub(crate) fn table(mut self, lines: &str) -> Self {
        self.tables = format!("{}{lines}\n", self.tables);
        self
    }

    /// Adds lines to the route, like `timeouts = { connect = "100ms" }`.
    pub(crate) fn route(mut self, lines: &str) -> Self {
        self.route = format!("{}{lines}\n", self.route);
        self
    }

    /// Adds a table of the route, like `[route.sticky]`.
    pub(crate) fn section(mut self, lines: &str) -> Self {
        self.sections = format!("{}{lines}\n", self.sections);
        self
    }

    /// Splits by the header `x-user` under a salt that is always the same.
    pub(crate) fn by_user(self) -> Self {
        self.section("[route.sticky]\nkey = \"header:x-user\"\nsalt = \"tests\"")
    }

    /// Rolls back after this many failures of the canary in a row, and for nothing else.
    pub(crate) fn meltdown(self, failures: u32) -> Self {
        self.section(&format!(
            "[[route.gate]]\nname = \"meltdown\"\nmetric = \"consecutive_failures\"\nrollback = {failures}"
        ))
    }

    /// The configuration as a file would say it. A drain that the test does not
    /// set is short.
    pub(crate) fn text(&self) -> String {
        let drain = if self.top.contains("drain =") {
            ""
        } else {
            "drain = { linger = \"0s\", timeout = \"200ms\" }\n"
        };
        let (mut route, mut sections) = (self.route.clone(), self.sections.clone());
        if let Some(shield) = self.shield {
            let (table, key) = ("[route.rollout]\n", format!("shield = \"{shield}\""));
            if sections.contains(table) {
                sections = sections.replace(table, &format!("{table}{key}\n"));
            } else if route.contains("rollout = {") {
                route = route.replace("rollout = {", &format!("rollout = {{ {key},"));
            } else {
                sections = format!("{sections}{table}{key}\n");
            }
        }
        format!(
            "{}{drain}{}[[route]]\n{route}{sections}",
            self.top, self.tables
        )
    }

    /// Starts haldane with this configuration.
    #[track_caller]
    pub(crate) fn start(&self) -> Proxy {
        Proxy::start(&self.text())
    }
}

impl Proxy {
    /// Starts haldane with this text as its configuration.
    #[track_caller]
    pub(crate) fn start(text: &str) -> Self {
        let source = Source {
            name: "haldane.toml".to_owned(),
            text: text.to_owned(),
        };
        let config = match load(Some(&source), &Overrides::default()) {
            Ok(loaded) => loaded.config,
            Err(diagnostics) => panic!("{diagnostics}\n{text}"),
        };
        Self::serve(App::bind(config).expect("binds"))
    }

    /// Starts haldane with the file at this path as its configuration, which it reads
    /// again when it changes.
    #[track_caller]
    pub(crate) fn start_file(path: &Path) -> Self {
        let origin = Origin {
            file: Some(path.to_owned()),
            overrides: Overrides::default(),
        };
        let config = match origin.load() {
            Ok(loaded) => loaded.config,
            Err(diagnostics) => panic!("{diagnostics}"),
        };
        Self::serve(App::bind(config).expect("binds").reloading(origin))
    }

    fn serve(app: App) -> Self {
        let address = app.data_addrs()[0];
        let tcp = |address| match address {
            AdminAddress::Tcp(address) => Some(address),
            AdminAddress::Unix(_) => None,
        };
        // A Unix socket is reached by its path, which the test knows.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let admin_address = tcp(app.admin_addr().expect("is bound")).unwrap_or(nowhere);
        let ops_address = app.ops_addr().and_then(tcp);
        let live = Arc::clone(app.live());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("starts a runtime");
            let shutdown = async {
                // The sender says it, or is gone, which means the same.
                stopped.await.ok();
            };
            runtime.block_on(app.run(shutdown)).expect("runs");
        });
        Self {
            address,
            admin_address,
            ops_address,
            live,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A new connection of a client.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.client().get(path, fields)
    }

    /// Sends exactly these bytes on a connection of its own, and reads one answer.
    #[track_caller]
    pub(crate) fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut client = self.client();
        client.send(bytes);
        client.answer_to("GET")
    }

    /// Asks the admin API: status and what it said.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut client = Client::connect(self.admin_address);
        client.send(admin_request(self.admin_address, method, path, body));
        let response = client.answer_to(method);
        let value = serde_json::from_slice(&response.body.bytes).unwrap_or(Value::Null);
        (response.status, value)
    }

    /// Where the route `default` stands.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.command("GET", "", &Value::Null)
    }

    /// Gives the canary this share.
    #[track_caller]
    pub(crate) fn set_weight(&self, weight: &str) -> Value {
        self.command("PUT", "/weight", &json!({ "weight": weight }))
    }

    /// Starts a new generation.
    #[track_caller]
    pub(crate) fn retry(&self) -> Value {
        self.command("POST", "/retry", &json!({}))
    }

    /// Takes all traffic from the canary.
    #[track_caller]
    pub(crate) fn roll_back(&self) -> Value {
        self.command("POST", "/rollback", &json!({}))
    }

    /// Has the file read again: status and what haldane says.
    #[track_caller]
    pub(crate) fn reload(&self) -> (u16, Value) {
        self.admin("POST", "/v1/config/reload", &json!({}))
    }

    /// What has happened after the event with this number, but for how rollbacks have gone:
    /// that comes when it comes.
    #[track_caller]
    pub(crate) fn events(&self, since: u64) -> Vec<Value> {
        let is_aftermath = |event: &Value| {
            let kind = event["kind"].as_str();
            kind.is_some_and(|kind| kind.ends_with("verified"))
        };
        let mut events = self.all_events(since);
        events.retain(|event| !is_aftermath(event));
        events
    }

    /// Everything that has happened after the event with this number.
    #[track_caller]
    pub(crate) fn all_events(&self, since: u64) -> Vec<Value> {
        let (status, answer) =
            self.admin("GET", &format!("/v1/events?since={since}"), &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["events"].as_array().cloned().unwrap_or_default()
    }

    /// All metrics, as text.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        let mut client = Client::connect(self.admin_address);
        client.send(format!(
            "GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n",
            self.admin_address
        ));
        client.answer_to("GET").text()
    }

    /// The metric with this name and these labels: `name{label="value"}`.
    #[track_caller]
    pub(crate) fn gauge(&self, series: &str) -> f64 {
        let text = self.metrics();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {series} in {text}"))
    }

    /// The sum of the metrics with this name and these labels: `role="canary"`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = self.metrics();
        let these = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix('{')?;
            let (series, value) = rest.split_once("} ")?;
            let matches = labels.iter().all(|label| series.contains(label));
            matches.then(|| value.parse::<u64>().expect("a count"))
        });
        these.sum()
    }

    /// Those of 300 users whom the canary named `canary` answers; each asks once.
    #[track_caller]
    pub(crate) fn users_of_canary(&self) -> Vec<String> {
        let mut client = self.client();
        let mut users: Vec<String> = (0..300).map(|user| user.to_string()).collect();
        users.retain(|user| client.get("/", &[("x-user", user)]).text() == "canary");
        users
    }

    /// Waits until the first gate knows how long stable takes.
    #[track_caller]
    pub(crate) fn wait_for_limits(&self) {
        eventually("limits", || {
            let sentence = self.status()["gates"][0]["sentence"].to_string();
            !sentence.contains("no limit yet")
        });
    }

    /// Waits until nothing is under way for this role, and gives its picture.
    #[track_caller]
    pub(crate) fn settled(&self, role: &str, requests: u64) -> Value {
        some("every exchange ends", || {
            let version = self.status()["versions"][role].clone();
            (version["requests"] == requests && version["in_flight"] == 0).then_some(version)
        })
    }

    #[track_caller]
    fn command(&self, method: &str, verb: &str, body: &Value) -> Value {
        let (status, answer) = self.admin(method, &format!("/v1/routes/default{verb}"), body);
        assert_eq!(status, 200, "{method} {verb}: {answer}");
        answer
    }

    /// Tells haldane to end, and does not wait for it.
    pub(crate) fn begin_drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            stop.send(()).ok();
        }
    }

    /// Waits until haldane has ended.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("haldane ends without a panic");
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.begin_drain();
        self.join();
    }
}
