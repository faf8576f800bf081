//! A mixed load on a haldane to which everything happens that can happen: nothing may fail but
//! what a fault explains, nothing may be answered wrongly, nothing may be lost or grow.

pub(crate) mod book;
pub(crate) mod certificates;
pub(crate) mod content;
pub(crate) mod course;
pub(crate) mod disk;
pub(crate) mod exchange;
pub(crate) mod faults;
pub(crate) mod load;
pub(crate) mod multiplexed;
pub(crate) mod proxy;
pub(crate) mod service;
