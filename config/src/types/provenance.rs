//! Where a version comes from.

use std::sync::Arc;

use haldane_decide::time::Timestamp;

/// Where a version comes from, as people are told. Nothing is decided by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Provenance {
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// Which commit or build it is.
    pub sha: Option<Arc<str>>,
    /// When that was committed; lead times count from here.
    pub commit_time: Option<Timestamp>,
}
