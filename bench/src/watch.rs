//! Those who look at a proxy while it works: a scrape ten times a second, and streams of events.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use crate::{clock, failure::Failure};

/// All who look, in the driver's loop.
#[derive(Debug)]
pub(crate) struct Watchers {
    /// The first one scrapes, the others stream.
    streams: Vec<TcpStream>,
    /// What is sent for a scrape.
    scrape: String,
    next_scrape_ns: u64,
    /// Scrapes that were answered.
    scraped: u64,
}

impl Watchers {
    /// Connects one that scrapes and `streams` that stream.
    pub(crate) fn connect(
        admin: SocketAddr,
        streams: usize,
        registry: &Registry,
    ) -> Result<Self, Failure> {
        let fail = |source| Failure::io("watch the proxy")(source);
        let mut all = Vec::new();
        for at in 0..=streams {
            // On loopback a connection stands at once.
            let mut stream = std::net::TcpStream::connect(admin).map_err(fail)?;
            if at > 0 {
                stream
                    .write_all(request("/v1/stream", admin).as_bytes())
                    .map_err(fail)?;
            }
            stream.set_nonblocking(true).map_err(fail)?;
            let mut stream = TcpStream::from_std(stream);
            registry
                .register(&mut stream, Token(TOKENS + at), Interest::READABLE)
                .map_err(fail)?;
            all.push(stream);
        }
        Ok(Self {
            streams: all,
            scrape: request("/metrics", admin),
            next_scrape_ns: 0,
            scraped: 0,
        })
    }

    /// Scrapes when it is time.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        let now_ns = clock::now_ns();
        if now_ns < self.next_scrape_ns {
            return Ok(());
        }
        self.next_scrape_ns = now_ns + clock::ns(SCRAPE_EVERY);
        match self
            .streams
            .first_mut()
            .map(|stream| stream.write_all(self.scrape.as_bytes()))
        {
            Some(Err(error)) => Err(Failure::violation(format!("scraping: {error}"))),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Reads what there is for a token of [`TOKENS`] or above.
    pub(crate) fn handle(&mut self, token: Token, scratch: &mut [u8]) -> Result<(), Failure> {
        let at = token.0 - TOKENS;
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok(());
        };
        loop {
            match stream.read(scratch) {
                Ok(0) => return Err(Failure::violation("whoever watches was sent away")),
                Ok(n) if at == 0 => {
                    self.scraped += u64::from(scratch[..n].starts_with(b"HTTP/1.1 200"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::violation(format!("watching: {error}"))),
            }
        }
    }

    /// How many scrapes were answered by 200.
    pub(crate) fn scraped(&self) -> u64 {
        self.scraped
    }
}

/// Tokens from here on belong to those who watch.
pub(crate) const TOKENS: usize = 1 << 24;

const SCRAPE_EVERY: Duration = Duration::from_millis(100);

/// A request that the admin listener answers: it wants to be called by its own name.
fn request(path: &str, admin: SocketAddr) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\n\r\n")
}
