//! What an event means to those who are told: which kind of notice it is, if any.

use std::sync::Arc;

use haldane_config::NotifyEvent;
use haldane_decide::rollout::{Cause, NoticeKind};
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::live::events::ReleaseEvent;

/// Something that others want to know.
#[derive(Debug)]
pub(super) struct News<'a> {
    pub(super) event: NotifyEvent,
    pub(super) severity: Severity,
    pub(super) route: &'a str,
    pub(super) generation: u32,
    /// The canary; `"canary"` if there is none.
    pub(super) version: &'a str,
    pub(super) stable_version: &'a str,
    /// The canary's share from here on.
    pub(super) weight: Weight,
    pub(super) at: Timestamp,
    /// All of it in one sentence.
    pub(super) sentence: String,
    pub(super) cause: Option<&'a Cause>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Severity {
    /// Somebody must act.
    Critical,
    /// All is as planned.
    Info,
    /// Somebody should look.
    Warning,
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

/// What of a kind of event others want to know.
struct Told<'a>(NotifyEvent, Severity, Weight, Option<&'a Cause>, String);

impl<'a> News<'a> {
    /// What others want to know of this event, if anything.
    pub(super) fn of(event: &'a ReleaseEvent) -> Option<Self> {
        let version = event.version.as_deref().unwrap_or("canary");
        let Told(kind, severity, weight, cause, what) =
            told(&event.notice.kind, version, &event.stable_version)?;
        let route = &*event.route;
        Some(Self {
            event: kind,
            severity,
            route,
            generation: event.notice.generation.0,
            version,
            stable_version: &event.stable_version,
            weight,
            at: event.notice.at,
            sentence: format!("{route}: {what}"),
            cause,
        })
    }
}

/// The one place that says which event is which kind of notice.
fn told<'a>(kind: &'a NoticeKind, version: &str, stable: &Arc<str>) -> Option<Told<'a>> {
    use NotifyEvent::{Incident, Progressed, RolledBack, Started};
    use Severity::{Critical, Info, Warning};
    Some(match kind {
        NoticeKind::Confirmed { .. } | NoticeKind::Reconfigured(_) => return None,
        NoticeKind::Incident { weight } => {
            let what = format!(
                "{version} and {stable} are both degraded, nothing is rolled back and {version} stays at {weight}"
            );
            Told(Incident, Warning, *weight, None, what)
        }
        NoticeKind::Retried { weight, by } => {
            let what = format!("{version} starts again, at {weight} ({by})");
            Told(Started, Info, *weight, Some(by), what)
        }
        NoticeKind::Reweighed { from, to, by } => {
            // Less traffic is no progress; people lower it, or the canary is gone.
            if to <= from {
                return None;
            }
            let what = format!("{version} goes from {from} to {to} ({by})");
            Told(Progressed, Info, *to, Some(by), what)
        }
        NoticeKind::RollbackRefused { weight, by } => {
            let what = format!(
                "{version} fails but stays at {weight}, because {stable} cannot be reached ({by})"
            );
            Told(Incident, Critical, *weight, Some(by), what)
        }
        NoticeKind::RolledBack { from, by } => {
            let severity = match by {
                Cause::Command { .. } | Cause::Configuration => Warning,
                Cause::Breach(_) | Cause::StateDamaged { .. } => Critical,
            };
            let what = format!("{version} was rolled back from {from} to {stable} ({by})");
            Told(RolledBack, severity, Weight::ZERO, Some(by), what)
        }
        NoticeKind::Started { weight, by } => {
            let what = format!("{version} starts at {weight} ({by})");
            Told(Started, Info, *weight, Some(by), what)
        }
        NoticeKind::StateDamaged { detail } => {
            let what = format!(
                "{version} begins without traffic, because what was kept of it cannot be read: {detail}"
            );
            Told(Incident, Critical, Weight::ZERO, None, what)
        }
    })
}

#[cfg(test)]
mod tests {
    use haldane_decide::generation::Generation;
    use haldane_decide::release::change::Amendment;
    use haldane_decide::rollout::Notice;

    use super::*;

    fn event(kind: NoticeKind) -> ReleaseEvent {
        ReleaseEvent {
            route: "shop".into(),
            version: Some("v2".into()),
            stable_version: "v1".into(),
            notice: Notice {
                at: Timestamp::from_micros(1),
                generation: Generation(7),
                kind,
            },
            canary_requests: 0,
            canary_in_flight: 0,
            rollback_micros: None,
        }
    }

    fn weight(text: &str) -> Weight {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_of_event_is_one_kind_of_notice() {
        let (by, one, five) = (command(), weight("1%"), weight("5%"));
        let detail = "cut".to_owned();
        let started = Cause::Configuration;
        for (kind, expected) in [
            (
                NoticeKind::Started {
                    weight: one,
                    by: started,
                },
                "started info 1% shop: v2 starts at 1% (the configuration)",
            ),
            (
                NoticeKind::Retried {
                    weight: one,
                    by: by.clone(),
                },
                "started info 1% shop: v2 starts again, at 1% (command by ada)",
            ),
            (
                reweighed(one, five),
                "progressed info 5% shop: v2 goes from 1% to 5% (command by ada)",
            ),
            (
                NoticeKind::RolledBack {
                    from: five,
                    by: by.clone(),
                },
                "rolled_back warning 0% shop: v2 was rolled back from 5% to v1 (command by ada)",
            ),
            (
                NoticeKind::Incident { weight: five },
                "incident warning 5% shop: v2 and v1 are both degraded, nothing is rolled back and v2 stays at 5%",
            ),
            (
                NoticeKind::RollbackRefused { weight: five, by },
                "incident critical 5% shop: v2 fails but stays at 5%, because v1 cannot be reached (command by ada)",
            ),
            (
                NoticeKind::StateDamaged { detail },
                "incident critical 0% shop: v2 begins without traffic, because what was kept of it cannot be read: cut",
            ),
        ] {
            let event = event(kind);
            let news = News::of(&event).unwrap();
            let (kind, severity) = (news.event.as_str(), news.severity.as_str());
            let found = format!("{kind} {severity} {} {}", news.weight, news.sentence);
            assert_eq!(found, expected);
            assert_eq!((news.version, news.generation), ("v2", 7));
        }
    }

    #[test]
    fn what_asks_nobody_to_look_is_not_told() {
        let amendment = Amendment {
            stable: true,
            gates: false,
            weight: false,
        };
        let confirmed = NoticeKind::Confirmed {
            weight: weight("5%"),
            gate: "errors".into(),
            sentence: String::new(),
        };
        let less = reweighed(weight("5%"), weight("1%"));
        for kind in [less, NoticeKind::Reconfigured(amendment), confirmed] {
            assert!(News::of(&event(kind)).is_none());
        }
    }

    fn command() -> Cause {
        Cause::Command {
            actor: Some("ada".to_owned()),
            reason: None,
        }
    }

    fn reweighed(from: Weight, to: Weight) -> NoticeKind {
        NoticeKind::Reweighed {
            from,
            to,
            by: command(),
        }
    }
}
