//! Upstreams that speak HTTP/2: each stream runs a script.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::eventually::now;
use super::http2::{driver, read, wait};

/// An upstream on a port of its own.
pub(crate) struct H2Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<H2Log>,
    task: JoinHandle<()>,
}

/// What came in.
#[derive(Default)]
pub(crate) struct H2Log {
    arrivals: Mutex<Vec<H2Arrival>>,
    connections: Mutex<Vec<Sender<Order>>>,
    open: AtomicUsize,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct H2Arrival {
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
    pub(crate) at: Instant,
    pub(crate) parts: request::Parts,
}

/// What a connection of an upstream is told to do.
enum Order {
    /// It takes no more streams; those under way go on.
    GoAway,
    /// It ends without a word.
    Die,
}

/// One request at a scripted upstream.
pub(crate) struct Call {
    pub(crate) parts: request::Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
}

impl H2Upstream {
    /// Runs `script` for each stream.
    pub(crate) fn scripted<F, R>(script: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::with(h2::server::Builder::new(), script)
    }

    /// Runs `script` for each stream of connections with these settings.
    pub(crate) fn with<F, R>(builder: h2::server::Builder, script: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = wait("a port", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let log = Arc::<H2Log>::default();
        let (kept, script) = (Arc::clone(&log), Arc::new(script));
        let task = driver().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).expect("sets TCP_NODELAY");
                let (order, orders) = channel(8);
                let number = kept.push(order);
                let (log, script) = (Arc::clone(&kept), Arc::clone(&script));
                let builder = builder.clone();
                driver().spawn(async move {
                    log.open.fetch_add(1, Ordering::SeqCst);
                    serve(socket, &builder, (number, orders), (&log, &*script)).await;
                    log.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, log, task }
    }

    /// Reads every request, and answers 200 with this body.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::scripted(async move |mut call: Call| {
            // A request that breaks off is answered too.
            drop(read(&mut call.body).await);
            call.reply(200, name);
        })
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for H2Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl H2Log {
    fn push(&self, order: Sender<Order>) -> usize {
        let mut connections = self.connections.lock().unwrap();
        connections.push(order);
        connections.len() - 1
    }

    /// Everything so far, in order.
    pub(crate) fn arrivals(&self) -> Vec<H2Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// How many requests came so far.
    pub(crate) fn len(&self) -> usize {
        self.arrivals.lock().unwrap().len()
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// This connection takes no more streams.
    pub(crate) fn go_away(&self, connection: usize) {
        self.order(connection, Order::GoAway);
    }

    /// This connection ends at once.
    pub(crate) fn die(&self, connection: usize) {
        self.order(connection, Order::Die);
    }

    fn order(&self, connection: usize, order: Order) {
        let connections = self.connections.lock().unwrap();
        // It may have ended by itself.
        connections[connection].try_send(order).ok();
    }
}

impl Call {
    /// Answers with this status and body.
    pub(crate) fn reply(&mut self, status: u16, body: &str) {
        if let Some(mut stream) = self.head(status, &[], false) {
            let body = Bytes::copy_from_slice(body.as_bytes());
            // Whoever asked may have left.
            stream.send_data(body, true).ok();
        }
    }

    /// Answers a call with this body, which is no message, and status.
    pub(crate) fn reply_grpc(&mut self, body: &str, status: &str) {
        let kind = [("content-type", "application/grpc")];
        if let Some(mut stream) = self.head(200, &kind, false) {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().expect("is a status"));
            // Whoever called may have left.
            stream.send_data(body, false).ok();
            stream.send_trailers(trailers).ok();
        }
    }

    /// Sends the head of an answer; `finished` if it is all.
    pub(crate) fn head(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        finished: bool,
    ) -> Option<SendStream<Bytes>> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = response.body(()).expect("is an answer");
        self.respond.send_response(response, finished).ok()
    }

    /// Sends the head of an answer with a body.
    ///
    /// # Panics
    ///
    /// If the stream is gone.
    pub(crate) fn begin(&mut self, status: u16, fields: &[(&str, &str)]) -> SendStream<Bytes> {
        self.head(status, fields, false)
            .expect("the stream is open")
    }

    /// Waits until the other end gives the stream up; why.
    pub(crate) async fn given_up(&mut self) -> Result<Reason, h2::Error> {
        poll_fn(|cx| self.respond.poll_reset(cx)).await
    }

    /// The path with the query.
    pub(crate) fn path(&self) -> &str {
        self.parts
            .uri
            .path_and_query()
            .map_or("", |path| path.as_str())
    }
}

async fn serve<F, R>(
    socket: TcpStream,
    builder: &h2::server::Builder,
    (number, mut orders): (usize, Receiver<Order>),
    (log, script): (&H2Log, &F),
) where
    F: Fn(Call) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else {
        return;
    };
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::GoAway) => connection.graceful_shutdown(),
                Some(Order::Die) | None => return,
            },
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else {
                    return;
                };
                let (parts, body) = request.into_parts();
                log.arrivals.lock().unwrap().push(H2Arrival {
                    connection: number,
                    at: now(),
                    parts: parts.clone(),
                });
                driver().spawn(script(Call { parts, body, respond }));
            }
        }
    }
}
