//! Whole exchanges: both bodies, interim responses, expectations, old clients.

use crate::support::client::request;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::Framing;

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\n",
    );
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n00A ; q = \"q\\\"\" ;r\r\n0123456789\r\n0\r\nX-Up: 2\r\nHost: evil\r\nAuthorization: no\r\n\r\n",
        );
        let answer = client.answer_to("POST");
        assert_eq!(answer.end, Ok(()));
        assert_eq!(answer.text(), "hello world");
        assert_eq!(answer.body.trailers, [("X-Sum".to_owned(), b"1".to_vec())]);
    }
    for arrival in upstream.log.arrivals() {
        assert_eq!(arrival.body.bytes, b"abc0123456789");
        assert_eq!(arrival.body.trailers, [("X-Up".to_owned(), b"2".to_vec())]);
    }
    assert_eq!(upstream.log.connections(), 1, "the connection was reused");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.request() {
            let path = head.word(1).to_owned();
            connection.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let mut all = String::new();
    for index in 0..200 {
        let body = if index % 3 == 0 { "some body" } else { "" };
        all.push_str(&request("POST", &format!("/{index}"), &[], body));
    }
    all.push_str("GET / HTTP/1.1\r\nbroken\r\n\r\nGET /never HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(&all);
    for index in 0..200 {
        let answer = client.answer_to("POST");
        assert_eq!((answer.status, answer.text()), (200, format!("/{index}")));
    }
    assert_eq!(client.answer_to("GET").status, 400);
    assert!(client.is_closed());
    let paths: Vec<_> = upstream.log.arrivals();
    assert_eq!(paths.len(), 200);
    assert!(paths.iter().all(|arrival| arrival.head.word(1) != "/never"));
}

#[test]
fn a_request_in_pieces_is_the_same_request() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    let text = "\r\nPOST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in text.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer_to("POST").text(), "stable");
    assert_eq!(upstream.log.only().body.bytes, b"abc");
}

#[test]
fn http_1_0_clients_get_what_they_understand() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    );
    let proxy = Setup::stable(&upstream).start();
    for text in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(text);
        let answer = client.answer_to("GET");
        assert_eq!(answer.head.all("transfer-encoding"), [""; 0]);
        assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        assert_eq!((answer.text().as_str(), answer.end), ("hello", Ok(())));
    }

    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer_to("GET").text(), "stable");
    assert!(client.is_closed());

    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = client.answer_to("GET");
        assert_eq!(answer.text(), "stable");
        assert_eq!(answer.head.one("connection").as_deref(), Some("keep-alive"));
    }
}

#[test]
fn interim_responses_are_passed_on_to_those_who_understand_them() {
    let upstream = Upstream::answering(
        "HTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/", &[]);
        assert_eq!(answer.text(), "hello");
        let links: Vec<_> = answer.interim.iter().map(|head| head.one("link")).collect();
        let expected = ["</a>; rel=preload", "</b>; rel=preload"];
        assert_eq!(links, expected.map(|link| Some(link.to_owned())));
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.answer_to("GET");
    assert_eq!((answer.interim.len(), answer.text().as_str()), (0, "hello"));
}

#[test]
fn an_upstream_that_never_comes_to_the_point_is_given_up() {
    let upstream = Upstream::scripted(|mut connection| {
        if connection.request().is_some() {
            while connection.wire.write("HTTP/1.1 102 Processing\r\n\r\n") {}
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let answer = proxy.get("/", &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (502, "upstream_response")
    );
}

#[test]
fn expectations_are_relayed() {
    let upstream = Upstream::scripted(|mut connection| {
        while let Some(head) = connection.head() {
            assert_eq!(head.one("expect").as_deref(), Some("100-Continue"));
            connection.wire.write("HTTP/1.1 100 Continue\r\n\r\n");
            let (body, end) = connection.wire.body(Framing::Length(4));
            if end.is_err() || body.bytes != b"body" {
                return;
            }
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(
            "PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n",
        );
        assert!(matches!(client.response_head(), Ok((_, 100))));
        client.send("body");
        assert_eq!(client.answer_to("PUT").status, 200);
    }
}

#[test]
fn a_final_status_before_the_body_is_delivered_and_poisons_nothing() {
    let upstream = Upstream::scripted(|mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            // What comes next must not be a request: its bytes would be a body's.
            while connection.head().is_some() {}
        }
    });
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    // Also where a server may think that there is no body (0.CL).
    for method in ["POST", "GET"] {
        let mut client = proxy.client();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n",
        ));
        let answer = client.answer_to(method);
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
        assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
        assert!(client.is_closed());
    }
    let arrivals = upstream.log.arrivals();
    assert_eq!(arrivals.len(), 2);
    assert_ne!(arrivals[0].connection, arrivals[1].connection);
}

#[test]
fn an_unread_body_is_never_taken_for_a_request() {
    let upstream = Upstream::refusing();
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    client.send(request(
        "POST",
        "/",
        &[],
        "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
    ));
    assert_eq!(client.answer_to("POST").status, 502);
    assert!(client.is_closed());
}
