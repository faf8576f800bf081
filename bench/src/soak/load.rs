//! Clients of every kind, for as long as they are let.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    book::{Book, Kind, Outcome},
    certificates::connect,
    exchange::{Connection, Framing, Request, Trouble},
    multiplexed::Multiplexed,
};
use crate::{case::Version, clock};

/// What all clients share.
pub(crate) struct Ground {
    pub(crate) book: Rc<RefCell<Book>>,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) connector: TlsConnector,
    goes_on: Cell<bool>,
    busy: Cell<usize>,
    seeds: Cell<u64>,
}

/// How many clients of each kind there are, and how long each rests between two sessions.
const CLIENTS: [(Kind, usize, u64); 7] = [
    (Kind::Close, 2, 5),
    (Kind::Download, 1, 100),
    (Kind::Http2, 2, 10),
    (Kind::KeepAlive, 6, 5),
    (Kind::Tls, 1, 20),
    (Kind::Upload, 2, 10),
    (Kind::WebSocket, 2, 50),
];

impl Ground {
    pub(crate) fn new(
        book: &Rc<RefCell<Book>>,
        (plain, tls): (SocketAddr, SocketAddr),
        connector: TlsConnector,
    ) -> Rc<Self> {
        Rc::new(Self {
            book: Rc::clone(book),
            plain,
            tls,
            connector,
            goes_on: Cell::new(false),
            busy: Cell::new(0),
            seeds: Cell::new(0),
        })
    }

    /// Lets the clients begin that are to be.
    pub(crate) fn populate(self: &Rc<Self>) {
        for (kind, count, rest_ms) in CLIENTS {
            for _ in 0..count {
                let rest = Duration::from_millis(rest_ms);
                spawn_local(live(Rc::clone(self), move |ground| async move {
                    session(&ground, kind).await;
                    sleep(rest).await;
                }));
            }
        }
        spawn_local(live(Rc::clone(self), |ground| async move {
            give_up(&ground).await;
            sleep(Duration::from_millis(20)).await;
        }));
    }

    /// Lets clients begin something, or not.
    pub(crate) fn go_on(&self, goes_on: bool) {
        self.goes_on.set(goes_on);
    }

    /// Whether nobody is at anything.
    pub(crate) fn is_calm(&self) -> bool {
        self.busy.get() == 0
    }

    fn request(&self, most: u64, body: Option<Framing>) -> Request {
        let seed = self.seeds.get() + 1;
        self.seeds.set(seed);
        // Some numbers that are spread well enough.
        let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Request {
            seed,
            user: spread % 512,
            length: usize::try_from(spread % most).unwrap_or_default(),
            body,
        }
    }

    fn record(&self, kind: Kind, begun: u64, result: Result<Version, Trouble>) {
        let outcome = match result {
            Ok(version) => Outcome::Answered(version),
            Err(Trouble::Broken { error, .. }) => Outcome::Failed(error.to_string()),
            Err(Trouble::Refused(answer)) => Outcome::Failed(answer),
            Err(Trouble::Wrong(what)) => Outcome::Wrong(what),
        };
        self.book.borrow_mut().record(kind, begun, outcome);
    }
}

/// A client: does `act` again and again while clients may.
async fn live<F: Future<Output = ()>>(ground: Rc<Ground>, act: impl Fn(Rc<Ground>) -> F) {
    loop {
        if ground.goes_on.get() {
            ground.busy.set(ground.busy.get() + 1);
            act(Rc::clone(&ground)).await;
            ground.busy.set(ground.busy.get() - 1);
        } else {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn session(ground: &Ground, kind: Kind) {
    match kind {
        Kind::Close => alone(ground, kind, ground.request(20_000, None)).await,
        Kind::Download => download(ground).await,
        Kind::Http2 => multiplexed(ground).await,
        Kind::KeepAlive => keep_alive(ground).await,
        Kind::Tls => encrypted(ground).await,
        Kind::Upload => {
            let seed = ground.seeds.get();
            let framing = if seed.is_multiple_of(2) {
                Framing::Chunked
            } else {
                Framing::Length
            };
            alone(ground, kind, ground.request(300_000, Some(framing))).await;
        }
        Kind::WebSocket => frames(ground).await,
    }
}

/// What `asked` gives within the time that anything may take.
async fn in_time<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(Trouble::Broken {
            untouched: false,
            error: io::ErrorKind::TimedOut.into(),
        })
    })
}

fn broken(error: io::Error) -> Trouble {
    Trouble::Broken {
        untouched: false,
        error,
    }
}

/// A connection for one request.
async fn alone(ground: &Ground, kind: Kind, request: Request) {
    let begun = clock::now_ns();
    let result = in_time(async {
        let stream = TcpStream::connect(ground.plain).await.map_err(broken)?;
        Connection::new(stream).ask(&request).await
    });
    let result = result.await.map(|answer| answer.version);
    ground.record(kind, begun, result);
}

/// Requests one after another. One that a connection had no more ear for is sent again, as every
/// client does (RFC 9112 §9.3.1).
async fn keep_alive(ground: &Ground) {
    let mut connection: Option<Connection<TcpStream>> = None;
    for _ in 0..50 {
        let request = ground.request(9_000, None);
        let begun = clock::now_ns();
        let mut result = ask_on(ground, &mut connection, &request).await;
        if matches!(
            result,
            Err((
                Trouble::Broken {
                    untouched: true,
                    ..
                },
                true
            ))
        ) {
            result = ask_on(ground, &mut connection, &request).await;
        }
        ground.record(
            Kind::KeepAlive,
            begun,
            result.map_err(|(trouble, _)| trouble),
        );
        if !ground.goes_on.get() {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// Asks on a connection that is open, or a new one. With an error: whether it was used before.
async fn ask_on(
    ground: &Ground,
    connection: &mut Option<Connection<TcpStream>>,
    request: &Request,
) -> Result<Version, (Trouble, bool)> {
    let was_used = connection
        .as_ref()
        .is_some_and(|connection| connection.is_used);
    let asked = in_time(async {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::new(TcpStream::connect(ground.plain).await.map_err(broken)?),
        };
        let answer = open.ask(request).await?;
        if answer.keep_alive {
            *connection = Some(open);
        }
        Ok(answer.version)
    });
    asked.await.map_err(|trouble| (trouble, was_used))
}

async fn encrypted(ground: &Ground) {
    let request = ground.request(20_000, None);
    let begun = clock::now_ns();
    let result = in_time(async {
        let stream = connect(ground.connector.clone(), ground.tls)
            .await
            .map_err(broken)?;
        Connection::new(stream).ask(&request).await
    });
    let result = result.await.map(|answer| answer.version);
    ground.record(Kind::Tls, begun, result);
}

/// Some megabytes for somebody who reads slowly: buffers fill on all sides.
async fn download(ground: &Ground) {
    let mut request = ground.request(1, None);
    request.length = 3 << 20;
    let begun = clock::now_ns();
    let result = in_time(async {
        let stream = TcpStream::connect(ground.plain).await.map_err(broken)?;
        let mut connection = Connection::new(stream);
        let head = request.head();
        connection
            .stream()
            .write_all(head.as_bytes())
            .await
            .map_err(broken)?;
        sleep(Duration::from_millis(300)).await;
        connection.answer(&request).await
    });
    let result = result.await.map(|answer| answer.version);
    ground.record(Kind::Download, begun, result);
}

/// Streams side by side, some rounds of them. What was not begun is sent again.
async fn multiplexed(ground: &Ground) {
    let mut requests: Vec<(Request, u64)> = Vec::new();
    for _ in 0..10 {
        requests.resize_with(8, || (ground.request(9_000, None), clock::now_ns()));
        let mut again = ask_all(ground, &requests).await;
        if !again.is_empty() {
            again = ask_all(ground, &again).await;
        }
        for (_, begun) in again {
            let never = Outcome::Failed("was not begun, twice".to_owned());
            ground.book.borrow_mut().record(Kind::Http2, begun, never);
        }
        requests.clear();
        if !ground.goes_on.get() {
            return;
        }
    }
}

/// Asks all of them on one connection; those that were not begun.
async fn ask_all(ground: &Ground, requests: &[(Request, u64)]) -> Vec<(Request, u64)> {
    let mut again = Vec::new();
    let opened = in_time(async { Multiplexed::open(ground.plain).await.map_err(broken) });
    let mut connection = match opened.await {
        Ok(connection) => connection,
        Err(trouble) => {
            let why = format!("{trouble:?}");
            for (_, begun) in requests {
                let failed = Outcome::Failed(why.clone());
                ground.book.borrow_mut().record(Kind::Http2, *begun, failed);
            }
            return again;
        }
    };
    let mut pending = Vec::new();
    for (request, begun) in requests {
        match in_time(connection.send(*request)).await {
            Ok(answer) => pending.push((*request, *begun, answer)),
            Err(_) => again.push((*request, *begun)),
        }
    }
    for (request, begun, answer) in pending {
        match in_time(answer.answer()).await {
            Err(Trouble::Broken {
                untouched: true, ..
            }) => again.push((request, begun)),
            result => ground.record(Kind::Http2, begun, result),
        }
    }
    again
}

/// A session after an upgrade: what is sent comes back.
async fn frames(ground: &Ground) {
    let request = ground.request(1, None);
    let begun = clock::now_ns();
    let result = in_time(async {
        let stream = TcpStream::connect(ground.plain).await.map_err(broken)?;
        let mut connection = Connection::new(stream);
        let version = connection.upgrade(&request).await?;
        for round in 0..20_u8 {
            // A binary frame with a mask of zeros (RFC 6455 §5.2).
            let frame = [&[0x82, 0x80 | 16, 0, 0, 0, 0][..], &[round; 16]].concat();
            connection
                .stream()
                .write_all(&frame)
                .await
                .map_err(broken)?;
            let back = connection.read_body(frame.len()).await.map_err(broken)?;
            if back != frame && back.first() != Some(&CLOSE) {
                return Err(Trouble::Wrong(format!("{back:?} for {frame:?}")));
            }
            if back != frame {
                return Err(broken(io::ErrorKind::ConnectionAborted.into()));
            }
            sleep(Duration::from_millis(30)).await;
        }
        Ok(version)
    });
    let result = result.await;
    ground.record(Kind::WebSocket, begun, result);
}

/// A client that leaves in the middle of a request or of its answer.
async fn give_up(ground: &Ground) {
    let request = ground.request(500_000, Some(Framing::Length));
    let Ok(mut stream) = TcpStream::connect(ground.plain).await else {
        return;
    };
    let mut head = request.head();
    let is_upload = request.seed.is_multiple_of(2);
    if !is_upload {
        head = Request {
            body: None,
            ..request
        }
        .head();
    }
    if stream.write_all(head.as_bytes()).await.is_ok() && !is_upload {
        let mut start = [0; 100];
        drop(timeout(PATIENCE, stream.read(&mut start)).await);
    }
    if request.seed.is_multiple_of(3) {
        drop(stream.set_zero_linger());
    }
    ground.book.borrow_mut().give_up(Kind::Close);
}

/// How a close frame begins (RFC 6455 §5.5.1).
const CLOSE: u8 = 0x88;

/// Nothing takes longer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(20);
