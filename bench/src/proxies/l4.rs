//! The relay of bytes: this very program, in a process of its own.

use super::{Recipe, Site};

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let address = |port: u16| format!("127.0.0.1:{port}").into();
    Recipe {
        configuration: None,
        arguments: vec![
            "relay".into(),
            address(site.ports.http1),
            address(site.upstreams[0]),
        ],
        ready: None,
    }
}
