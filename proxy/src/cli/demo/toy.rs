//! Two toy versions: tiny HTTP servers, one of which can be made to fail.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use haldane_decide::role::Role;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;

use crate::clock::Clock;

/// The response field in which a toy says which version it plays.
pub(super) const TOY_HEADER: &str = "x-toy";

/// The response field of an answer that a fault has spoilt.
pub(super) const FAULT_HEADER: &str = "x-toy-fault";

/// A good answer takes from this long…
const SERVICE_MS_MIN: u64 = 10;

/// …to this long. Wide enough that a busy machine does not make one version slower.
const SERVICE_MS_MAX: u64 = 30;

/// How much later a slow canary answers.
const SLOWER: Duration = Duration::from_millis(150);

/// A toy that hangs gives up by then, long after everybody else has.
const HANGS_FOR: Duration = Duration::from_secs(60);

/// One in so many requests of a worn toy fails, and one is slow.
const WORN_ONE_IN: u64 = 50;

/// What is wrong with a toy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Fault {
    None,
    Errors,
    Hang,
    Slow,
    /// Now and then it fails or is slow.
    Worn,
}

impl Fault {
    const ALL: [Self; 5] = [Self::None, Self::Errors, Self::Hang, Self::Slow, Self::Worn];

    /// What this request meets: a toy that is worn is well most of the time.
    fn of_request(self) -> Self {
        if self != Self::Worn {
            return self;
        }
        match fastrand::u64(0..WORN_ONE_IN) {
            0 => Self::Errors,
            1 => Self::Slow,
            _ => Self::None,
        }
    }
}

/// A toy while it runs: how it fails, and when requests reached it.
#[derive(Debug)]
pub(super) struct Toy {
    role: Role,
    clock: Clock,
    fault: AtomicU8,
    /// Microseconds since the epoch, one for each request.
    arrivals: Mutex<Vec<u64>>,
    /// How many requests it has failed.
    failures: AtomicU64,
}

impl Toy {
    fn new(role: Role, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            role,
            clock,
            fault: AtomicU8::new(Fault::None as u8),
            arrivals: Mutex::default(),
            failures: AtomicU64::new(0),
        })
    }

    /// Makes it fail from now on.
    pub(super) fn spoil(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    /// When each request reached it, in microseconds since the epoch.
    pub(super) fn arrivals(&self) -> Vec<u64> {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests it has failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    async fn answer(&self) -> Response<Full<Bytes>> {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.clock.now().as_micros());
        let fault = Fault::ALL[usize::from(self.fault.load(Ordering::Relaxed))].of_request();
        if matches!(fault, Fault::Errors | Fault::Hang) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let mut service = Duration::from_millis(fastrand::u64(SERVICE_MS_MIN..=SERVICE_MS_MAX));
        match fault {
            Fault::Hang => service = HANGS_FOR,
            Fault::Slow => service += SLOWER,
            Fault::Errors | Fault::None | Fault::Worn => {}
        }
        tokio::time::sleep(service).await;
        let mut response = Response::new(Full::from(format!("hello from {}\n", self.role)));
        if matches!(fault, Fault::Errors | Fault::Hang) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let headers = response.headers_mut();
        headers.insert(TOY_HEADER, HeaderValue::from_static(self.role.as_str()));
        if fault != Fault::None {
            headers.insert(FAULT_HEADER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Both toys with their sockets bound and nothing running yet.
pub(super) struct Toys {
    listeners: [TcpListener; 2],
    addresses: [SocketAddr; 2],
}

impl Toys {
    /// Binds both to ports that are free.
    pub(super) fn bind() -> io::Result<Self> {
        let listen = || {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok::<_, io::Error>((listener, address))
        };
        let ((stable, stable_address), (canary, canary_address)) = (listen()?, listen()?);
        Ok(Self {
            listeners: [stable, canary],
            addresses: [stable_address, canary_address],
        })
    }

    /// Where stable and the canary answer.
    pub(super) const fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// Runs both on a thread of their own until the process ends, each with this fault from
    /// the start; gives the canary.
    pub(super) fn start(self, clock: Clock, fault: Fault) -> io::Result<Arc<Toy>> {
        let toys = Role::ALL.map(|role| Toy::new(role, clock));
        for toy in &toys {
            toy.spoil(fault);
        }
        let canary = Arc::clone(&toys[Role::Canary.index()]);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("toys".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let [stable, canary] = toys;
                    let [stable_listener, canary_listener] = self.listeners;
                    tokio::join!(
                        serve(stable, stable_listener),
                        serve(canary, canary_listener)
                    )
                })
            })?;
        Ok(canary)
    }
}

/// Accepts for as long as the process runs.
async fn serve(toy: Arc<Toy>, listener: TcpListener) {
    // Without a listener nothing is answered, and the report shows it.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        let toy = Arc::clone(&toy);
        drop(tokio::spawn(async move {
            let service = service_fn(|_| {
                let toy = Arc::clone(&toy);
                async move { Ok::<_, Infallible>(toy.answer().await) }
            });
            // A connection that breaks shows at its other end.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        }));
    }
}
