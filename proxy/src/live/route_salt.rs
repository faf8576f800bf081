//! Where the salts of a route come from.

use haldane_config::SaltSource;
use haldane_decide::split::Salt;

/// Where a route's salts come from.
pub(super) enum RouteSalt {
    Fixed(Salt),
    PerGeneration(Salt),
}

impl RouteSalt {
    pub(super) fn new(source: &SaltSource, secret: Salt) -> Self {
        match source {
            SaltSource::Auto => Self::PerGeneration(secret),
            SaltSource::Fixed(text) => Self::Fixed(Salt::from_text(text)),
        }
    }

    /// The salt of a generation.
    pub(super) fn of(&self, generation: u32) -> Salt {
        match self {
            Self::Fixed(salt) => *salt,
            Self::PerGeneration(secret) => secret.for_generation(generation),
        }
    }
}

/// 128 bits that nobody outside can know.
#[expect(
    clippy::expect_used,
    reason = "no operating system that runs this fails to give random bytes"
)]
pub(super) fn new_secret() -> Salt {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    Salt::from_bits(u128::from_le_bytes(bytes))
}
