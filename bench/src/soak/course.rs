//! A run: what is there, how it comes to rest, and what it measures then.

use std::{
    cell::RefCell,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag::register,
};
use tokio::time::sleep;

use super::{
    book::{ALL, Book},
    certificates::Certificates,
    disk::Disk,
    exchange::{Connection, Request},
    load::Ground,
    proxy::{Process, Site, Standing},
    service::Service,
};
use crate::{case::Version, clock, failure::Failure};

/// Everything that takes part.
pub(crate) struct Course {
    pub(crate) book: Rc<RefCell<Book>>,
    pub(crate) ground: Rc<Ground>,
    pub(crate) site: Site,
    pub(crate) process: Process,
    pub(crate) stable: Service,
    pub(crate) canary: Service,
    pub(crate) certificates: Certificates,
    /// Where the state is kept, if that could be made small.
    pub(crate) disk: Option<Disk>,
    /// How often anything was started.
    pub(crate) starts: usize,
    /// Something in the configuration that may change.
    pub(crate) idle_s: u64,
    /// SIGINT or SIGTERM has come.
    interrupted: Arc<AtomicBool>,
    _directory: tempfile::TempDir,
}

/// What a process holds while nothing happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) pss_kib: u64,
    pub(crate) descriptors: usize,
}

impl Course {
    /// Starts everything, without load.
    pub(crate) async fn new(program: PathBuf) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            register(signal, Arc::clone(&interrupted))
                .map_err(Failure::io("listen for signals"))?;
        }
        let directory = tempfile::Builder::new()
            .prefix("haldane-soak-")
            .tempdir()
            .map_err(Failure::io("create a temporary directory"))?;
        let book = Rc::new(RefCell::new(Book::default()));
        let stable = Service::start(Version::Stable, &book).await?;
        let canary = Service::start(Version::Canary, &book).await?;
        let upstreams = [stable.address, canary.address];
        let site = Site::new(program, directory.path(), upstreams)?;
        let certificates = Certificates::new(directory.path().to_owned())?;
        let disk = Disk::mount(&directory.path().join("state"))?;
        let idle_s = 60;
        site.configure(idle_s, "")?;
        site.set_clock(0)?;
        let mut process = site.start(NAMES[0])?;
        site.ready(&mut process).await?;
        let ground = Ground::new(&book, (site.plain, site.tls), certificates.connector());
        ground.populate();
        Ok(Self {
            book,
            ground,
            site,
            process,
            stable,
            canary,
            certificates,
            disk,
            starts: 1,
            idle_s,
            interrupted,
            _directory: directory,
        })
    }

    /// Whoever ends this wants to have nothing left.
    pub(crate) fn check_interrupt(&self) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Failure::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Another process of the same configuration.
    pub(crate) fn start(&mut self) -> Result<Process, Failure> {
        let name = NAMES[self.starts % NAMES.len()];
        self.starts += 1;
        self.site.start(name)
    }

    /// Something that must not be.
    pub(crate) fn violate(&self, what: impl Into<String>) {
        self.book.borrow_mut().violate(what);
    }

    /// Waits until requests of every user are answered again, then lets no request fail any more.
    pub(crate) async fn settle(&self, window: usize) {
        let end = clock::now_ns() + clock::ns(RECOVERY_TIME);
        let (mut good, mut seed) = (0, u64::MAX >> 8);
        while good < 40 {
            seed -= 1;
            let request = Request {
                seed,
                user: seed % 64,
                length: 100,
                body: None,
            };
            let asked = async {
                let stream = tokio::net::TcpStream::connect(self.site.plain).await.ok()?;
                Connection::new(stream).ask(&request).await.ok()
            };
            let is_answered = asked.await.is_some();
            good = if is_answered { good + 1 } else { 0 };
            // So many answers may take their time on a busy machine: only what fails is too late.
            if !is_answered && clock::now_ns() > end {
                self.violate("requests are not answered again");
                break;
            }
            sleep(LOOK).await;
        }
        self.book.borrow_mut().close(window);
    }

    /// Gives the canary its share back, whoever took it.
    pub(crate) async fn recover(&self) -> Result<(), Failure> {
        let standing = self.site.standing().await?;
        if standing.is_rolled_back() {
            self.book.borrow_mut().canary_may_open();
            self.site.command("retry").await?;
            let after = self.site.standing().await?;
            if after.generation != standing.generation + 1 {
                self.violate(format!("retry has led from {standing:?} to {after:?}"));
            }
        }
        self.share("30%").await.map(|_| ())
    }

    /// Gives the canary this share; whether that is safe on disk.
    pub(crate) async fn share(&self, weight: &str) -> Result<bool, Failure> {
        let path = "/v1/routes/soak/weight";
        let (status, said) = self
            .site
            .ask("PUT", path, Some(json!({ "weight": weight })))
            .await?;
        if status != 200 || said["weight"] != weight {
            let refused = format!("a weight of {weight}: {status}: {said}");
            return Err(Failure::violation(refused));
        }
        Ok(said["persisted"] == true)
    }

    /// Waits until what is there is safe on disk.
    pub(crate) async fn be_safe(&self) -> Result<Standing, Failure> {
        let end = clock::now_ns() + clock::ns(RECOVERY_TIME);
        loop {
            let (_, said) = self.site.ask("GET", "/v1/routes/soak", None).await?;
            if said["persisted"] == true {
                return self.site.standing().await;
            }
            if clock::now_ns() > end {
                return Err(Failure::violation(format!(
                    "the state does not become safe: {said}"
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// Lets the load run for a while.
    pub(crate) async fn run(&self, time: Duration) {
        self.ground.go_on(true);
        sleep(time).await;
    }

    /// Ends all that goes on, and measures what is left.
    pub(crate) async fn rest(&self, before: Option<Measured>) -> Result<Measured, Failure> {
        self.ground.go_on(false);
        let end = clock::now_ns() + clock::ns(REST_TIME);
        while !self.ground.is_calm() && clock::now_ns() < end {
            sleep(LOOK).await;
        }
        if !self.ground.is_calm() {
            self.violate("a request does not end");
        }
        // What the proxy keeps open to the versions ends here.
        let window = self
            .book
            .borrow_mut()
            .open("connections are cut at rest", ALL);
        self.stable.cut();
        self.canary.cut();
        let most = before.map_or(usize::MAX, |before| before.descriptors);
        let end = clock::now_ns() + clock::ns(REST_TIME);
        // Long enough for what is closed late; the first time nothing says how few there will be.
        sleep(Duration::from_secs(1)).await;
        while self.process.descriptors()? > most && clock::now_ns() < end {
            sleep(LOOK).await;
        }
        let measured = Measured {
            pss_kib: self.process.pss_kib()?,
            descriptors: self.process.descriptors()?,
        };
        if measured.descriptors > most {
            let now = measured.descriptors;
            self.violate(format!(
                "{now} descriptors are open at rest, {most} were at first"
            ));
        }
        self.book.borrow_mut().close(window);
        self.recover().await?;
        Ok(measured)
    }
}

/// Their logs are beside each other while one takes over from another.
const NAMES: [&str; 2] = ["haldane-a", "haldane-b"];

/// How long it may take until everything is well again.
const RECOVERY_TIME: Duration = Duration::from_secs(15);

/// How long the last requests may take, and connections to be closed.
const REST_TIME: Duration = Duration::from_secs(25);

const LOOK: Duration = Duration::from_millis(25);
