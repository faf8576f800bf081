//! HTTP/2 on both sides: what passes, what stops, and how streams end.

/// Nobody is sent more than is read, and nobody waits for others.
mod flow;
/// What is passed on, whoever speaks which version of HTTP.
mod pairing;
/// Both ends of an exchange in either version of HTTP.
mod pairs;
/// A stream that breaks off never looks complete, and whose doing it was is known.
mod resets;
