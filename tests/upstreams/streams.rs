//! Upstreams that speak HTTP/2: asked in their protocol, and left alone like others.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};

use super::{failures, is_healthy, stable};
use crate::support::eventually::eventually;
use crate::support::upstream::Upstream;

/// Answers every request with 200 and `ok`, in HTTP/2 with prior knowledge.
struct Streams {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request<()>>>>,
}

impl Streams {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let address = listener.local_addr().expect("has an address");
        listener.set_nonblocking(true).expect("does not block");
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("starts a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listens");
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(socket, Arc::clone(&kept)));
                }
            });
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests whose path begins with this.
    fn asked(&self, path: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let asked = seen.iter().filter(|one| one.uri().path().starts_with(path));
        asked.map(|one| format!("{one:?}")).collect()
    }
}

async fn serve(socket: tokio::net::TcpStream, seen: Arc<Mutex<Vec<Request<()>>>>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (head, _) = request.into_parts();
        seen.lock().unwrap().push(Request::from_parts(head, ()));
        if let Ok(mut body) = respond.send_response(Response::new(()), false) {
            // The client may be gone.
            body.send_data(Bytes::from_static(b"ok"), true).ok();
        }
    }
}

#[test]
fn checks_speak_the_protocol_of_requests() {
    let (streams, plain) = (Streams::start(), Upstream::named("plain"));
    let proxy = stable(
        &[streams.url(), plain.url()],
        "upstream_protocol = \"h2\"\nhealth = { path = \"/well?x\", interval = \"100ms\", unhealthy_after = 2 }",
    );
    eventually("it is asked", || streams.asked("/well").len() > 1);
    let asked = &streams.asked("/well")[0];
    let uri = format!("http://{}/well?x", streams.address);
    assert!(asked.contains(&uri), "{asked}");
    assert!(asked.contains("haldane-health"), "{asked}");
    // Whoever does not speak it is not well.
    eventually("it is known", || !is_healthy(&proxy, "stable", &plain));
    for _ in 0..20 {
        assert_eq!(proxy.get("/", &[]).text(), "ok");
    }
}

#[test]
fn a_request_goes_elsewhere_where_no_connection_can_be_opened() {
    let (streams, dead) = (Streams::start(), Upstream::refusing());
    let proxy = stable(
        &[dead.url(), streams.url()],
        "upstream_protocol = \"h2\"\nejection = { failures = 3 }",
    );
    // Many at the same time wait for one that connects; that counts once.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = proxy.client();
                for _ in 0..5 {
                    assert_eq!(client.request("POST", "/", &[], "x").text(), "ok");
                }
            });
        }
    });
    assert_eq!(streams.asked("/").len(), 100);
    assert_eq!(failures(&proxy, "stable"), 0);
    eventually("it is left alone", || {
        assert_eq!(proxy.get("/", &[]).text(), "ok");
        !is_healthy(&proxy, "stable", &dead)
    });
}
