//! Every way in that must stay closed, and those that must be open.

use hyper::Request;

use super::*;

fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("valid").into_parts().0
}

fn access(address: &str, token: Option<&str>) -> Access {
    let token = token.map(|token| Secret(token.into()));
    let token = Arc::new(ArcSwapOption::new(token.map(Arc::new)));
    let address = match address.strip_prefix("unix:") {
        Some(path) => AdminAddress::Unix(path.into()),
        None => AdminAddress::Tcp(address.parse().expect("address")),
    };
    Access::new(address, token)
}

#[test]
fn a_host_names_the_listener_or_is_refused() {
    let v4 = access("127.0.0.1:7411", None);
    let v6 = access("[::1]:7411", None);
    let open = access("0.0.0.0:7411", Some("secret"));
    for (host, loopback, anywhere) in [
        ("127.0.0.1:7411", true, true),
        ("localhost:7411", true, true),
        ("LOCALHOST:7411", true, true),
        ("127.9.9.9:7411", true, true),
        ("[::1]:7411", true, true),
        ("[::ffff:127.0.0.1]:7411", true, true),
        ("127.0.0.1", false, true),
        ("localhost", false, true),
        ("localhost:80", false, true),
        ("127.0.0.1:7412", false, true),
        ("10.1.2.3:7411", false, true),
        ("[2001:db8::1]:9000", false, true),
        ("evil.example:7411", false, false),
        ("localhost.evil.example:7411", false, false),
        ("127.0.0.1.evil.example:7411", false, false),
        ("localhost@evil.example:7411", false, false),
        ("evil.example@localhost:7411", false, false),
        ("user@127.0.0.1:7411", false, false),
        ("", false, false),
        ("localhost:7411/x", false, false),
        ("localhost:7411, evil.example", false, false),
        ("2130706433:7411", false, false),
        ("0x7f.1:7411", false, false),
    ] {
        let head = parts("/v1/routes", &[("host", host)]);
        assert_eq!(v4.check_sender(&head).is_ok(), loopback, "v4 {host}");
        assert_eq!(v6.check_sender(&head).is_ok(), loopback, "v6 {host}");
        assert_eq!(open.check_sender(&head).is_ok(), anywhere, "open {host}");
    }
}

#[test]
fn a_unix_socket_has_any_host_but_no_page_of_a_name() {
    let socket = access("unix:/run/haldane/admin.sock", None);
    for (fields, good) in [
        (&[("host", "localhost")][..], true),
        (&[("host", "anything.example")], true),
        (&[("host", "localhost@evil.example")], false),
        (&[], false),
        (&[("host", "a"), ("host", "a")], false),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "http://localhost:7411"),
            ],
            true,
        ),
        (
            &[
                ("host", "127.0.0.1:7411"),
                ("origin", "http://127.0.0.1:7411"),
            ],
            true,
        ),
        (
            &[("host", "localhost"), ("origin", "http://evil.example")],
            false,
        ),
        (
            &[("host", "evil.example"), ("origin", "http://evil.example")],
            false,
        ),
        (&[("host", "localhost"), ("origin", "null")], false),
    ] {
        let head = parts("/v1/routes", fields);
        assert_eq!(socket.check_sender(&head).is_ok(), good, "{fields:?}");
        assert_eq!(socket.check_scraper(&head).is_ok(), good, "{fields:?}");
        assert!(socket.check_token(&head).is_ok());
    }
}

#[test]
fn a_name_needs_the_token_where_the_listener_has_an_address_of_the_network() {
    let open = access("10.0.0.1:7411", Some("secret"));
    for (authorization, expected) in [
        ("Bearer secret", true),
        ("bearer secret", true),
        ("Bearer secre", false),
        ("Bearer secret ", false),
        ("Bearer  secret", false),
        ("Basic secret", false),
        ("secret", false),
        ("Bearer", false),
        ("", false),
    ] {
        let fields = [
            ("host", "haldane.internal:7411"),
            ("authorization", authorization),
        ];
        let head = parts("/v1/routes", &fields);
        assert_eq!(
            open.check_sender(&head).is_ok(),
            expected,
            "{authorization}"
        );
        assert_eq!(open.check_token(&head).is_ok(), expected, "{authorization}");
        assert!(open.check_scraper(&head).is_ok());
    }
    let twice = [
        ("host", "10.0.0.1:7411"),
        ("authorization", "Bearer secret"),
        ("authorization", "Bearer guess"),
    ];
    assert!(open.check_token(&parts("/", &twice)).is_err());
}

#[test]
fn no_token_opens_a_loopback_listener_to_another_name() {
    let access = access("127.0.0.1:7411", Some("secret"));
    let fields = [
        ("host", "evil.example:7411"),
        ("authorization", "Bearer secret"),
    ];
    let head = parts("/v1/routes", &fields);
    assert!(access.check_sender(&head).is_err());
    assert!(access.check_scraper(&head).is_err());
}

#[test]
fn the_page_of_another_site_is_refused() {
    let access = access("127.0.0.1:7411", None);
    for (origin, expected) in [
        ("http://127.0.0.1:7411", true),
        ("http://localhost:7411", false),
        ("http://127.0.0.1:3000", false),
        ("http://127.0.0.1", false),
        ("http://evil.example", false),
        ("http://127.0.0.1:7411.evil.example", false),
        ("null", false),
        ("", false),
        ("127.0.0.1:7411", false),
    ] {
        let head = parts("/", &[("host", "127.0.0.1:7411"), ("origin", origin)]);
        assert_eq!(access.check_sender(&head).is_ok(), expected, "{origin}");
    }
    let two = [
        ("host", "127.0.0.1:7411"),
        ("origin", "http://127.0.0.1:7411"),
        ("origin", "http://evil.example"),
    ];
    assert!(access.check_sender(&parts("/", &two)).is_err());
}

#[test]
fn one_host_and_the_same_in_an_absolute_target() {
    let access = access("127.0.0.1:7411", None);
    let own = ("host", "127.0.0.1:7411");
    assert!(access.check_sender(&parts("/", &[])).is_err());
    assert!(access.check_sender(&parts("/", &[own, own])).is_err());
    let absolute = |host: &str| parts(&format!("http://{host}/v1/routes"), &[own]);
    assert!(access.check_sender(&absolute("127.0.0.1:7411")).is_ok());
    assert!(access.check_sender(&absolute("evil.example:7411")).is_err());
}
