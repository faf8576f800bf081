//! HTTP/2 on both sides: what passes, what stops, and how streams end.

/// Too much of what is allowed: ordinary cancellations harm nobody, floods their sender alone.
mod floods;
/// Nobody is sent more than is read, and nobody waits for others.
mod flow;
/// Connections end without a request being lost.
mod goodbye;
/// What is passed on, whoever speaks which version of HTTP.
mod pairing;
/// Both ends of an exchange in either version of HTTP.
mod pairs;
/// Bodies in pieces: none waits for the next, and the last one brings the end.
mod pieces;
/// What is refused reaches nobody and harms nobody else.
mod refusals;
/// A stream that breaks off never looks complete, and whose doing it was is known.
mod resets;
/// The rules of frames, streams and heads, one by one.
mod rules;
/// Many requests share few connections.
mod sharing;
