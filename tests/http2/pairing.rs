//! What is passed on, whoever speaks which version of HTTP.

use super::pairs::{Below, Fields, Pair, Seen, Told, each, each_with, fields};
use crate::support::proxy::Setup;

/// Something that no buffer holds at once.
fn large() -> Vec<u8> {
    (0..300_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect()
}

fn ok() -> Told {
    Told {
        status: 200,
        body: Some(b"well".to_vec()),
        with_length: true,
        ..Told::default()
    }
}

fn get(list: &[(&str, &str)]) -> Told {
    Told {
        fields: fields(list),
        ..Told::default()
    }
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    each(
        |_| ok(),
        |pair| {
            let sent = get(&[
                ("x-one", "1"),
                ("cookie", "a=1"),
                ("x-many", "first"),
                ("cookie", "b=2"),
                ("x-many", "second"),
                ("te", "trailers"),
                ("x-many", "third"),
            ]);
            let answer = pair.ask("GET", "/a/b?c=d&e=%20", &sent);
            assert_eq!(
                (answer.start.as_str(), &answer.body[..]),
                ("200", &b"well"[..])
            );
            let seen = pair.arrived();
            assert_eq!(seen.start, "GET /a/b?c=d&e=%20");
            assert_eq!(seen.host, "test");
            assert_eq!(seen.all("x-one"), ["1"]);
            assert_eq!(seen.all("x-many"), ["first", "second", "third"]);
            assert_eq!(seen.all("te"), ["trailers"]);
            let (via, scheme) = match pair.below {
                Below::H1 => ("1.1 haldane", "http"),
                Below::H2 => ("2.0 haldane", "http"),
                Below::H2Tls => ("2.0 haldane", "https"),
            };
            for (name, value) in [
                ("via", via),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "test"),
                ("x-forwarded-proto", scheme),
                ("x-haldane-role", "stable"),
                ("x-haldane-version", "v1"),
            ] {
                assert_eq!(seen.all(name), [value], "{name}");
            }
            let cookies = if pair.below == Below::H1 {
                vec!["a=1", "b=2"]
            } else {
                vec!["a=1; b=2"]
            };
            assert_eq!(seen.all("cookie"), cookies);
            let nominated = if pair.above_is_h2() {
                vec![]
            } else {
                vec!["te"]
            };
            assert_eq!(seen.all("connection"), nominated);
            for name in ["content-length", "transfer-encoding", "host"] {
                assert!(seen.all(name).is_empty(), "{name}");
            }
        },
    );
}

#[test]
fn an_answer_arrives_as_it_was_sent() {
    let answer = |_: &Seen| Told {
        status: 404,
        fields: fields(&[
            ("set-cookie", "a=1"),
            ("x-one", "1"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("set-cookie", "b=2"),
        ]),
        body: Some(large()),
        with_length: true,
        ..Told::default()
    };
    each(answer, |pair| {
        let seen = pair.ask("GET", "/", &get(&[]));
        assert_eq!(seen.start, "404");
        assert_eq!(seen.all("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(seen.all("x-one"), ["1"]);
        assert_eq!(seen.all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert_eq!(seen.all("content-length"), ["300000"]);
        assert!(seen.all("connection").is_empty());
        assert!(seen.body == large());
    });
}

/// A body both ways, its length told or not, with trailers where there can be some.
#[test]
fn bodies_and_trailers_pass_both_ways() {
    let echo = |seen: &Seen| {
        let with_length = seen.start.ends_with("/length");
        Told {
            status: 200,
            body: Some(large()),
            with_length,
            trailers: if with_length {
                Vec::new()
            } else {
                fields(&[("x-sum", "down"), ("x-more", "")])
            },
            ..Told::default()
        }
    };
    each(echo, |pair| {
        for (path, with_length) in [("/length", true), ("/streamed", false)] {
            let trailers = if with_length {
                Vec::new()
            } else {
                fields(&[("x-sum", "up"), ("x-other", "a b")])
            };
            let sent = Told {
                fields: fields(&[("te", "trailers")]),
                body: Some(large()),
                with_length,
                trailers: trailers.clone(),
                ..Told::default()
            };
            let answer = pair.ask("POST", path, &sent);
            let seen = pair.arrived();
            assert!(seen.body == large() && answer.body == large());
            assert_eq!(seen.trailers, trailers);
            if with_length {
                assert_eq!(seen.all("content-length"), ["300000"]);
                assert_eq!(answer.all("content-length"), ["300000"]);
                assert!(answer.trailers.is_empty());
            } else {
                assert!(seen.all("content-length").is_empty());
                assert!(answer.all("content-length").is_empty());
                assert_eq!(
                    answer.trailers,
                    fields(&[("x-sum", "down"), ("x-more", "")])
                );
            }
        }
    });
}

/// What tells of a role, or names one, is a field of the head and never a trailer: upstreams
/// would take it for haldane's word.
#[test]
fn no_trailer_tells_of_a_role() {
    fn named() -> Fields {
        fields(&[
            ("x-sum", "1"),
            ("x-feature", "on"),
            ("x_feature", "on"),
            ("x-pick", "canary"),
            ("x_pick", "canary"),
            ("baggage", "haldane.role=canary"),
            ("x-haldane-role", "canary"),
            ("x_haldane_role", "canary"),
            ("x-haldane-version", "v2"),
            ("x-features", "2"),
        ])
    }
    let marked = |setup: Setup| {
        let route = setup.route("flag = { header = \"X-Feature\" }\nbaggage = true");
        route.section("[route.sticky]\nforce = { header = \"X-Pick\", from = [\"127.0.0.0/8\"] }")
    };
    let answer = |_: &Seen| Told {
        status: 200,
        body: Some(b"word".to_vec()),
        trailers: named(),
        ..Told::default()
    };
    each_with(marked, answer, |pair| {
        let sent = Told {
            fields: fields(&[
                ("te", "trailers"),
                ("x_pick", "canary"),
                ("x_feature", "on"),
            ]),
            body: Some(b"word".to_vec()),
            trailers: named(),
            ..Told::default()
        };
        let answer = pair.ask("POST", "/", &sent);
        let seen = pair.arrived();
        assert!(seen.all("x_pick").is_empty() && seen.all("x_feature").is_empty());
        let left = fields(&[("x-sum", "1"), ("x-features", "2")]);
        assert_eq!((answer.trailers, seen.trailers), (left.clone(), left));
    });
}

#[test]
fn what_has_no_body_gets_none() {
    let answer = |seen: &Seen| {
        let status = match seen.start.split(' ').nth(1) {
            Some("/204") => 204,
            Some("/304") => 304,
            _ => 200,
        };
        Told {
            status,
            body: (status == 200).then(|| b"hello".to_vec()),
            with_length: true,
            fields: match status {
                304 => fields(&[("content-length", "1000"), ("etag", "\"x\"")]),
                _ => Vec::new(),
            },
            ..Told::default()
        }
    };
    each(answer, |pair| {
        for (method, path, status, length) in [
            ("HEAD", "/", "200", &["5"][..]),
            ("GET", "/204", "204", &[]),
            ("GET", "/304", "304", &["1000"]),
            ("HEAD", "/304", "304", &["1000"]),
            ("GET", "/", "200", &["5"]),
        ] {
            let seen = pair.ask(method, path, &get(&[]));
            assert_eq!(seen.start, status, "{method} {path}");
            assert_eq!(seen.all("content-length"), length, "{method} {path}");
            let empty = method == "HEAD" || status != "200";
            assert_eq!(seen.body.is_empty(), empty, "{method} {path}");
            assert!(pair.arrived().body.is_empty());
        }
    });
}

/// Towards HTTP/1.1 the length of a body that is none is told, which some servers ask for.
#[test]
fn an_empty_post_has_a_length_where_that_is_asked_for() {
    each(
        |_| ok(),
        |pair| {
            let streamed = Told {
                body: Some(Vec::new()),
                ..Told::default()
            };
            let told = Told {
                with_length: true,
                ..streamed.clone()
            };
            for (sent, length) in [(&told, Some("0")), (&get(&[]), None), (&streamed, None)] {
                assert_eq!(pair.ask("POST", "/", sent).start, "200");
                let seen = pair.arrived();
                assert!(seen.body.is_empty());
                let has_frames = pair.below != Below::H1 && !pair.above_is_h2();
                let expected = match length {
                    None if has_frames && sent.body.is_none() => Some("0"),
                    length => length,
                };
                assert_eq!(
                    seen.all("content-length").first().copied(),
                    expected,
                    "{sent:?}"
                );
            }
        },
    );
}

#[test]
fn interim_answers_pass() {
    let answer = |seen: &Seen| {
        let mut told = ok();
        if seen.all("expect") == ["100-continue"] {
            told.interim.push((100, Vec::new()));
        }
        let link = |target: &str| (103, fields(&[("link", target)]));
        told.interim
            .extend([link("</a>; rel=preload"), link("</b>; rel=preload")]);
        told
    };
    each(answer, |pair: &mut Pair| {
        let links = |seen: &Seen| -> Vec<_> {
            let status = |(status, list): &(u16, Vec<(String, String)>)| {
                let link = list.iter().find(|(name, _)| name == "link");
                (*status, link.map(|(_, value)| value.clone()))
            };
            seen.interim.iter().map(status).collect()
        };
        let early = |target: &str| (103, Some(format!("<{target}>; rel=preload")));
        let seen = pair.ask("GET", "/", &get(&[]));
        assert_eq!((seen.start.as_str(), &seen.body[..]), ("200", &b"well"[..]));
        assert_eq!(links(&seen), [early("/a"), early("/b")]);
        let sent = Told {
            fields: fields(&[("expect", "100-continue")]),
            body: Some(large()),
            with_length: true,
            ..Told::default()
        };
        drop(pair.arrived());
        let seen = pair.ask("POST", "/", &sent);
        assert_eq!(links(&seen), [(100, None), early("/a"), early("/b")]);
        assert!(pair.arrived().body == large());
    });
}
