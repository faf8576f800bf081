//! Upstreams, clients and proxies to test with. Every server is on 127.0.0.1 and gets
//! its port from the operating system.

pub(crate) mod client;
pub(crate) mod eventually;
pub(crate) mod http2;
pub(crate) mod http2_raw;
pub(crate) mod http2_raw_upstream;
pub(crate) mod http2_upstream;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod tls;
pub(crate) mod tls_front;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod wire;
