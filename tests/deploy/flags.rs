//! The recipe for a feature-flag service in `deploy/README.md`, in both directions.

use std::process::Command;

use serde_json::{Value, json};

use super::read;
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::tools::run;
use crate::support::upstream::{Behaviour, Upstream};

const TOKEN: &str = "flags-may-steer";

/// The commands of the recipe, in their order.
fn commands() -> Vec<String> {
    let page = read("deploy/README.md");
    let recipe = page.split("## With a feature-flag service").nth(1);
    let recipe = recipe.and_then(|rest| rest.split("\n## ").next());
    let blocks = recipe.expect("a section").split("```sh\n").skip(1);
    let block = |rest: &str| rest.split("```").next().expect("an end").to_owned();
    blocks.map(block).collect()
}

/// How a command ends with this share.
fn ends_with(command: &str, proxy: &Proxy, percent: &str) -> Option<i32> {
    let ran = run(Command::new("sh")
        .args(["-eu", "-c", command])
        .env("HALDANE_ADMIN", format!("http://{}", proxy.admin_address))
        .env("HALDANE_TOKEN", TOKEN)
        .env("ROUTE", "checkout")
        .env("PERCENT", percent));
    eprintln!("{}{}", ran.out, ran.err);
    ran.code
}

#[test]
fn a_flag_and_the_split_say_the_same_in_both_directions() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let function = Upstream::named("function");
    let directory = Directory::new("deploy-flags");
    let token = directory.path("token");
    std::fs::write(&token, TOKEN).expect("writes");
    let proxy = Setup::canary(&stable, &canary, "0%")
        .with(
            "admin = { listen = \"127.0.0.1:0\" }",
            &format!("admin = {{ listen = \"127.0.0.1:0\", token_file = \"{token}\" }}"),
        )
        .table(&format!(
            "[[notify]]\nurl = \"{}\"\nformat = \"json\"\nevents = [\"rolled_back\"]",
            function.url()
        ))
        .route("name = \"checkout\"")
        .route("flag = { header = \"x-feature-new-checkout\", canary = \"on\", stable = \"off\" }")
        .by_user()
        .meltdown(1)
        .start();
    let says = |upstream: &Upstream| {
        proxy.get("/", &[("x-user", "a")]);
        let last = upstream.log.arrivals().pop().expect("it came");
        last.head.one("x-feature-new-checkout")
    };
    let standing = || {
        let (_, status) = proxy.admin("GET", "/v1/routes/checkout", &Value::Null);
        (status["phase"].clone(), status["weight"].clone())
    };
    let [weight, rollback] = &commands()[..] else {
        panic!("{:?}", commands())
    };
    assert_eq!(says(&stable).as_deref(), Some("off"));
    for _ in 0..2 {
        assert_eq!(ends_with(weight, &proxy, "100"), Some(0));
    }
    assert_eq!(says(&canary).as_deref(), Some("on"));

    canary.behave(Behaviour::Status(500));
    says(&canary);
    eventually("the function is told", || function.log.len() == 1);
    assert_eq!(says(&stable).as_deref(), Some("off"));
    let notice: Value = serde_json::from_slice(&function.log.only().body.bytes).expect("is JSON");
    for (name, value) in [
        ("event", json!("rolled_back")),
        ("route", json!("checkout")),
        ("version", json!("v2")),
        ("generation", json!(1)),
    ] {
        assert_eq!(notice[name], value, "{notice}");
    }
    assert!(
        notice["sentence"]
            .as_str()
            .is_some_and(|why| why.contains("meltdown"))
    );

    assert_eq!(ends_with(weight, &proxy, "25"), Some(22));
    for _ in 0..2 {
        assert_eq!(ends_with(rollback, &proxy, ""), Some(0));
    }
    assert_eq!(standing(), (json!("rolled_back"), json!("0%")));
}
