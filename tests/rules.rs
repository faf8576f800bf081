//! Who is split otherwise: targeting rules, rings, and what is said of them.

use std::fs;

use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;
use serde_json::{Value, json};

use crate::support::eventually::some;
use crate::support::http2::H2Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

/// Who gets the canary under this share, as the pure code says.
fn role_of(user: &str, share: &str) -> &'static str {
    let share: Weight = share.parse().expect("is a share");
    let key = Salt::from_text("tests").split_key(user.as_bytes());
    key.role(share).as_str()
}

/// haldane with rules, and the versions behind it.
struct Ruled {
    canary: Upstream,
    _stable: Upstream,
    proxy: Proxy,
}

impl Ruled {
    fn start(weight: &str, rules: &str) -> Self {
        Self::with(weight, |setup| setup.section(rules))
    }

    fn with(weight: &str, more: impl Fn(Setup) -> Setup) -> Self {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let setup = Setup::canary(&stable, &canary, weight)
            .top("trusted_proxies = [\"127.0.0.0/8\"]")
            .by_user();
        Self {
            proxy: more(setup).start(),
            canary,
            _stable: stable,
        }
    }

    #[track_caller]
    fn explain(&self, question: &Value) -> Value {
        let (status, answer) = self.proxy.admin("POST", "/v1/explain", question);
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// A rule for the header `x-ring` with this value.
fn ring(name: &str, share: &str, more: &str) -> String {
    format!(
        "[[route.rule]]\nname = \"{name}\"\nmatch = {{ header = \"x-ring\", values = [\"{name}\"] }}\n\
         weight = \"{share}\"\n{more}\n"
    )
}

#[test]
fn each_rule_splits_by_its_own_share_and_the_same_key_at_the_same_place() {
    const SHARES: [(&str, &str); 5] = [
        ("none", "0%"),
        ("tenth", "10%"),
        ("half", "50%"),
        ("most", "90%"),
        ("all", "100%"),
    ];
    let rules: String = SHARES.map(|(name, share)| ring(name, share, "")).concat();
    let ruled = Ruled::start("25%", &rules);
    let mut client = ruled.proxy.client();
    let mut on_canary = 0;
    for number in 0..2000 {
        let user = format!("user-{number}");
        let mut was = "stable".to_owned();
        for (name, share) in SHARES {
            let fields = [("x-user", &*user), ("x-ring", name)];
            let is = client.get("/", &fields).text();
            assert_eq!(is, role_of(&user, share), "{user} in {name}");
            // A larger share takes nobody away.
            assert!(was == "stable" || is == "canary", "{user} in {name}");
            on_canary += usize::from(is == "canary");
            was = is;
        }
        let is = client.get("/", &[("x-user", &user)]).text();
        assert_eq!(is, role_of(&user, "25%"), "{user}");
        on_canary += usize::from(is == "canary");
    }
    assert_eq!(ruled.canary.log.len(), on_canary);
}

#[test]
fn the_first_rule_that_matches_decides_whatever_it_looks_at() {
    let rules = r#"
[[route.rule]]
match = { path = "/api/*" }
weight = "0%"
[[route.rule]]
match = { cookie = "beta", values = ["1", "yes"] }
weight = "100%"
[[route.rule]]
match = { client = ["10.0.0.0/8", "2001:db8::/32"] }
weight = "0%"
[[route.rule]]
match = { header = "X-Tenant" }
weight = "100%"
"#;
    // Everybody else is on the canary or not by the weight.
    for (weight, by_weight) in [("0.0001%", "stable"), ("99.9999%", "canary")] {
        let ruled = Ruled::start(weight, rules);
        let h2 = H2Client::connect(ruled.proxy.address);
        for (path, fields, expected) in [
            ("/", vec![], by_weight),
            ("/apis", vec![], by_weight),
            ("/api", vec![("cookie", "beta=1")], "stable"),
            ("/api/a?b", vec![("x-tenant", "a")], "stable"),
            ("/", vec![("cookie", "a=b; beta=1")], "canary"),
            ("/", vec![("cookie", "beta=\"yes\"")], "canary"),
            ("/", vec![("cookie", "beta=11")], by_weight),
            ("/", vec![("cookie", "alpha=1")], by_weight),
            (
                "/",
                vec![("x-forwarded-for", "10.1.2.3"), ("cookie", "beta=1")],
                "canary",
            ),
            (
                "/",
                vec![("x-forwarded-for", "10.1.2.3"), ("x-tenant", "a")],
                "stable",
            ),
            (
                "/",
                vec![("x-forwarded-for", "2001:db8::7"), ("x-tenant", "a")],
                "stable",
            ),
            // Only the last address is told by whom is believed.
            (
                "/",
                vec![("x-forwarded-for", "10.1.2.3, 192.0.2.1")],
                by_weight,
            ),
            ("/", vec![("x-tenant", "")], "canary"),
        ] {
            let mut fields = fields;
            fields.push(("x-user", "alice"));
            let said = ruled.proxy.get(path, &fields).text();
            assert_eq!(said, expected, "{path} {fields:?} at {weight}");
            assert_eq!(
                h2.get(path, &fields).text(),
                expected,
                "{path} {fields:?} in HTTP/2"
            );
        }
    }
}

#[test]
fn rings_open_and_close_as_the_weight_rises_and_a_rollback_closes_all() {
    let rules = [
        ring("internal", "100%", ""),
        ring(
            "early",
            "50%",
            "from_weight = \"1%\"\nuntil_weight = \"60%\"",
        ),
    ];
    let ruled = Ruled::start("0%", &rules.concat());
    let users: Vec<_> = (0..200).map(|number| format!("user-{number}")).collect();
    let mut client = ruled.proxy.client();
    let mut are = |weight: &str, internal: &str, early: &str| {
        for user in &users {
            for (ring, share) in [("internal", internal), ("early", early), ("broad", weight)] {
                let fields = [("x-user", &**user), ("x-ring", ring)];
                let said = client.get("/", &fields).text();
                assert_eq!(said, role_of(user, share), "{user} in {ring} at {weight}");
            }
        }
    };
    are("0%", "0%", "0%");
    for (weight, early) in [
        ("0.0001%", "0.0001%"),
        ("0.9999%", "0.9999%"),
        ("1%", "50%"),
        ("59.9999%", "50%"),
        ("60%", "60%"),
        ("100%", "100%"),
        ("5%", "50%"),
    ] {
        ruled.proxy.set_weight(weight);
        are(weight, "100%", early);
    }
    let seen = ruled.canary.log.len();
    ruled.proxy.roll_back();
    are("0%", "0%", "0%");
    assert_eq!(ruled.canary.log.len(), seen);
}

#[test]
fn a_ring_that_only_fails_is_rolled_back_though_all_others_are_well() {
    let ruled = Ruled::with("0.0001%", |setup| {
        setup.section(&ring("internal", "100%", "")).meltdown(5)
    });
    ruled.canary.behave(Behaviour::Status(500));
    let mut client = ruled.proxy.client();
    let mut failed = 0;
    while ruled.proxy.status()["phase"] != "rolled_back" {
        assert_eq!(client.get("/", &[("x-user", "bob")]).status, 200);
        let fields = [("x-user", "alice"), ("x-ring", "internal")];
        failed += usize::from(client.get("/", &fields).status == 500);
        assert!(failed <= 5);
    }
    assert_eq!((failed, ruled.canary.log.len()), (5, 5));
    assert_eq!(client.get("/", &[("x-ring", "internal")]).status, 200);
}

#[test]
fn failures_of_a_ring_are_no_evidence_and_count_as_harm() {
    let budget = "[route.rollout]\nexposure = { failed_requests = 40 }";
    for (more, failures) in [("", 100), (budget, 41)] {
        let ruled = Ruled::with("10%", |setup| {
            setup.section(&ring("internal", "100%", "")).section(more)
        });
        let mut client = ruled.proxy.client();
        for number in 0..100 {
            // Never two in a row.
            for (behaviour, status) in [(Behaviour::Status(500), 500), (Behaviour::Good, 200)] {
                ruled.canary.behave(behaviour);
                let user = format!("user-{number}");
                let fields = [("x-user", &*user), ("x-ring", "internal")];
                let said = client.get("/", &fields).status;
                let expected = if number < failures { status } else { 200 };
                assert_eq!(said, expected, "{number}");
            }
        }
        let is_over = ruled.proxy.status()["phase"] == "rolled_back";
        assert_eq!(is_over, failures < 100);
        let (_, verdict) = ruled
            .proxy
            .admin("GET", "/v1/routes/default/verdict", &Value::Null);
        let errors = &verdict["gates"][0];
        assert_eq!(errors["canary"]["samples"], 0, "{verdict}");
    }
}

#[test]
fn an_explanation_and_the_access_log_name_the_rule() {
    let directory = Directory::new("rules");
    let path = directory.path("access.log");
    let rules = [
        ring("internal", "100%", ""),
        ring(
            "early",
            "50%",
            "from_weight = \"10%\"\nuntil_weight = \"60%\"",
        ),
        "[[route.rule]]\nname = \"api\"\nmatch = { path = \"/api/*\" }\nweight = \"0%\"\n"
            .to_owned(),
    ];
    let ruled = Ruled::with("20%", |setup| {
        setup
            .section(&rules.concat())
            .table(&format!("[log.access]\noutput = \"{path}\""))
    });
    let user = (0..)
        .map(|number| format!("user-{number}"))
        .find(|user| role_of(user, "50%") == "canary" && role_of(user, "20%") == "stable")
        .expect("there is one");
    let ask = |ring: &str, path: &str| {
        let answer = ruled.explain(&json!({
            "headers": { "x-user": user, "x-ring": ring }, "path": path,
        }));
        let fields = [("x-user", &*user), ("x-ring", ring)];
        assert_eq!(
            ruled.proxy.get(path, &fields).text(),
            answer["role"],
            "{answer}"
        );
        answer
    };
    let internal = ask("internal", "/");
    assert_eq!(
        internal["rule"],
        json!({
            "name": "internal", "weight": "100%", "from_weight": "0.0001%",
            "until_weight": null, "in_force": true,
        })
    );
    assert_eq!(internal["canary_from"], "0.0001%");
    let why = internal["why"].as_str().expect("says why");
    assert!(
        why.starts_with("the rule internal gives the canary 100% of such requests at a weight of 0.0001% or more; split by the header x-user"),
        "{why}"
    );
    let early = ask("early", "/");
    assert_eq!(
        (&early["role"], &early["canary_from"]),
        (&json!("canary"), &json!("10%"))
    );
    let api = ask("other", "/api/x?y");
    assert_eq!(
        (&api["role"], &api["canary_from"]),
        (&json!("stable"), &Value::Null)
    );
    let other = ask("other", "/");
    assert_eq!(other["rule"], Value::Null);
    ruled.proxy.set_weight("5%");
    let early = ask("early", "/");
    assert_eq!(
        (&early["role"], &early["rule"]["in_force"]),
        (&json!("stable"), &json!(false))
    );

    let named: Vec<Value> = some("every request is logged", || {
        let text = fs::read_to_string(&path).ok()?;
        let lines: Option<Vec<Value>> = text
            .lines()
            .map(|line| serde_json::from_str(line).ok())
            .collect();
        lines.filter(|lines| lines.len() == 5)
    });
    let named: Vec<_> = named.iter().map(|line| line["rule"].clone()).collect();
    assert_eq!(
        named,
        [
            json!("internal"),
            json!("early"),
            json!("api"),
            Value::Null,
            Value::Null
        ]
    );
}

#[test]
fn a_key_that_is_an_address_is_the_client_for_the_rules_too() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let rule = "[[route.rule]]\nmatch = { client = [\"10.0.0.0/8\"] }\nweight = \"100%\"\n";
    let proxy = Setup::canary(&stable, &canary, "0.0001%")
        .top("trusted_proxies = [\"127.0.0.0/8\"]")
        .section(rule)
        .start();
    for (client, role) in [("10.1.2.3", "canary"), ("192.0.2.1", "stable")] {
        for question in [json!({ "key": client }), json!({ "client": client })] {
            let (status, answer) = proxy.admin("POST", "/v1/explain", &question);
            assert_eq!((status, &answer["role"]), (200, &json!(role)), "{answer}");
        }
        let fields = [("x-forwarded-for", client)];
        assert_eq!(proxy.get("/", &fields).text(), role);
    }
}
