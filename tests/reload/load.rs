//! Many reloads under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::{File, with_canary};
use crate::support::client::Client;
use crate::support::eventually::{eventually, now};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// Clients on old and new connections that ask without a pause.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = (0..8).map(|number| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for round in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if number % 4 == 0 {
                        client = Client::connect(address);
                    }
                    let user = format!("{number}-{round}");
                    let answer = match round % 2 {
                        0 => client.get("/", &[("x-user", &user)]),
                        _ => client.request("POST", "/", &[("x-user", &user)], "body"),
                    };
                    assert_eq!((answer.status, answer.text().as_str()), (200, "v"));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let clients = clients.collect();
        Self {
            stop,
            asked,
            clients,
        }
    }

    /// How many requests were answered. Fails if any was not.
    #[track_caller]
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request failed");
        }
        self.asked.load(Ordering::Relaxed)
    }
}

/// Everything that can change, good and bad, with what a reload answers.
fn texts(base: &Setup, [one, two, three]: &[Upstream; 3]) -> Vec<(u16, String)> {
    let two_workers = |setup: Setup| setup.top("workers = 2");
    let second =
        "[[route]]\nname = \"second\"\nmatch = { path = \"/x\" }\nstable = \"http://127.0.0.1:1\"";
    let good = [
        base.clone(),
        two_workers(with_canary(one, "b", three, "10%")),
        two_workers(with_canary(two, "a", three, "100%")),
        two_workers(Setup::stable(three)),
        base.clone()
            .table("[limits]\nheaders = 50\nidle_timeout = \"30s\""),
        base.clone().top("trusted_proxies = \"127.0.0.0/8\""),
        base.clone().section(second),
    ];
    let mut texts: Vec<_> = good.iter().map(|setup| (200, setup.text())).collect();
    let base = base.text();
    let more = base.replace(
        "listen = \"127.0.0.1:0\"\nadmin",
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nadmin",
    );
    assert_ne!(more, base);
    texts.push((200, more));
    texts.insert(2, (422, "listen = 1".to_owned()));
    texts.insert(
        5,
        (422, base.replace("consecutive_failures", "consecutive")),
    );
    texts
}

/// As fast as it goes: what was counted then is what was sent.
#[test]
fn no_request_fails_through_hundreds_of_reloads() {
    const RELOADS: usize = 300;
    let upstreams = ["v"; 3].map(Upstream::named);
    let [one, two, _] = &upstreams;
    let base = with_canary(one, "a", two, "50%").top("workers = 2");
    let texts = texts(&base, &upstreams);
    let file = File::new("load", &base);
    let proxy = file.start();
    let load = Load::start(proxy.address);
    let deadline = now() + Duration::from_secs(20);
    let mut reloads = 0;
    while reloads < RELOADS && now() < deadline {
        let (expected, text) = &texts[reloads % texts.len()];
        file.write(text);
        let (status, answer) = proxy.reload();
        assert_eq!(status, *expected, "{text}\n{answer}");
        reloads += 1;
    }
    eventually("enough was asked", || {
        load.asked.load(Ordering::Relaxed) > 1000
    });
    let asked = load.stop();
    assert!(reloads >= 100, "only {reloads} reloads");
    assert!(asked > 1000, "only {asked} requests");
    let arrived: usize = upstreams.iter().map(|upstream| upstream.log.len()).sum();
    assert_eq!(arrived as u64, asked, "each arrives once");
    // Nobody is left behind: every request that was begun has ended.
    let (status, routes) = proxy.admin("GET", "/v1/routes", &Value::Null);
    assert_eq!(status, 200);
    for route in routes["routes"].as_array().unwrap() {
        assert_eq!(route["phase"], "idle");
        for role in ["stable", "canary"] {
            let version = &route["versions"][role];
            assert!(version.is_null() || version["in_flight"] == 0, "{route}");
        }
    }
}
