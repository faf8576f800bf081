//! What is told of those who were on the canary.

/// What is told of those who were on the canary.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LedgerDetail {
    /// How many there were.
    #[default]
    Counts,
    /// Also the salted hashes of their split keys.
    Keys,
}
