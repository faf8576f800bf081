//! Which requests are kept to be looked at.

/// Which requests are kept to be looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tap {
    /// The last that a version has failed.
    #[default]
    Failures,
    /// None.
    Off,
}
