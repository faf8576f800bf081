//! The atomics of the few files that share state between threads.
//!
//! `proxy/model` compiles those files again with loom's atomics in this place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
