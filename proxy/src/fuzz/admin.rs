//! The admin API without its connections.

use std::sync::{Arc, Weak};

use haldane_config::{AdminAddress, Config};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::{Request, Response};

use crate::clock::Clock;
use crate::control::admin::{Hub, Plane, Surface, answer};
use crate::live::Live;
use crate::live::events::EventLog;
use crate::live::keeping::Found;
use crate::tls::Tls;

/// A process that begins, without anything that it listens on.
#[expect(
    clippy::expect_used,
    reason = "the configurations of targets name no certificates"
)]
pub(super) fn live(config: &Config, found: Option<Found>) -> Arc<Live> {
    let tls = Tls::load(config, None).expect("is loaded");
    Live::new(config, tls, (1, Clock::start()), found, EventLog::default())
}

/// An admin listener on 127.0.0.1:7411.
pub struct Admin {
    live: Arc<Live>,
    plane: Plane,
}

impl Admin {
    /// Of a process that has just begun.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let live = live(config, None);
        let hub = Arc::new(Hub::new(&live, Weak::new()));
        let address = AdminAddress::Tcp(([127, 0, 0, 1], 7411).into());
        let plane = Plane::new(hub, address, Arc::default());
        Self { live, plane }
    }

    /// Answers one request. Of an answer without an end the first part is taken.
    pub async fn ask(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let (parts, mut body) = answer(&self.plane, Surface::Admin, request)
            .await
            .into_parts();
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
            if body.size_hint().exact().is_none() {
                break;
            }
        }
        Response::from_parts(parts, bytes)
    }

    /// Everything that requests may change: where releases stand, what has happened, and
    /// whether rollouts are frozen.
    #[must_use]
    pub fn state(&self) -> String {
        let standing = serde_json::to_string(&self.live.standing()).unwrap_or_default();
        let frozen = self.live.freeze.get().is_some();
        format!("{standing} {} {frozen}", self.live.events.last())
    }
}
