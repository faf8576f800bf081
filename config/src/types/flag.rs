//! Header fields that stand for a role, in words of one's own.

use haldane_decide::role::Role;

use super::Networks;

/// A header field that tells upstreams the role of a request. Nobody else's is passed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flag {
    /// The name of the field, in lower case.
    pub header: String,
    /// What it is for requests to the canary; visible ASCII, and not what it is for stable.
    pub canary: String,
    /// What it is for requests to stable; visible ASCII.
    pub stable: String,
}

/// Who may choose the version of a request, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Force {
    /// The header field that names a role, in lower case.
    pub header: String,
    /// The words for the canary; at least one, and none of those for stable.
    pub canary: Vec<String>,
    /// The words for stable; at least one.
    pub stable: Vec<String>,
    /// Whose field is believed.
    pub from: Networks,
}

impl Flag {
    /// What the field is for requests to the version with this role.
    #[must_use]
    pub fn value(&self, role: Role) -> &str {
        match role {
            Role::Canary => &self.canary,
            Role::Stable => &self.stable,
        }
    }
}

impl Force {
    /// The role that this value of the field names, if it names one; compared byte by byte.
    #[must_use]
    pub fn role_of(&self, value: &[u8]) -> Option<Role> {
        let is_among = |words: &[String]| words.iter().any(|word| word.as_bytes() == value);
        Role::ALL.into_iter().find(|role| {
            is_among(match role {
                Role::Canary => &self.canary,
                Role::Stable => &self.stable,
            })
        })
    }
}
