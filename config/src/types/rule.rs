//! Who is split otherwise than by the weight of the route.

use std::sync::Arc;

use haldane_decide::split::rule::Rule;

use super::{Networks, PathMatch};

/// A rule that comes before the weight of the route.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetingRule {
    /// Its name in explanations and the access log; unique in its route.
    pub name: Arc<str>,
    /// Whom it is about.
    pub matches: RuleMatch,
    /// What it gives them.
    pub rule: Rule,
}

/// Whom a rule is about. Names of fields are in lower case. A field or cookie has to have one
/// of the values, compared byte by byte; without any it only has to be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleMatch {
    /// Clients in these networks, as told by trusted proxies.
    Client(Networks),
    /// Requests with this cookie.
    Cookie {
        /// The name of the cookie.
        name: String,
        /// What it may be.
        values: Vec<String>,
    },
    /// Requests with this header field.
    Header {
        /// The name of the field.
        name: String,
        /// What it may be.
        values: Vec<String>,
    },
    /// Requests for these paths.
    Path(PathMatch),
}
