//! Opens connections for requests: within their time, and elsewhere where one fails.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use haldane_config::UpstreamProtocol;

use super::choice::choose;
use super::dial::{is_exhaustion, open};
use super::http2::Waited;
use super::{Address, Lease, Link, Opened, Upstream};
use crate::clock::micros;
use crate::deadline::{Guard, Party};
use crate::h1::transport::{ALPN_HTTP2, Transport};
use crate::h1::wire::Wire;
use crate::live::health::AddressFailure;

/// So many addresses are tried for one request. Nothing was sent to those that failed.
const TRIES_MAX: usize = 3;

/// Why no connection could be opened.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// haldane has run out of what it needs to connect anywhere.
    Exhausted(io::Error),
    /// Another request has run out of it, and this one has waited for it.
    ExhaustedForAnother,
    /// The address refused, or is unreachable.
    Failed(io::Error),
    /// Another request has tried, and this one has waited for it.
    FailedForAnother,
    /// Not within the configured time.
    TimedOut,
}

impl ConnectError {
    /// Whether it says anything about the address: not if haldane has run out of what it
    /// needs to connect anywhere, nor a second time for whoever has only waited.
    const fn is_of_address(&self) -> bool {
        match self {
            Self::Exhausted(_) | Self::ExhaustedForAnother | Self::FailedForAnother => false,
            Self::Failed(_) | Self::TimedOut => true,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted(error) | Self::Failed(error) => error.fmt(f),
            Self::ExhaustedForAnother | Self::FailedForAnother => {
                f.write_str("another request could not connect")
            }
            Self::TimedOut => f.write_str("not within the configured time"),
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if is_exhaustion(&error) {
            Self::Exhausted(error)
        } else {
            Self::Failed(error)
        }
    }
}

impl Upstream {
    /// Opens a new connection to `first` or, where that fails, to another address that is
    /// healthy. Each failure counts for its address; what this returns is the version's.
    ///
    /// `timeout` is for all of them: an address that does not answer gets the part of it
    /// that leaves the others theirs. `apart`: see [`Upstream::check_out`].
    pub(crate) async fn reach(
        &self,
        first: Rc<Address>,
        (timeout, apart): (Duration, bool),
        watch: &Guard,
    ) -> Result<Opened, ConnectError> {
        let begun = watch.now();
        let mut tried = Vec::new();
        let mut address = first;
        loop {
            let passed = Duration::from_micros(watch.now().saturating_sub(begun));
            let left = timeout.saturating_sub(passed);
            let tries = self.tries_left(&address, &tried);
            let attempt = self.connect(&address, (left / tries, apart), watch);
            let error = match attempt.await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let now = watch.now();
            let (version, at) = (&*self.version, &*address.endpoint.shown);
            tracing::debug!(version, address = at, %error, "cannot connect");
            if error.is_of_address() {
                address.failed(AddressFailure::Connect, now, self.manner.ejection.as_ref());
            }
            tried.push(address);
            let is_over = now.saturating_sub(begun) >= micros(timeout);
            if tries == 1 || is_over {
                return Err(error);
            }
            address = match choose(&self.addresses(), now, &tried) {
                Some(other) => other,
                None => return Err(error),
            };
        }
    }

    /// How many addresses can still be tried, the next one included.
    fn tries_left(&self, next: &Rc<Address>, tried: &[Rc<Address>]) -> u32 {
        let addresses = self.addresses();
        let is_other = |address: &&Rc<Address>| {
            let mut known = tried.iter().chain([next]);
            address.standing().is_usable() && !known.any(|one| Rc::ptr_eq(one, address))
        };
        let most = TRIES_MAX.saturating_sub(tried.len()).max(1);
        let tries = addresses.iter().filter(is_other).take(most - 1).count() + 1;
        u32::try_from(tries).unwrap_or(1)
    }

    /// Opens a new connection to an address, or shares one that somebody else has
    /// opened meanwhile.
    async fn connect(
        &self,
        address: &Rc<Address>,
        (timeout, apart): (Duration, bool),
        watch: &Guard,
    ) -> Result<Opened, ConnectError> {
        let lease = Lease::new(address);
        // Most requests find a connection: those that do not pay for this one's memory.
        let opening = Box::pin(async {
            match self.manner.protocol {
                UpstreamProtocol::Http1 => {
                    let transport = self.open(address, watch).await?;
                    Ok(self.own(transport, lease))
                }
                UpstreamProtocol::H2 => self.share(address, lease, (watch, apart)).await,
            }
        });
        let opened = watch.within(Party::Upstream, timeout, opening).await;
        opened.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn open(&self, address: &Address, watch: &Guard) -> io::Result<Transport> {
        let transport = open(&address.endpoint.place, self.manner.tls.as_deref()).await?;
        // Proof that it can be reached, whatever becomes of the request.
        address.endpoint.health.reached(watch.now());
        Ok(transport)
    }

    fn own(&self, transport: Transport, lease: Lease) -> Opened {
        Opened {
            link: Link::Own(Box::new(Wire::new(
                transport,
                Rc::clone(&self.means.buffers),
            ))),
            reused: false,
            lease,
        }
    }

    /// One request connects for all that come meanwhile.
    async fn share(
        &self,
        address: &Address,
        lease: Lease,
        (watch, apart): (&Guard, bool),
    ) -> Result<Opened, ConnectError> {
        let begun = watch.now();
        loop {
            if let Some(connection) = address.shared.find(apart) {
                return Ok(Opened::shared(lease, connection, true));
            }
            let Some(mut connecting) = address.shared.begin() else {
                match address.shared.wait().await {
                    Waited::Exhausted => return Err(ConnectError::ExhaustedForAnother),
                    Waited::Failed => return Err(ConnectError::FailedForAnother),
                    Waited::LookAgain => continue,
                }
            };
            let transport = match self.open(address, watch).await {
                Ok(transport) => transport,
                Err(error) => {
                    connecting.fail(is_exhaustion(&error));
                    return Err(error.into());
                }
            };
            // Over TLS the other end has the last word.
            if transport.is_encrypted() && transport.alpn() != Some(ALPN_HTTP2) {
                return Ok(self.own(transport, lease));
            }
            return match connecting
                .start(transport, begun, (apart, &self.means.together))
                .await
            {
                Ok(connection) => Ok(Opened::shared(lease, connection, false)),
                Err(error) => {
                    connecting.fail(false);
                    Err(ConnectError::Failed(io::Error::other(error)))
                }
            };
        }
    }
}
