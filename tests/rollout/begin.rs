//! What must hold before the first step.

use super::*;

fn hooked(hook: &Upstream) -> Walk {
    Walk::start(&format!(
        "steps = [\"5% for 1h\", \"100%\"]\npre = [{{ url = \"{}/may-roll-out?key=secret\" }}]",
        hook.url()
    ))
}

#[test]
fn a_rollout_begins_when_everybody_asked_has_said_yes() {
    let hook = Upstream::named("no, the build is red");
    hook.behave(Behaviour::Status(503));
    let walk = hooked(&hook);
    let waits_for = some("it says what it waits for", || {
        let status = walk.proxy.status();
        let waits_for = status["waits_for"].as_str().unwrap_or_default().to_owned();
        waits_for.contains("a yes of").then_some(waits_for)
    });
    assert!(
        waits_for.contains(&hook.url())
            && waits_for.contains("503")
            && waits_for.contains("no, the build is red")
            && !waits_for.contains("secret"),
        "{waits_for}"
    );
    assert_eq!(walk.proxy.status()["weight"], "0%");
    let (status, answer) = walk.command("promote", &json!({}));
    assert_eq!(status, 409, "{answer}");
    hook.behave(Behaviour::Good);
    walk.until("progressing");
    let asked = hook.log.arrivals();
    assert!(asked.len() >= 2);
    let events = walk.proxy.all_events(0);
    let agreed: Vec<_> = events
        .iter()
        .filter(|one| one["kind"] == "agreed")
        .collect();
    assert_eq!(agreed.len(), 1, "{events:?}");
    assert_eq!(
        [
            &agreed[0]["actor"],
            &agreed[0]["status"],
            &agreed[0]["reason"]
        ],
        [
            &json!(hook.url()),
            &json!(200),
            &json!("no, the build is red")
        ]
    );
    let asked: Value = serde_json::from_slice(&asked[0].body.bytes).unwrap();
    assert_eq!(
        asked,
        json!({
            "schema": "haldane.question/1", "route": "default", "version": "v2",
            "stable_version": "v1", "generation": 1, "from": "0%", "to": "5%",
        })
    );
}

#[test]
fn each_generation_is_asked_about_anew() {
    let hook = Upstream::named("yes");
    let walk = hooked(&hook);
    walk.until("progressing");
    assert_eq!(hook.log.len(), 1);
    hook.behave(Behaviour::Status(403));
    walk.proxy.roll_back();
    walk.proxy.retry();
    eventually("it is asked", || hook.log.len() > 1);
    assert_eq!(walk.proxy.status()["phase"], "idle");
}

#[test]
fn the_gates_are_tried_before_the_first_step() {
    let walk = Walk::start("steps = [\"5% for 1h\", \"100%\"]");
    let status = walk.until("progressing");
    let drill = &status["drill"];
    assert_eq!(drill["tripped"], true);
    assert_eq!(drill["generation"], 1);
    assert!(drill["seconds"].as_f64().unwrap() < 1.0);
    let sentence = drill["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("errors tripped after"), "{sentence}");
    // Nothing of it is evidence.
    assert_eq!(status["gates"][0]["samples"], 0);
}

/// What one route does is nothing to another.
#[test]
fn routes_roll_out_independently() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let other = format!(
        "[[route]]\nname = \"other\"\nmatch = {{ path = \"/other/*\" }}\nstable = \"{}\"\n\
         canary = \"{}\"\n[route.rollout]\nsteps = [\"20% for 1h\", \"100%\"]",
        stable.url(),
        canary.url()
    );
    let proxy = setup(&stable, &canary, "steps = [\"5% for 1h\", \"100%\"]")
        .section(GATE)
        .section(&other)
        .start();
    let of = |route: &str| {
        let path = format!("/v1/routes/{route}");
        proxy.admin("GET", &path, &Value::Null).1
    };
    for route in ["default", "other"] {
        eventually("both begin", || of(route)["phase"] == "progressing");
    }
    proxy.roll_back();
    assert_eq!(of("default")["phase"], "rolled_back");
    let other = of("other");
    assert_eq!(
        (&other["phase"], &other["weight"]),
        (&json!("progressing"), &json!("20%"))
    );
}

/// Routes that no request is on are looked at less often where there are many.
#[test]
fn of_many_routes_those_without_requests_go_on() {
    const ROUTES: usize = 120;
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let plan = "steps = [\"5% for 1s\", \"100%\"]\nmax_hold = \"1s\"";
    let mut setup = setup(&stable, &canary, plan).section(GATE);
    for index in 1..ROUTES {
        setup = setup.section(&format!(
            "[[route]]\nname = \"r{index}\"\nmatch = {{ path = \"/{index}/*\" }}\n\
             stable = \"{}\"\ncanary = \"{}\"\n[route.rollout]\n{plan}\n{GATE}",
            stable.url(),
            canary.url()
        ));
    }
    let proxy = setup.start();
    let paused = || {
        let (_, list) = proxy.admin("GET", "/v1/routes", &Value::Null);
        let routes = list["routes"].as_array().expect("a list");
        assert_eq!(routes.len(), ROUTES);
        let is_paused = |route: &&Value| route["phase"] == "paused";
        routes.iter().filter(is_paused).count()
    };
    eventually("all have waited long enough", || paused() == ROUTES);
}
