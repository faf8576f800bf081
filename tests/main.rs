//! What haldane does for those who run it, seen from outside: real sockets, one file
//! for each behaviour.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in the helpers of a test, that is how it fails"
)]

/// The access log: one line for each request, whatever became of it, and no more than is told.
mod access;
/// The admin API: what it shows, what it changes, and whom it refuses.
mod admin;
/// Everything changes while everything is used, and nothing fails.
mod churn;
/// The command line: what it prints, and what it ends with.
mod cli;
/// What is there to run haldane with fits the haldane that is there.
mod deploy;
/// Stopping at any time: what was accepted is finished, what is idle is closed.
mod drain;
/// What the process runs out of, and that it goes on.
mod exhaustion;
/// Where a message ends: what is ambiguous is refused, what breaks off never looks complete.
mod framing;
/// What the gates see of real traffic, and what they make of it.
mod gates;
/// Calls by gRPC: how they end is what counts.
mod grpc;
/// The next process takes over from a running one, and nothing is lost.
mod handover;
/// What is passed on, in both directions, and what is not.
mod headers;
/// HTTP/2 on both sides: what passes, what stops, and how streams end.
mod http2;
/// IPv6 on every side, and IPv4 where both are listened on.
mod ipv6;
/// Who was on the canary, and who saw an error there.
mod ledger;
/// What may be used at a time, and what becomes of one more.
mod limits;
/// What upstreams are told about a decision beside version and role, and who may decide by it.
mod marks;
/// Memory depends on what is under way, not on sizes.
mod memory;
/// The metrics: their form, and that their numbers are those of what was sent.
mod metrics;
/// Others are told what happens to releases, and nobody waits for them.
mod notify;
/// What counts against a version, what does not, and that it is counted once.
mod outcomes;
/// The page of the admin listener: who gets it, and what a browser makes of it.
mod page;
/// A panic where a connection is served ends that connection only.
mod panics;
/// Clients and servers that others have made, and haldane between them.
mod peers;
/// What gates will be able to say, before there is traffic.
mod plan;
/// Who the client is where a balancer says it in front of the connection.
mod proxy_protocol;
/// Another configuration while the old one is in use: all or nothing, and nobody notices.
mod reload;
/// Recorded requests through the gates: every format, both ways, in constant memory.
mod replay;
/// What was acknowledged is there after a crash, and a rolled-back canary stays so.
mod restart;
/// Which upstream connections are used again, and which requests are sent again.
mod retry;
/// A canary that fails loses its traffic with the failure that decides, and gets none back.
mod rollback;
/// Rollouts that walk their plan by themselves, and people who steer them.
mod rollout;
/// Who is split otherwise: targeting rules, rings, and what is said of them.
mod rules;
/// What a canary fails is answered from stable where that is safe.
mod shield;
/// Who gets which version: the same key the same one, until the weight says otherwise.
mod split;
/// Bodies on their way: at once, both ways at the same time, in bounded memory, whole.
mod streaming;
/// Upstreams, clients and proxies to test with.
mod support;
/// What systemd is told, and the sockets it gives.
mod systemd;
/// The last requests that a version has failed, as one looks at them.
mod tap;
/// The rules of the source itself.
mod tidy;
/// Whoever keeps haldane waiting is given up after the configured time, and not before.
mod timeouts;
/// Certificates, handshakes, and both sides encrypted.
mod tls;
/// The addresses of a version: which of them get requests, and when they are left alone.
mod upstreams;
/// Sessions after a switch of protocols, however it was asked for.
mod websocket;
