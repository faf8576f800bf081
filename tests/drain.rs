//! haldane can be stopped at any time: what was accepted is finished, what is idle is
//! closed, and nothing holds it up for longer than configured.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::client::{Client, request};
use crate::support::eventually::{PATIENCE, eventually, now};
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::wire::Wire;

/// Far less than any drain may take here that is not cut short, far more than one needs.
const SOON: Duration = Duration::from_secs(10);

/// A haldane that drains for as long as it must, after it has served on for `linger`.
fn patient(upstream: &Upstream, linger: &str) -> Proxy {
    Setup::stable(upstream)
        .top(&format!(
            "workers = 2\ndrain = {{ linger = \"{linger}\", timeout = \"60s\" }}"
        ))
        .start()
}

/// Whether somebody listens.
fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

/// Begins the drain, and waits until nobody new is let in.
fn drain(proxy: &mut Proxy) {
    let address = proxy.address;
    proxy.begin_drain();
    eventually("nobody is let in", || !listens(address));
}

/// That haldane ends by itself, and not because its time is up.
#[track_caller]
fn ends_soon(proxy: &mut Proxy) {
    let since = now();
    proxy.join();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

/// Answers the path `/head` when told to, and the others with the first half of a
/// body at once and the rest when told to.
fn held() -> (Upstream, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::scripted(move |mut connection| {
        let Some(head) = connection.head() else {
            return;
        };
        let wait = || {
            held.lock().unwrap().recv_timeout(PATIENCE).ok();
        };
        let start = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        if head.word(1) == "/head" {
            wait();
            connection.wire.write(start);
        } else {
            connection.wire.write(start);
            wait();
        }
        if let Ok(Some(framing)) = head.framing() {
            let (body, end) = connection.wire.body(framing);
            assert_eq!((&body.bytes[..], end), (&b"upload"[..], Ok(())));
        }
        connection.wire.write("world");
        connection.end();
    });
    (upstream, release)
}

#[test]
fn what_runs_when_a_drain_begins_is_finished() {
    let (upstream, release) = held();
    let mut proxy = patient(&upstream, "0s");
    let upload = "POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nup";
    let requests = [
        request("GET", "/head", &[], ""),
        request("GET", "/down", &[], ""),
        upload.to_owned(),
    ];
    let mut clients = requests.map(|request| {
        let mut client = proxy.client();
        client.send(request);
        client
    });
    eventually("all of them run", || upstream.log.len() == 3);
    // A head that is only half here.
    let mut half = proxy.client();
    half.send("GET /half HTTP/1.1\r\nHo");
    assert!(!half.wire.has_more(Duration::from_millis(200)));
    for client in &mut clients[1..] {
        assert!(client.wire.has_more(PATIENCE), "the first half comes");
    }

    drain(&mut proxy);
    clients[2].send("load");
    half.send("st: test\r\n\r\n");
    eventually("the last one runs", || upstream.log.len() == 4);
    for _ in 0..4 {
        release.send(()).expect("somebody waits");
    }
    for (index, mut client) in clients.into_iter().chain([half]).enumerate() {
        let answer = client.answer_to("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "helloworld"));
        assert_eq!(answer.end, Ok(()));
        // Where the head had not gone out, it says what follows.
        if !matches!(index, 1 | 2) {
            assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        }
        assert!(client.is_closed());
    }
    ends_soon(&mut proxy);
}

#[test]
fn idle_connections_are_closed_at_once() {
    let upstream = Upstream::named("stable");
    let mut proxy = patient(&upstream, "0s");
    let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
    // Half of them have been used.
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    proxy.begin_drain();
    for client in &mut clients {
        assert!(client.is_closed());
    }
    ends_soon(&mut proxy);
}

#[test]
fn whatever_hangs_ends_with_the_deadline() {
    let upstream = Upstream::named("stable");
    upstream.behave(Behaviour::Silent);
    let mut proxy = Setup::stable(&upstream)
        .top("drain = { linger = \"0s\", timeout = \"400ms\" }")
        .start();
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(request("GET", "/", &[], ""));
    }
    eventually("all of them run", || upstream.log.len() == 4);
    let since = now();
    proxy.begin_drain();
    ends_soon(&mut proxy);
    assert!(since.elapsed() >= Duration::from_millis(400));
    for client in &mut clients {
        assert!(client.is_closed());
    }
}

#[test]
fn while_it_lingers_clients_are_served_and_told_to_leave() {
    let upstream = Upstream::named("stable");
    let mut proxy = patient(&upstream, "1s");
    let mut kept = proxy.client();
    assert_eq!(kept.get("/", &[]).head.one("connection"), None);
    proxy.begin_drain();
    eventually("readiness says no", || {
        Client::connect(proxy.admin_address)
            .get("/readyz", &[])
            .status
            == 503
    });
    for mut client in [kept, proxy.client()] {
        let answer = client.get("/", &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
        assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        assert!(client.is_closed());
    }
    ends_soon(&mut proxy);
}

#[test]
fn what_was_sent_before_the_drain_is_answered() {
    for _ in 0..3 {
        let upstream = Upstream::named("stable");
        let mut proxy = Setup::stable(&upstream)
            .top("workers = 1\ndrain = { linger = \"0s\", timeout = \"60s\" }")
            .start();
        let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/", &[]).status, 200);
        }
        // More than one worker can accept before it hears of the drain.
        clients.extend((0..250).map(|_| {
            let mut client = proxy.client();
            client.send(request("GET", "/", &[], ""));
            client
        }));
        for client in &mut clients[..50] {
            client.send(request("GET", "/", &[], ""));
        }
        proxy.begin_drain();
        for mut client in clients {
            let answer = client.answer_to("GET");
            assert_eq!((answer.text().as_str(), answer.end), ("stable", Ok(())));
            assert!(client.is_closed());
        }
        ends_soon(&mut proxy);
    }
}

/// What a client saw of its requests: those that were answered, and those that were
/// the first on their connection and got nothing at all.
#[derive(Default)]
struct Seen {
    answered: HashSet<String>,
    let_down: HashSet<String>,
}

/// Sends one request after another, on one connection until haldane closes it with an
/// announcement, then on the next, until nobody is left to connect to.
fn load(address: SocketAddr, name: usize, going: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut count = 0;
    while let Ok(stream) = TcpStream::connect_timeout(&address, PATIENCE) {
        going.store(true, Ordering::Relaxed);
        let mut client = Client {
            wire: Wire::new(stream),
        };
        for fresh in (0..).map(|sent| sent == 0) {
            count += 1;
            let path = format!("/{name}/{count}");
            let sent = client.wire.write(request("GET", &path, &[], ""));
            let answer = sent.then(|| client.try_answer_to("GET").ok()).flatten();
            let Some(answer) = answer else {
                assert!(fresh, "{path} came on a connection that was to stay open");
                seen.let_down.insert(path);
                break;
            };
            assert_eq!((answer.status, answer.text().as_str()), (200, "stable"));
            assert_eq!(answer.end, Ok(()), "{path}");
            seen.answered.insert(path);
            if answer.head.one("connection").as_deref() == Some("close") {
                break;
            }
        }
    }
    seen
}

#[test]
fn a_drain_under_load_loses_no_request_that_was_accepted() {
    const CLIENTS: usize = 8;
    let upstream = Upstream::named("stable");
    let mut proxy = patient(&upstream, "300ms");
    let address = proxy.address;
    let going: &'static [AtomicBool; CLIENTS] = Box::leak(Box::default());
    let clients: Vec<JoinHandle<Seen>> = (0..CLIENTS)
        .map(|name| std::thread::spawn(move || load(address, name, &going[name])))
        .collect();
    eventually("all of them are at work", || {
        upstream.log.len() > 200 && going.iter().all(|going| going.load(Ordering::Relaxed))
    });
    proxy.begin_drain();
    let mut seen = Seen::default();
    for client in clients {
        let one = client.join().expect("loses nothing");
        seen.answered.extend(one.answered);
        seen.let_down.extend(one.let_down);
    }
    ends_soon(&mut proxy);

    let mut arrived = HashMap::<_, usize>::new();
    for arrival in upstream.log.arrivals() {
        *arrived.entry(arrival.head.word(1).to_owned()).or_default() += 1;
    }
    assert!(
        arrived.values().all(|times| *times == 1),
        "none is repeated"
    );
    let arrived: HashSet<_> = arrived.into_keys().collect();
    assert_eq!(arrived, seen.answered);
    // Between the last look at the accept queue and its end the system may let one in.
    assert!(
        seen.let_down.len() <= 2,
        "{} were let in for nothing",
        seen.let_down.len()
    );
}
