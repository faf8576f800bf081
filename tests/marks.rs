//! What upstreams are told about a decision beside version and role: `baggage`, and a flag in
//! words of their own; and who may decide by such a flag.

use serde_json::{Value, json};

use crate::reload::{File, put};
use crate::support::client::request;
use crate::support::http2::{self, H2Client};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

const FLAG: &str = "flag = { header = \"x-feature\" }";
const FORCE: &str = "[route.sticky]\nkey = \"header:x-user\"\nsalt = \"tests\"\n\
    force = { header = \"x-feature\", canary = [\"on\", \"true\"], stable = [\"off\", \"false\"], \
    from = [\"127.0.0.0/8\"] }";

/// What a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Below {
    H1,
    H2,
}

/// The versions, by what they speak: stable and the canary.
enum Above {
    H1([Upstream; 2]),
    H2([H2Upstream; 2]),
}

/// haldane between a client and both versions.
struct Between {
    below: Below,
    above: Above,
    proxy: Proxy,
}

/// What the version that answered has got.
#[derive(Debug)]
struct Told {
    by: String,
    fields: Vec<(String, String)>,
}

impl Told {
    /// All values of a field.
    fn all(&self, name: &str) -> Vec<&str> {
        let these = self.fields.iter().filter(|(known, _)| known == name);
        these.map(|(_, value)| value.as_str()).collect()
    }
}

impl Between {
    fn start(below: Below, in_h2: bool, weight: &str, configure: impl Fn(Setup) -> Setup) -> Self {
        let (above, setup) = if in_h2 {
            let versions = [H2Upstream::named("stable"), H2Upstream::named("canary")];
            let setup = Setup::canary_at(&versions[0].url(), &versions[1].url(), weight);
            (Above::H2(versions), setup.upstreams_in_h2())
        } else {
            let versions = [Upstream::named("stable"), Upstream::named("canary")];
            let setup = Setup::canary(&versions[0], &versions[1], weight);
            (Above::H1(versions), setup)
        };
        Self {
            below,
            above,
            proxy: configure(setup).start(),
        }
    }

    /// Sends a GET with these fields.
    #[track_caller]
    fn ask(&self, fields: &[(&str, &str)]) -> Told {
        let by = match self.below {
            Below::H1 => self.proxy.get("/", fields).text(),
            Below::H2 => H2Client::connect(self.proxy.address)
                .get("/", fields)
                .text(),
        };
        let index = usize::from(by == "canary");
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let fields = match &self.above {
            Above::H1(versions) => {
                let last = versions[index].log.arrivals().pop().expect("it came");
                let fields = last.head.fields.iter();
                fields
                    .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
                    .collect()
            }
            Above::H2(versions) => {
                let last = versions[index].log.arrivals().pop().expect("it came");
                let fields = last.parts.headers.iter();
                fields
                    .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                    .collect()
            }
        };
        Told { by, fields }
    }
}

/// Calls `check` for every client with every kind of version.
fn each(weight: &str, configure: impl Fn(Setup) -> Setup, check: impl Fn(&Between)) {
    for below in [Below::H1, Below::H2] {
        for in_h2 in [false, true] {
            eprintln!("{below:?} to HTTP/2: {in_h2}");
            check(&Between::start(below, in_h2, weight, &configure));
        }
    }
}

fn with_baggage(setup: Setup) -> Setup {
    setup.by_user().route("baggage = true")
}

#[test]
fn role_and_version_travel_as_baggage_where_that_is_asked_for() {
    for (weight, role, ours) in [
        ("0%", "stable", "haldane.role=stable,haldane.version=v1"),
        ("100%", "canary", "haldane.role=canary,haldane.version=v2"),
    ] {
        each(weight, with_baggage, |between| {
            let told = between.ask(&[]);
            assert_eq!((told.by.as_str(), told.all("baggage")), (role, vec![ours]));
            // Several lines become one; what is claimed is gone; all else is as it was.
            let told = between.ask(&[
                ("baggage", "user=a%20b;p;q=1 , empty="),
                ("x-between", "1"),
                ("Baggage", "haldane.role=evil, haldane%2eversion=v9;p=1"),
                ("baggage", "haldane.version=v9,last = 1,user=twice"),
            ]);
            let kept = "user=a%20b;p;q=1 , empty=,last = 1,user=twice";
            assert_eq!(told.all("baggage"), [format!("{kept},{ours}")]);
            assert_eq!(told.all("x-between"), ["1"]);
            // What is for the next hop only stays here, and takes nothing of haldane's along.
            if between.below == Below::H1 {
                let told = between.ask(&[("baggage", "a=1"), ("connection", "baggage")]);
                assert_eq!(told.all("baggage"), [ours]);
            }
        });
    }
}

#[test]
fn without_being_asked_for_baggage_is_what_clients_sent() {
    let lines = ["a=1, b = 2", "haldane.role=x", "c"];
    each("100%", Setup::by_user, |between| {
        assert_eq!(between.ask(&[]).all("baggage"), [""; 0]);
        let told = between.ask(&lines.map(|line| ("baggage", line)));
        assert_eq!(told.all("baggage"), lines);
    });
}

#[test]
fn traces_pass_as_they_are() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    each(
        "100%",
        |setup| with_baggage(setup).route(FLAG),
        |between| {
            let told = between.ask(&[
                ("traceparent", trace),
                ("tracestate", "a=1,b=2"),
                ("tracestate", "c=3"),
            ]);
            assert_eq!(told.all("traceparent"), [trace]);
            assert_eq!(told.all("tracestate"), ["a=1,b=2", "c=3"]);
        },
    );
}

#[test]
fn a_version_with_any_name_is_a_value_and_clients_keep_what_fills_the_limits() {
    let configure = |setup: Setup| with_baggage(setup).with("\"v2\"", "\"v2+b;7, \\\"x\\\"\"");
    each("100%", configure, |between| {
        let ours = "haldane.role=canary,haldane.version=v2%2Bb%3B7%2C%20%22x%22";
        let fits = vec!["a=1"; 62].join(",");
        let told = between.ask(&[("baggage", &fits)]);
        assert_eq!(told.all("baggage"), [format!("{fits},{ours}")]);
        let full = vec!["a=1"; 63].join(",");
        let told = between.ask(&[("baggage", &full), ("baggage", "haldane.role=x")]);
        assert_eq!(told.all("baggage"), [full]);
        let long = format!("a={}", "x".repeat(8190));
        assert_eq!(between.ask(&[("baggage", &long)]).all("baggage"), [long]);
    });
}

#[test]
fn bytes_that_are_no_baggage_pass_and_break_nothing() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).route("baggage = true").start();
    let line = b"\xff\xfe\";=,\x80haldane.role\xa0=x,=,haldane.role";
    let head = [
        b"GET / HTTP/1.1\r\nHost: a\r\nBaggage: ",
        &line[..],
        b"\r\n\r\n",
    ]
    .concat();
    assert_eq!(proxy.raw(head).status, 200);
    let fields = upstream.log.only().head.fields;
    let passed = fields.iter().find(|(name, _)| name == "baggage");
    let ours = b"haldane.role=stable,haldane.version=v1";
    let expected = [b"\xff\xfe\";=,=,", &ours[..]].concat();
    assert_eq!(passed.map(|(_, value)| value), Some(&expected));
}

#[test]
fn a_flag_tells_upstreams_the_role_and_nobody_else_does() {
    let twice =
        "flag = { header = \"X-Feature-New\", canary = \"new checkout\", stable = \"old\" }";
    for (weight, role, value) in [("0%", "stable", "old"), ("100%", "canary", "new checkout")] {
        each(
            weight,
            |setup| setup.by_user().route(twice),
            |between| {
                for claims in [
                    &[][..],
                    &[("x-feature-new", "new checkout"), ("x-feature-new", "old")],
                    &[("x-feature-new", "")],
                ] {
                    let told = between.ask(claims);
                    assert_eq!(
                        (told.by.as_str(), told.all("x-feature-new")),
                        (role, vec![value])
                    );
                }
                // Many servers read these as one name with it.
                let told = between.ask(&[
                    ("x_feature_new", "old"),
                    ("x-feature_new", "old"),
                    ("x-feature-ne", "1"),
                ]);
                assert_eq!(told.all("x-feature-new"), [value]);
                assert_eq!(
                    told.all("x_feature_new").len() + told.all("x-feature_new").len(),
                    0
                );
                assert_eq!(told.all("x-feature-ne"), ["1"]);
            },
        );
    }
}

#[test]
fn a_flag_of_trusted_peers_decides_and_goes_on_as_what_was_decided() {
    let both = |setup: Setup| setup.section(FORCE).route(FLAG);
    let user = ("x-user", "a");
    each("50%", both, |between| {
        for (word, role, value) in [
            ("on", "canary", "on"),
            ("true", "canary", "on"),
            ("off", "stable", "off"),
            ("false", "stable", "off"),
        ] {
            let told = between.ask(&[user, ("x-feature", word)]);
            assert_eq!(
                (told.by.as_str(), told.all("x-feature")),
                (role, vec![value])
            );
        }
        // What is no word of it is not honoured, and not passed on either.
        let drawn = between.ask(&[user]);
        for word in ["ON", "canary", "stable", "", "on, off"] {
            let told = between.ask(&[user, ("x-feature", word)]);
            assert_eq!(
                (&told.by, told.all("x-feature")),
                (&drawn.by, drawn.all("x-feature"))
            );
        }
        // Never against a weight of zero.
        between.proxy.roll_back();
        let told = between.ask(&[user, ("x-feature", "on")]);
        assert_eq!(
            (told.by.as_str(), told.all("x-feature")),
            ("stable", vec!["off"])
        );
    });
    let strangers = |setup: Setup| both(setup).with("127.0.0.0/8", "10.0.0.0/8");
    each("50%", strangers, |between| {
        let drawn = between.ask(&[user]);
        for word in ["on", "off"] {
            let told = between.ask(&[user, ("x-feature", word)]);
            assert_eq!(
                (&told.by, told.all("x-feature")),
                (&drawn.by, drawn.all("x-feature"))
            );
        }
    });
    // Without a flag it is for haldane only.
    each(
        "50%",
        |setup| setup.section(FORCE),
        |between| {
            let told = between.ask(&[user, ("x-feature", "on")]);
            assert_eq!(
                (told.by.as_str(), told.all("x-feature")),
                ("canary", vec![])
            );
        },
    );
}

#[test]
fn where_stable_answers_for_the_canary_it_is_told_that_it_is_stable() {
    let shielded = |setup: Setup| with_baggage(setup).route(FLAG).shielded().meltdown(1000);
    for below in [Below::H1, Below::H2] {
        let between = Between::start(below, false, "100%", shielded);
        let Above::H1([_, canary]) = &between.above else {
            panic!("speaks HTTP/1.1")
        };
        canary.behave(Behaviour::Status(500));
        let told = between.ask(&[("baggage", "a=1"), ("x-feature", "on")]);
        assert_eq!(
            (told.by.as_str(), told.all("x-feature")),
            ("stable", vec!["off"])
        );
        let ours = "a=1,haldane.role=stable,haldane.version=v1";
        assert_eq!(told.all("baggage"), [ours]);
        let failed = canary.log.only().head;
        assert_eq!(failed.all("x-feature"), ["on"]);
        assert_eq!(
            failed.all("baggage"),
            ["a=1,haldane.role=canary,haldane.version=v2"]
        );
    }
}

#[test]
fn calls_have_it_as_metadata() {
    let versions = ["stable", "canary"]
        .map(|name| H2Upstream::scripted(async move |mut call: Call| call.reply_grpc(name, "0")));
    let proxy = Setup::canary_at(&versions[0].url(), &versions[1].url(), "50%")
        .upstreams_in_h2()
        .section(FORCE)
        .route(FLAG)
        .route("baggage = true")
        .start();
    let client = H2Client::connect(proxy.address);
    for (index, (word, role)) in [("off", "stable"), ("on", "canary")]
        .into_iter()
        .enumerate()
    {
        let fields = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("x-feature", word),
            ("baggage", "haldane.role=x,a=1"),
        ];
        let answer = client.ask(http2::request("POST", "/a.B/C", &fields), b"");
        assert_eq!(answer.text(), role);
        let metadata = &versions[index].log.arrivals()[0].parts.headers;
        let baggage = format!("a=1,haldane.role={role},haldane.version=v{}", index + 1);
        assert_eq!(http2::one(metadata, "baggage"), Some(baggage));
        assert_eq!(http2::one(metadata, "x-feature"), Some(word.to_owned()));
    }
}

#[test]
fn both_are_changed_by_a_reload_on_connections_that_stay() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let base = Setup::canary(&stable, &canary, "100%").by_user();
    let file = File::new("marks", &base);
    let proxy = file.start();
    let mut client = proxy.client();
    let mut last = || {
        client.send(request(
            "GET",
            "/",
            &[("x-feature", "mine"), ("baggage", "a=1")],
            "",
        ));
        assert_eq!(client.answer_to("GET").text(), "canary");
        let head = canary.log.arrivals().pop().expect("it came").head;
        (head.all("x-feature").concat(), head.all("baggage").concat())
    };
    let text = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(last(), text("mine", "a=1"));
    let tagged = "a=1,haldane.role=canary,haldane.version=v2";
    for (lines, expected) in [
        (format!("baggage = true\n{FLAG}"), text("on", tagged)),
        (
            FLAG.replace(" }", ", canary = \"yes\" }"),
            text("yes", "a=1"),
        ),
        (String::new(), text("mine", "a=1")),
    ] {
        let new = base.clone().route(&lines).text();
        let (status, checked) = proxy.admin("POST", "/v1/config/check", &json!({ "config": new }));
        let changes = json!(["route default: settings changed"]);
        assert_eq!((status, &checked["changes"]), (200, &changes), "{checked}");
        assert_eq!(put(&proxy, &file, &new), changes);
        assert_eq!(last(), expected);
    }
    assert_eq!(canary.log.connections(), 1);
}

#[test]
fn explanations_and_the_access_log_name_what_decided() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = Directory::new("marks-log");
    let log = directory.path("access.log");
    let proxy = Setup::canary(&stable, &canary, "50%")
        .section(FORCE)
        .table(&format!("[log.access]\noutput = \"{log}\""))
        .start();
    let explain = |word: &str| {
        let question = json!({
            "headers": { "x-feature": word, "x-user": "a" }, "client": "127.0.0.1",
        });
        let (status, answer) = proxy.admin("POST", "/v1/explain", &question);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let drawn = explain("perhaps");
    assert!(
        drawn["why"]
            .as_str()
            .unwrap()
            .starts_with("split by the header x-user")
    );
    for (word, role) in [("true", "canary"), ("off", "stable")] {
        let told = explain(word);
        let why = format!("the header x-feature of a trusted peer asks for {role}");
        assert_eq!((&told["role"], &told["why"]), (&json!(role), &json!(why)));
    }
    let mut client = proxy.client();
    for word in ["true", "off", "perhaps"] {
        client.get("/", &[("x-user", "a"), ("x-feature", word)]);
    }
    proxy.roll_back();
    let why =
        "the header x-feature of a trusted peer asks for canary, but the canary's weight is 0%";
    assert_eq!(explain("true")["why"], why);
    client.get("/", &[("x-user", "a"), ("x-feature", "true")]);
    let lines: Vec<Value> = crate::access::lines_of(log.as_ref(), 4)
        .iter()
        .map(|line| serde_json::from_str(line).expect("is JSON"))
        .collect();
    let said: Vec<_> = lines
        .iter()
        .map(|line| [&line["role"], &line["forced"]])
        .collect();
    let header = json!("x-feature");
    assert_eq!(said[0], [&json!("canary"), &header]);
    assert_eq!(said[1], [&json!("stable"), &header]);
    assert_eq!(said[2], [&drawn["role"], &Value::Null]);
    assert_eq!(said[3], [&json!("stable"), &Value::Null]);
}
