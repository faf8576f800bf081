//! An upstream that does exactly what a test tells it, and remembers what it was asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::eventually::{elapse, now, some};
use super::wire::{Body, Broken, Framing, Head, Wire};

/// An upstream on a port of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Log>,
    behaviour: Arc<Mutex<Behaviour>>,
    stopped: Arc<AtomicBool>,
    /// Bound and never accepted from, where that is what the test needs.
    held: Vec<Socket>,
    _waiting: Vec<TcpStream>,
}

/// What an upstream does that was started with [`Upstream::named`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Behaviour {
    /// Answers 200 with its name.
    Good,
    /// What it answers is not HTTP.
    Malformed,
    /// Resets the connection instead of an answer.
    Reset,
    /// Never answers.
    Silent,
    /// Answers as [`Behaviour::Good`] after so long.
    Slow(Duration),
    /// Answers with this status and its name.
    Status(u16),
    /// Announces more than it sends.
    Truncated,
}

/// What came in.
#[derive(Default)]
pub(crate) struct Log {
    arrivals: Mutex<Vec<Arrival>>,
    connections: AtomicUsize,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
    pub(crate) at: Instant,
    pub(crate) head: Head,
    /// Empty until it was read.
    pub(crate) body: Body,
}

/// A connection to a scripted upstream.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    /// Counted from 0.
    pub(crate) number: usize,
    log: Arc<Log>,
}

impl Upstream {
    /// Answers every request as its [`Behaviour`] says, at first with 200 and its name.
    pub(crate) fn named(name: &str) -> Self {
        Self::named_at(Ipv4Addr::LOCALHOST.into(), name)
    }

    /// The same on `::1`.
    pub(crate) fn named_v6(name: &str) -> Self {
        Self::named_at(Ipv6Addr::LOCALHOST.into(), name)
    }

    fn named_at(ip: IpAddr, name: &str) -> Self {
        let behaviour = Arc::new(Mutex::new(Behaviour::Good));
        let (name, current) = (name.to_owned(), Arc::clone(&behaviour));
        Self::start_at(ip, behaviour, move |mut connection| {
            while let Some(head) = connection.request() {
                let behaviour = *current.lock().unwrap();
                if !connection.behave(behaviour, &name, head.word(0)) {
                    return;
                }
            }
        })
    }

    /// Runs `script` for each connection, which ends with it.
    pub(crate) fn scripted(script: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(Mutex::new(Behaviour::Good)), script)
    }

    /// Answers each request on each connection with these bytes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(
            move |mut connection| {
                while connection.request().is_some() && connection.wire.write(&answer) {}
            },
        )
    }

    /// Answers the first request on each connection with these bytes, then closes it.
    pub(crate) fn closing(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(move |mut connection| {
            if connection.request().is_some() && connection.wire.write(&answer) {
                connection.wire.finish();
                connection.wire.end();
            }
        })
    }

    /// Refuses connections.
    pub(crate) fn refusing() -> Self {
        let socket = bound();
        Self::inert(vec![socket], Vec::new())
    }

    /// Lets nobody in: its queue is full and nobody accepts.
    pub(crate) fn unreachable() -> Self {
        let socket = bound();
        socket.listen(0).expect("listens");
        let address = address_of(&socket);
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        Self::inert(vec![socket], waiting)
    }

    fn inert(held: Vec<Socket>, waiting: Vec<TcpStream>) -> Self {
        Self {
            address: address_of(&held[0]),
            log: Arc::default(),
            behaviour: Arc::new(Mutex::new(Behaviour::Good)),
            stopped: Arc::default(),
            held,
            _waiting: waiting,
        }
    }

    /// Refuses connections from now on, on the same port. Those that are open stay.
    #[track_caller]
    pub(crate) fn die(&mut self) {
        self.stop();
        self.held = vec![some("the port is free", || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("opens a socket");
            socket.set_reuse_address(true).expect("sets SO_REUSEADDR");
            socket.bind(&self.address.into()).ok().map(|()| socket)
        })];
    }

    /// Answers every request with 200 and this name, after it refused connections.
    pub(crate) fn revive(&mut self, name: &str) {
        let socket = self.held.pop().expect("refuses connections");
        socket.listen(128).expect("listens");
        self.stopped = Arc::default();
        let name = name.to_owned();
        accept(
            socket.into(),
            &self.log,
            &self.stopped,
            move |mut connection| {
                while let Some(head) = connection.request() {
                    if !connection.behave(Behaviour::Good, &name, head.word(0)) {
                        return;
                    }
                }
            },
        );
    }

    fn start(
        behaviour: Arc<Mutex<Behaviour>>,
        script: impl Fn(Connection) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), behaviour, script)
    }

    fn start_at(
        ip: IpAddr,
        behaviour: Arc<Mutex<Behaviour>>,
        script: impl Fn(Connection) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("binds");
        let address = listener.local_addr().expect("has an address");
        let (log, stopped) = (Arc::<Log>::default(), Arc::<AtomicBool>::default());
        accept(listener, &log, &stopped, script);
        Self {
            address,
            log,
            behaviour,
            stopped,
            held: Vec::new(),
            _waiting: Vec::new(),
        }
    }
    /// How the next requests are answered.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; if that fails there is none.
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_millis(100),
        ));
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(
    listener: TcpListener,
    log: &Arc<Log>,
    stopped: &Arc<AtomicBool>,
    script: impl Fn(Connection) + Send + Sync + 'static,
) {
    let (kept, until, script) = (Arc::clone(log), Arc::clone(stopped), Arc::new(script));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if until.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let connection = Connection {
                wire: Wire::new(stream),
                number: kept.connections.fetch_add(1, Ordering::Relaxed),
                log: Arc::clone(&kept),
            };
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(connection));
        }
    });
}

impl Connection {
    /// Reads the next head and remembers it. `None` if the other end is done.
    pub(crate) fn head(&mut self) -> Option<Head> {
        let head = self.wire.head().ok()?;
        self.log.arrivals.lock().unwrap().push(Arrival {
            connection: self.number,
            at: now(),
            head: head.clone(),
            body: Body::default(),
        });
        Some(head)
    }

    /// Reads the next head and its body, and remembers them.
    pub(crate) fn request(&mut self) -> Option<Head> {
        let head = self.head()?;
        let framing = head.framing().ok()?.unwrap_or(Framing::Length(0));
        let (body, end) = self.wire.body(framing);
        let mut arrivals = self.log.arrivals.lock().unwrap();
        let mine = arrivals
            .iter_mut()
            .rev()
            .find(|arrival| arrival.connection == self.number);
        if let Some(arrival) = mine {
            arrival.body = body;
        }
        end.ok().map(|()| head)
    }

    fn behave(&mut self, behaviour: Behaviour, name: &str, method: &str) -> bool {
        let body = if method == "HEAD" { "" } else { name };
        let length = name.len();
        match behaviour {
            Behaviour::Good => self.wire.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            )),
            Behaviour::Status(status) => self.wire.write(format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}"
            )),
            Behaviour::Malformed => {
                self.wire.write("HTTQ/1.1 200 OK\r\n\r\n");
                false
            }
            Behaviour::Reset => {
                socket2::SockRef::from(self.wire.stream())
                    .set_linger(Some(Duration::ZERO))
                    .expect("sets SO_LINGER");
                false
            }
            Behaviour::Silent => {
                self.wire.patience(Duration::from_secs(60));
                self.wire.end();
                false
            }
            Behaviour::Slow(time) => {
                elapse(time);
                self.behave(Behaviour::Good, name, method)
            }
            Behaviour::Truncated => {
                self.wire.write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                    length + 1
                ));
                false
            }
        }
    }

    /// Waits until the other end closes the connection; how it did.
    pub(crate) fn end(&mut self) -> Broken {
        self.wire.end()
    }
}

impl Log {
    /// Everything so far, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// How many requests came so far.
    pub(crate) fn len(&self) -> usize {
        self.arrivals.lock().unwrap().len()
    }

    /// The only request that came.
    #[track_caller]
    pub(crate) fn only(&self) -> Arrival {
        let mut arrivals = self.arrivals();
        assert_eq!(arrivals.len(), 1, "requests at the upstream");
        arrivals.remove(0)
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("opens a socket");
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&address.into()).expect("binds");
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .expect("has an address")
}
