//! Whom the admin and the ops listener refuse, and whom nothing keeps out.

use super::{JSON, Split, problem, send};
use crate::support::client::Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

#[test]
fn what_a_page_of_another_site_can_send_is_refused() {
    let split = Split::start("50%");
    let admin = split.proxy.admin_address;
    let (port, own) = (admin.port(), format!("http://{admin}"));
    let localhost = format!("localhost:{port}");
    let other_port = format!("127.0.0.1:{}", port ^ 1);
    let rollback = ("POST", "/v1/rollback");
    for (fields, status) in [
        (vec![("host", "evil.example")], 403),
        (vec![("host", &*format!("evil.example:{port}"))], 403),
        (vec![("host", &*other_port)], 403),
        (vec![("host", "")], 403),
        (vec![("host", &*localhost), ("host", &*localhost)], 400),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", &*format!("http://{localhost}"))], 403),
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            415,
        ),
        (
            vec![("content-type", "multipart/form-data; boundary=x")],
            415,
        ),
        (vec![("content-type", "text/plain")], 415),
        (vec![("content-type", "application/jsonp")], 415),
        (vec![JSON, JSON], 415),
    ] {
        let response = send(admin, rollback, &fields, "{}");
        assert_eq!(response.status, status, "{fields:?}");
        problem(&response);
        if status == 403 {
            let read = send(admin, ("GET", "/v1/routes"), &fields, "");
            assert_eq!(read.status, 403, "reads leak too: {fields:?}");
            assert_eq!(send(admin, ("GET", "/metrics"), &fields, "").status, 403);
            assert_eq!(send(admin, ("GET", "/livez"), &fields, "").status, 200);
        }
    }
    let mut client = Client::connect(admin);
    client.send("POST /v1/rollback HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer_to("POST").status, 400, "no Host at all");
    assert!(split.proxy.events(0).is_empty(), "nothing was carried out");

    let fields = [
        ("host", &*localhost),
        ("origin", &*format!("http://{localhost}")),
    ];
    assert_eq!(send(admin, rollback, &fields, "").status, 200);
    let json = [
        ("origin", &*own),
        ("content-type", "Application/JSON; charset=utf-8"),
    ];
    assert_eq!(send(admin, rollback, &json, "{}").status, 200);
}

#[test]
fn with_a_token_commands_need_it_and_reads_do_not() {
    let name = format!("haldane-admin-token-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, "s3cret\n").expect("writes the token");
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let text = Setup::canary(&stable, &canary, "50%").text().replace(
        "admin = { listen = \"127.0.0.1:0\" }",
        &format!("admin = {{ listen = \"127.0.0.1:0\", token_file = {path:?} }}"),
    );
    let proxy = Proxy::start(&text);
    std::fs::remove_file(&path).expect("removes the token");
    let admin = proxy.admin_address;
    for path in [
        "/",
        "/v1/routes",
        "/v1/routes/default/verdict",
        "/metrics",
        "/readyz",
    ] {
        assert_eq!(send(admin, ("GET", path), &[], "").status, 200, "{path}");
    }
    let commands = [
        ("POST", "/v1/rollback"),
        ("POST", "/v1/routes/default/rollback"),
        ("POST", "/v1/routes/default/retry"),
        ("PUT", "/v1/routes/default/weight"),
        ("POST", "/v1/explain"),
        // What single clients have asked for is not for everybody either.
        ("GET", "/v1/routes/default/tap"),
        ("HEAD", "/v1/routes/default/tap"),
    ];
    for command in commands {
        for fields in [
            vec![],
            vec![("authorization", "Bearer s3cre")],
            vec![("authorization", "Bearer s3cret2")],
            vec![("authorization", "Basic s3cret")],
            vec![
                ("authorization", "Bearer s3cret"),
                ("authorization", "Bearer x"),
            ],
        ] {
            let response = send(admin, command, &fields, "");
            assert_eq!(response.status, 401, "{command:?} {fields:?}");
            let challenge = response.head.one("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer"), "{challenge}");
            if command.0 != "HEAD" {
                assert!(!problem(&response).to_string().contains("s3cret"));
            }
        }
    }
    assert!(proxy.events(0).is_empty());
    let token = ("authorization", "Bearer s3cret");
    let evil = [token, ("host", "evil.example")];
    assert_eq!(send(admin, commands[0], &evil, "").status, 403);
    assert_eq!(send(admin, commands[5], &[token], "").status, 200);
    assert_eq!(send(admin, commands[0], &[token], "").status, 200);
    assert_eq!(proxy.events(0).len(), 1);
}

#[test]
fn the_ops_listener_answers_probes_and_scrapes_and_nothing_else() {
    let split = Split::with("50%", |setup| {
        setup.table("[ops]\nlisten = \"127.0.0.1:0\"")
    });
    let ops = split.proxy.ops_address.expect("listens");
    for path in ["/metrics", "/livez", "/readyz", "/startupz"] {
        // Scrapers and probes reach it by whatever name.
        let response = send(ops, ("GET", path), &[("host", "haldane.internal")], "");
        assert_eq!(response.status, 200, "{path}");
    }
    for path in ["/", "/v1/routes", "/v1/events"] {
        assert_eq!(send(ops, ("GET", path), &[], "").status, 404, "{path}");
    }
    for path in ["/v1/rollback", "/v1/routes/default/rollback"] {
        assert_eq!(send(ops, ("POST", path), &[JSON], "").status, 404, "{path}");
    }
    assert!(split.proxy.events(0).is_empty());
}

#[test]
fn stuck_connections_keep_nobody_from_the_kill_switch() {
    let split = Split::start("50%");
    let proxy = &split.proxy;
    let admin = proxy.admin_address;
    let half_a_body = format!(
        "POST /v1/rollback HTTP/1.1\r\nhost: {admin}\r\ncontent-type: application/json\r\n\
         content-length: 10\r\n\r\n{{"
    );
    let mut stuck: Vec<Client> = (0..400)
        .map(|index| {
            let mut client = Client::connect(admin);
            match index % 3 {
                0 => client.send("GET /v1/rou"),
                1 => client.send(&half_a_body),
                _ => {}
            }
            client
        })
        .collect();
    assert_eq!(proxy.get("/", &[("x-user", "a")]).status, 200);
    assert_eq!(proxy.roll_back()["changed"], true);
    assert_eq!(proxy.events(0).len(), 1);
    assert!(stuck[0].is_closed(), "the oldest had to go");
    drop(stuck);
    assert_eq!(split.stable.log.len() + split.canary.log.len(), 1);
}
