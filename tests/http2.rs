//! HTTP/2 on both sides: what passes, what stops, and how streams end.

/// What is passed on, whoever speaks which version of HTTP.
mod pairing;
/// Both ends of an exchange in either version of HTTP.
mod pairs;
