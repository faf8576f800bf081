//! haldane: a layer-7 reverse proxy that carries the canary.
//!
//! The modules in the order in which a request sees them: [`app`] binds and wires,
//! `worker` is one data-plane thread, `request` is the path of a request with
//! `h1` for HTTP/1.1 and `http2` for HTTP/2 on the wire, `tls` for what is encrypted, `live` is what requests and the control plane
//! share, `upstream` the connections to versions, and `control` everything that
//! happens beside requests. `cli` holds the verbs.

mod accept;
mod accept_error;
pub mod app;
mod buffers;
pub mod cli;
pub mod clock;
mod control;
mod deadline;
mod descriptors;
mod doors;
mod ending;
#[cfg(fuzzing)]
pub mod fuzz;
mod h1;
mod handover;
mod http2;
pub mod inherited;
mod listeners;
pub mod live;
mod notify_socket;
pub mod origin;
mod peer;
mod request;
mod slate;
mod sockets;
mod sync;
mod telemetry;
mod ticks;
pub mod tls;
mod trace;
mod unix_socket;
mod upstream;
mod waiting;
mod websocket;
mod worker;
