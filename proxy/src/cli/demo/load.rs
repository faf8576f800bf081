//! The clients of the demo: keep-alive connections that speak for a few hundred users.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::role::Role;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::stats::{Answer, AnswerKind, Stats};
use super::toy::{FAULT_HEADER, TOY_HEADER};
use crate::clock::Clock;

/// How many people use the service.
pub(super) const USERS: u32 = 400;

/// The field that names the user.
pub(super) const USER_HEADER: &str = "x-user";

/// Connections that are open at the same time.
const CONNECTIONS: u32 = 48;

/// Requests a second over all connections, as long as the machine can do that.
const RATE: u32 = 600;

/// What is not answered by then never will be.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Load that is running on a thread of its own.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

/// One connection's worth of clients.
struct Client {
    proxy: SocketAddr,
    clock: Clock,
    stats: Arc<Stats>,
}

type Sender = SendRequest<Empty<Bytes>>;

impl Load {
    /// Begins to send requests to `proxy`.
    pub(super) fn start(proxy: SocketAddr, clock: Clock, stats: Arc<Stats>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (running, ended) = mpsc::channel(1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let clients = (0..CONNECTIONS).map(|_| {
                        let (stats, stopped) = (Arc::clone(&stats), stopped.clone());
                        let client = Client {
                            proxy,
                            clock,
                            stats,
                        };
                        tokio::spawn(client.run(stopped))
                    });
                    for client in clients.collect::<Vec<_>>() {
                        // A client that panicked would show as missing requests.
                        drop(client.await);
                    }
                    drop(running);
                });
            })?;
        Ok(Self { stop, ended })
    }

    /// Sends nothing more and waits until every request has ended.
    pub(super) async fn finish(mut self) {
        self.stop.send_replace(true);
        // Nothing is ever sent: what ends is the last sender.
        self.ended.recv().await;
    }
}

impl Client {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let period = Duration::from_secs(1) * CONNECTIONS / RATE;
        let mut next = Instant::now() + period.mul_f64(fastrand::f64());
        let mut connection = None;
        while !*stopped.borrow() {
            sleep_until(next).await;
            // Late clients do not catch up: a stall must not become a burst.
            next = next.max(Instant::now()) + period.mul_f64(0.5 + fastrand::f64());
            let user = fastrand::u32(0..USERS);
            let (sent_at, begun) = (self.clock.now(), self.clock.micros());
            let exchange = timeout(ANSWER_TIMEOUT, self.exchange(connection.take(), user)).await;
            let kind = match exchange {
                Ok(Some((kind, sender))) => {
                    connection = Some(sender);
                    kind
                }
                Ok(None) | Err(_) => AnswerKind::Proxy,
            };
            self.stats.count(Answer {
                user,
                sent_at: sent_at.as_micros(),
                micros: self.clock.micros() - begun,
                kind,
            });
        }
    }

    /// One request on the connection that is there, or on a new one.
    async fn exchange(
        &self,
        connection: Option<Sender>,
        user: u32,
    ) -> Option<(AnswerKind, Sender)> {
        let mut sender = match connection.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.ok()?;
        let request = Request::builder()
            .uri("/")
            .header(HOST, "demo.localhost")
            .header(USER_HEADER, format!("user-{user}"))
            .body(Empty::new())
            .ok()?;
        let response = sender.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        body.collect().await.ok()?;
        Some((kind_of(&Response::from_parts(head, ())), sender))
    }

    async fn connect(&self) -> Option<Sender> {
        let stream = TcpStream::connect(self.proxy).await.ok()?;
        drop(stream.set_nodelay(true));
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // What breaks a connection shows in the exchange.
        drop(tokio::spawn(connection));
        Some(sender)
    }
}

/// Toys sign their answers; what is not signed was not made by a version.
fn kind_of(response: &Response<()>) -> AnswerKind {
    let signature = response.headers().get(TOY_HEADER);
    let role = Role::ALL
        .into_iter()
        .find(|role| signature.is_some_and(|name| name == role.as_str()));
    role.map_or(AnswerKind::Proxy, |role| AnswerKind::Version {
        role,
        status: response.status().as_u16(),
        spoilt: response.headers().contains_key(FAULT_HEADER),
    })
}
