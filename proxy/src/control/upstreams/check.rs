//! Asks an address whether it is well, again and again.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use haldane_config::{HealthCheck, UpstreamProtocol};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use super::Target;
use crate::control::remote::while_driven;
use crate::h1::transport::{ALPN_HTTP2, Transport};
use crate::live::Live;
use crate::live::endpoints::Endpoint;
use crate::live::health::{AddressFailure, Standing};
use crate::upstream::dial::{is_exhaustion, open};

/// One that is not well is asked this often, if not more often anyway: recovery should
/// not wait for an interval that is meant for good times.
const UNWELL_INTERVAL: Duration = Duration::from_secs(1);

/// How much of the body of an answer is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How haldane calls itself.
const USER_AGENT: &str = "haldane-health";

/// Asks for as long as this runs. The first answer decides nothing alone, so an address
/// counts as well until it has been asked often enough.
pub(super) async fn keep_checking(target: Target, check: HealthCheck, live: Arc<Live>) {
    let health = &target.endpoint.health;
    let mut run = Run::new(health.standing() != Standing::Failing);
    loop {
        let status = OnceLock::new();
        let asked = timeout(check.timeout, ask(&target, &check.path, &status)).await;
        // The head says everything, whatever becomes of the body.
        let problem = match (status.get(), asked) {
            // What haldane lacks says nothing about the address.
            (None, Ok(Err(error))) if is_exhaustion(&error) => {
                sleep(UNWELL_INTERVAL).await;
                continue;
            }
            (Some(status), _) => (!is_good(*status)).then(|| status.to_string()),
            (None, Ok(Err(error))) => Some(error.to_string()),
            (None, Ok(Ok(())) | Err(_)) => Some("no answer in time".to_owned()),
        };
        let now = live.clock.micros();
        if let Some(problem) = &problem {
            health.note(AddressFailure::Check, now);
            let (route, address) = (&*target.route.config.name, &*target.endpoint.shown);
            tracing::debug!(route, address, problem, "a bad check");
        }
        run.see(problem.is_none(), &check);
        health.checked(run.is_well, now);
        let interval = if run.is_well {
            check.interval
        } else {
            check.interval.min(UNWELL_INTERVAL)
        };
        // Not all addresses at the same moment.
        sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

fn is_good(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Sends one check over a connection of its own, in the protocol of requests, and tells
/// the status as soon as it has come.
async fn ask(target: &Target, path: &str, status: &OnceLock<StatusCode>) -> io::Result<()> {
    let endpoint = &target.endpoint;
    let tls = target.route.tls[target.role.index()].as_deref();
    let transport = open(&endpoint.place, tls).await?;
    // Over TLS the other end has the last word.
    let takes_http2 = !transport.is_encrypted() || transport.alpn() == Some(ALPN_HTTP2);
    match target.route.config.upstream_protocol {
        UpstreamProtocol::H2 if takes_http2 => ask_http2(transport, endpoint, path, status).await,
        UpstreamProtocol::H2 | UpstreamProtocol::Http1 => {
            ask_http1(transport, endpoint, path, status).await
        }
    }
}

async fn ask_http1(
    transport: Transport,
    endpoint: &Endpoint,
    path: &str,
    status: &OnceLock<StatusCode>,
) -> io::Result<()> {
    let request = Request::get(path)
        .header(header::HOST, &*endpoint.authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport))
        .await
        .map_err(io::Error::other)?;
    let asked = async {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(io::Error::other)?.into_parts();
        status.get_or_init(|| head.status);
        // An upstream that still writes when the connection is closed reports an error.
        let rest = Limited::new(body, BODY_BYTES_MAX).collect().await;
        rest.map(drop).map_err(io::Error::other)
    };
    while_driven(asked, connection).await
}

async fn ask_http2(
    transport: Transport,
    endpoint: &Endpoint,
    path: &str,
    status: &OnceLock<StatusCode>,
) -> io::Result<()> {
    let uri = Uri::builder()
        .scheme(if transport.is_encrypted() {
            "https"
        } else {
            "http"
        })
        .authority(&*endpoint.authority)
        .path_and_query(path)
        .build()
        .map_err(io::Error::other)?;
    let request = Request::get(uri)
        .header(header::USER_AGENT, USER_AGENT)
        .body(())
        .map_err(io::Error::other)?;
    let (sender, connection) = h2::client::handshake(transport)
        .await
        .map_err(io::Error::other)?;
    let asked = async {
        let mut sender = sender.ready().await.map_err(io::Error::other)?;
        let sent = sender.send_request(request, true);
        let (answer, _) = sent.map_err(io::Error::other)?;
        let answer = answer.await.map_err(io::Error::other)?;
        // The rest of the stream is refused, which costs the upstream nothing.
        status.get_or_init(|| answer.status());
        Ok(())
    };
    while_driven(asked, connection).await
}

/// Answers of the same kind in a row.
struct Run {
    is_well: bool,
    /// How many in a row said otherwise.
    against: u32,
}

impl Run {
    const fn new(is_well: bool) -> Self {
        Self {
            is_well,
            against: 0,
        }
    }

    fn see(&mut self, is_good: bool, check: &HealthCheck) {
        if is_good == self.is_well {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if is_good {
            check.healthy_after
        } else {
            check.unhealthy_after
        };
        if self.against >= enough {
            *self = Self::new(is_good);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_some_in_a_row_to_change() {
        let check = HealthCheck {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        };
        let mut run = Run::new(true);
        let seen = "bb.bb.bbb.b..bbb..".chars().map(|answer| {
            run.see(answer == '.', &check);
            if run.is_well { '.' } else { 'b' }
        });
        assert_eq!(seen.collect::<String>(), "........bbbb...bb.");
    }

    #[test]
    fn redirections_are_good_and_nothing_else_beside_success() {
        for (status, good) in [
            (200, true),
            (204, true),
            (302, true),
            (404, false),
            (503, false),
        ] {
            assert_eq!(is_good(StatusCode::from_u16(status).unwrap()), good);
        }
    }
}
