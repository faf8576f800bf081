//! The access log: one line for each request, whatever became of it, and no more than is told.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::eventually::some;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::Upstream;

/// How requests end that do not end well.
mod endings;
/// Where lines go: files that are moved, an output that nobody reads, another configuration.
mod output;

/// The access log of a test, in a directory of its own.
struct Access(Directory);

impl Access {
    fn new(name: &str) -> Self {
        Self(Directory::new(&format!("access-{name}")))
    }

    fn path(&self) -> String {
        self.0.path("access.log")
    }

    /// The table that asks for it, with these lines.
    fn table(&self, lines: &str) -> String {
        format!("[log.access]\noutput = \"{}\"\n{lines}", self.path())
    }

    /// haldane with this log.
    #[track_caller]
    fn start(&self, setup: &Setup, lines: &str) -> Proxy {
        setup.clone().table(&self.table(lines)).start()
    }

    /// All lines, once there are so many.
    #[track_caller]
    fn lines(&self, count: usize) -> Vec<String> {
        lines_of(Path::new(&self.path()), count)
    }

    /// The same as objects.
    #[track_caller]
    fn objects(&self, count: usize) -> Vec<Value> {
        self.lines(count).iter().map(|line| object(line)).collect()
    }
}

#[track_caller]
fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[track_caller]
pub(crate) fn lines_of(path: &Path, count: usize) -> Vec<String> {
    let lines = some("so many lines are written", || {
        let text = fs::read_to_string(path).ok()?;
        let whole = text.rsplit_once('\n')?.0;
        let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// Checks these fields of a line.
#[track_caller]
fn says(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[name], value, "{name} in {line}");
    }
}

fn both() -> (Upstream, Upstream) {
    (Upstream::named("stable"), Upstream::named("canary"))
}

#[test]
fn a_request_is_logged_with_version_and_role() {
    let (stable, canary) = both();
    let access = Access::new("request");
    let setup = Setup::canary(&stable, &canary, "100%")
        .by_user()
        .meltdown(9);
    let proxy = access.start(&setup, "");
    let fields = [
        ("x-user", "alice-who-is-secret"),
        ("user-agent", "curl/8.5.0"),
        ("referer", "https://shop.example/a"),
        ("cookie", "session=very-secret"),
        ("authorization", "Bearer very-secret"),
        ("x-request-id", "r-17"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ];
    let mut client = proxy.client();
    assert_eq!(
        client.request("POST", "/a?b=c", &fields, "12345").status,
        200
    );
    let line = access.objects(1).remove(0);
    says(
        &line,
        &serde_json::json!({
            "route": "default", "role": "canary", "version": "v2", "generation": 1, "weight": 1.0,
            "method": "POST", "host": "test", "path": "/a?b=c", "protocol": "HTTP/1.1",
            "status": 200, "grpc_status": null, "reason": null, "error": null, "complete": true,
            "request_bytes": 5, "response_bytes": 6, "client": "127.0.0.1",
            "user_agent": "curl/8.5.0", "referer": "https://shop.example/a",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "request_id": "r-17",
        }),
    );
    let number = |name: &str| line[name].as_u64().expect(name);
    assert!(number("ttfb_us") > 0 && number("ttfb_us") <= number("duration_us"));
    assert_eq!(number("latency_us"), number("duration_us"));
    let time = line["time"].as_str().expect("is text");
    assert!(
        time.ends_with(&format!("{:03}Z", number("timestamp_ms") % 1000)),
        "{time}"
    );
    let text = access.lines(1).remove(0);
    assert!(!text.contains("secret"), "{text}");

    // The same key has the same hash, and another one another.
    client.get("/", &fields[..1]);
    client.get("/", &[("x-user", "bob")]);
    client.get("/", &[]);
    let lines = access.objects(4);
    let key = |index: usize| lines[index]["key"].as_str().expect("is text").to_owned();
    assert_eq!((key(0).len(), key(0)), (16, key(1)));
    assert_ne!(key(1), key(2));
    assert_eq!(key(3), "", "chance is no key");
}

#[test]
fn the_client_is_whom_trusted_proxies_tell() {
    let stable = Upstream::named("stable");
    let access = Access::new("client");
    let setup = Setup::stable(&stable).top("trusted_proxies = \"127.0.0.0/8\"");
    let proxy = access.start(&setup, "");
    proxy.get("/", &[("x-forwarded-for", "192.0.2.9")]);
    says(
        &access.objects(1)[0],
        &serde_json::json!({"client": "192.0.2.9", "role": "stable"}),
    );
}

#[test]
fn nothing_is_logged_unless_it_is_asked_for() {
    let stable = Upstream::named("stable");
    let access = Access::new("off");
    let mut proxy = access.start(&Setup::stable(&stable), "sample = 0\nalways = \"error\"");
    for _ in 0..20 {
        assert_eq!(proxy.get("/", &[]).status, 200);
    }
    proxy.begin_drain();
    proxy.join();
    assert_eq!(fs::read_to_string(access.path()).expect("is there"), "");
}

#[test]
fn a_share_is_logged_and_the_canary_always() {
    let (stable, canary) = both();
    let access = Access::new("share");
    let setup = Setup::canary(&stable, &canary, "50%").by_user();
    let mut proxy = access.start(&setup, "sample = 0.5\nalways = \"canary\"");
    let mut client = proxy.client();
    for user in 0..400 {
        client.get("/", &[("x-user", &user.to_string())]);
    }
    drop(client);
    let routed = |role: &str| proxy.status()["versions"][role]["requests"].as_u64();
    let (stable_routed, canary_routed) = (routed("stable"), routed("canary"));
    proxy.begin_drain();
    proxy.join();
    let text = fs::read_to_string(access.path()).expect("is there");
    let logged = |role: &str| {
        let lines = text.lines().map(object);
        lines.filter(|line| line["role"] == role).count() as u64
    };
    assert_eq!(Some(logged("canary")), canary_routed);
    // Some 200, give or take ten standard deviations.
    let stable_routed = stable_routed.expect("a number");
    assert!(stable_routed > 100, "{stable_routed}");
    let distance = (2 * logged("stable")).abs_diff(stable_routed);
    assert!(distance < 150, "{} of {stable_routed}", logged("stable"));
}

#[test]
fn combined_lines_are_what_others_can_read() {
    let (stable, canary) = both();
    let access = Access::new("combined");
    let setup = Setup::canary(&stable, &canary, "100%").by_user();
    let proxy = access.start(&setup, "format = \"combined\"");
    let forged = "x\" 200 1 \"-\" \"-\" stable v1";
    proxy.get("/a?b", &[("user-agent", forged), ("referer", "http://r")]);
    proxy.raw("nonsense\r\n\r\n");
    let lines = access.lines(2);
    // What the tools that read such logs look for.
    let pattern = r#"^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "([^"\\]|\\.)*" (\d{3}|-) (\d+|-) "([^"\\]|\\.)*" "([^"\\]|\\.)*" (stable|canary|-) \S+$"#;
    let matching = crate::support::tools::run(crate::support::tools::tool("grep", "grep").args([
        "-cP",
        pattern,
        &access.path(),
    ]));
    assert_eq!(matching.out.trim(), "2", "{lines:#?}");
    assert!(
        lines[0].contains("\"GET /a?b HTTP/1.1\" 200 6 \"http://r\" "),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("stable v1\" canary v2"), "{}", lines[0]);
    assert!(
        lines[1].contains("] \"-\" 400 ") && lines[1].ends_with(" - -"),
        "{}",
        lines[1]
    );
}

#[test]
fn hostile_requests_make_one_line_each() {
    let stable = Upstream::named("stable");
    let access = Access::new("hostile");
    let proxy = access.start(&Setup::stable(&stable), "");
    let mut asked = 0;
    for byte in (0x01..=0xff_u8).filter(|byte| ![b'\r', b'\n', b' '].contains(byte)) {
        for request in [
            [b"GET /", &[byte][..], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat(),
            [
                &b"GET / HTTP/1.1\r\nhost: a\r\nuser-agent: x"[..],
                &[byte],
                b"\"}\r\n\r\n",
            ]
            .concat(),
        ] {
            let mut client = proxy.client();
            client.send(request);
            client.answer_to("GET");
            asked += 1;
        }
    }
    let lines = access.objects(asked);
    assert!(lines.iter().all(|line| line["status"].as_u64() > Some(0)));
    let agents = lines.iter().filter(|line| line["user_agent"].is_string());
    assert!(agents.count() > 200);
}
