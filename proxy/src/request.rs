//! The path of a request, in the order in which a request takes it.
//!
//! A connection is accepted ([`accept`], [`proxy_protocol`], [`tls`]), it turns out what it speaks ([`serve`]),
//! and its requests are read one after another ([`http1`], on a busy worker after a while in
//! the [`lobby`]) or side by side ([`http2`]).
//! [`handle`] is one request from start to end (in a [`room`] of its worker) and the file to
//! read first: it checks the head ([`inbound`]), finds the route ([`route`]), reads
//! what decides the role ([`split_key`]), opens the exchange that will report one
//! outcome ([`exchange`]), sends it with a rewritten head ([`send`], [`forward`], and
//! [`http1_head`] or [`http2_head`]) and streams both bodies ([`relay`], [`pump`]) or,
//! after a [`switch`] of protocols, a [`tunnel`]. Calls of a version that has lost its
//! traffic end by [`eviction`]. What a canary has failed, stable may have by the [`shield`],
//! for which the body is kept as a [`replay`]. [`notes`] are made for the access log, and of what has [`failed`] more is kept. What goes wrong is an [`error`], and only [`reject`] turns
//! one into a response.

pub(crate) mod accept;
pub(crate) mod baggage;
pub(crate) mod conduct;
pub(crate) mod error;
pub(crate) mod eviction;
pub(crate) mod exchange;
mod failed;
pub(crate) mod fields;
pub(crate) mod forward;
pub(crate) mod grpc;
pub(crate) mod handle;
pub(crate) mod http1;
pub(crate) mod http1_head;
pub(crate) mod http2;
pub(crate) mod http2_head;
pub(crate) mod inbound;
pub(crate) mod lobby;
pub(crate) mod marks;
pub(crate) mod notes;
pub(crate) mod proxy_protocol;
pub(crate) mod pump;
pub(crate) mod reject;
pub(crate) mod relay;
pub(crate) mod replay;
pub(crate) mod room;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod shield;
pub(crate) mod split_key;
pub(crate) mod switch;
pub(crate) mod tls;
pub(crate) mod tunnel;
