//! What a route tells upstreams about a decision beyond version and role: a flag in words of
//! their own, and `baggage`; and what it keeps from them.

use haldane_config::{Flag, Force, RouteConfig};

use super::baggage;
use super::fields::Fields;
use super::forward::Introduction;
use crate::h1::field::reads_as;
use crate::h1::head::FieldRef;
use crate::http2::message::fields_in;

/// What a route adds to requests and takes out of them, if anything.
#[derive(Clone, Copy)]
pub(crate) struct Marks<'a>(&'a RouteConfig);

impl<'a> Marks<'a> {
    /// `None`: requests pass as they are.
    pub(crate) fn of(config: &'a RouteConfig) -> Option<Self> {
        let is_marked = config.sticky.force.is_some() || config.flag.is_some() || config.baggage;
        is_marked.then_some(Self(config))
    }

    /// Whether a client's field of this name is not passed on as it is.
    pub(crate) fn withholds(self, name: &[u8]) -> bool {
        let Self(config) = self;
        // What names a role by force is meant for haldane only.
        let is_force = |force: &Force| reads_as(name, force.header.as_bytes());
        let is_flag = |flag: &Flag| reads_as(name, flag.header.as_bytes());
        config.sticky.force.as_ref().is_some_and(is_force)
            || config.flag.as_ref().is_some_and(is_flag)
            || (config.baggage && name.eq_ignore_ascii_case(baggage::NAME))
    }

    /// The trailer lines that are not named like any of these.
    pub(crate) fn unmarked(self, lines: &[u8]) -> Vec<u8> {
        let mut passed = Vec::new();
        for (name, value) in fields_in(lines) {
            if !self.withholds(name) {
                passed.add(name, value);
            }
        }
        passed
    }

    /// Adds what upstreams are told, to a request that came with these fields.
    // Requests without any of it do not pay for its size.
    #[inline(never)]
    pub(crate) fn add<'h, F: Fields>(
        self,
        out: &mut F,
        fields: impl Iterator<Item = FieldRef<'h>>,
        introduction: &Introduction<'_>,
    ) {
        let role = introduction.role;
        if let Some(flag) = &self.0.flag {
            out.add(flag.header.as_bytes(), flag.value(role).as_bytes());
        }
        if self.0.baggage {
            let lines = fields
                .filter(|field| field.name.eq_ignore_ascii_case(baggage::NAME))
                .map(|field| field.value);
            let value = baggage::tagged(lines, role, introduction.version);
            if !value.is_empty() {
                out.add(baggage::NAME, &value);
            }
        }
    }
}
