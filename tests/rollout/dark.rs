//! A step without traffic, and the switch to everything.

use super::*;

const BLUE_GREEN: &str = "plan = \"blue-green\"";

#[test]
fn a_canary_without_traffic_is_reached_by_name_until_it_is_rolled_back() {
    let walk = Walk::start(BLUE_GREEN);
    let status = walk.until("progressing");
    assert_eq!(status["weight"], "0%");
    let by_name = [("x-version", "canary")];
    for user in 0..50 {
        let user = user.to_string();
        assert_eq!(walk.version_of(&user, &[]), "stable");
        assert_eq!(walk.version_of(&user, &by_name), "canary");
    }
    let (_, answer) = walk.command("rollback", &json!({}));
    assert_eq!(answer["phase"], "rolled_back");
    assert_eq!(walk.version_of("1", &by_name), "stable");
}

#[test]
fn the_switch_is_one_command_and_so_is_the_way_back() {
    let walk = Walk::start(BLUE_GREEN);
    walk.until("progressing");
    let load = Load::on(&walk.proxy);
    let (_, answer) = walk.command("promote", &json!({}));
    assert_eq!(
        (&answer["phase"], &answer["weight"]),
        (&json!("promoted"), &json!("100%"))
    );
    for user in 0..50 {
        assert_eq!(walk.version_of(&user.to_string(), &[]), "canary");
    }
    let (_, answer) = walk.command("rollback", &json!({}));
    assert_eq!(answer["weight"], "0%");
    for user in 0..50 {
        assert_eq!(walk.version_of(&user.to_string(), &[]), "stable");
    }
    assert_eq!(load.end(), 0);
}

#[test]
fn a_weight_of_zero_without_such_a_step_is_none_for_anybody() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "0%")
        .section(
            "[route.sticky]\nkey = \"header:x-user\"\n\
             force = { header = \"x-version\", from = [\"127.0.0.0/8\"] }",
        )
        .start();
    let answer = proxy.get("/", &[("x-version", "canary")]);
    assert_eq!(answer.text(), "stable");
}
