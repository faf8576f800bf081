//! What an event means to those who are told: which kind of notice it is, if any.

use haldane_config::NotifyEvent;
use haldane_decide::rollout::{Cause, NoticeKind};
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use crate::live::events::{ReleaseEvent, Severity};

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
    /// Which commit or build the canary is: its version, if nothing else is said.
    pub(super) sha: &'a str,
    /// The same of stable.
    pub(super) stable_sha: &'a str,
    /// The canary's share from here on.
    pub(super) weight: Weight,
    pub(super) at: Timestamp,
    /// All of it in one sentence.
    pub(super) sentence: String,
    pub(super) cause: Option<&'a Cause>,
}

/// What of a kind of event others want to know.
type Told<'a> = (NotifyEvent, Weight, Option<&'a Cause>);

impl<'a> News<'a> {
    /// What others want to know of this event, if anything.
    pub(super) fn of(event: &'a ReleaseEvent) -> Option<Self> {
        let (kind, weight, cause) = told(&event.notice.kind)?;
        let (route, stable) = (&*event.route, &*event.stable_version);
        let version = event.version.as_deref().unwrap_or("canary");
        let what = in_words(&event.notice.kind, version, stable)?;
        Some(Self {
            event: kind,
            severity: Severity::of_notice(&event.notice.kind),
            route,
            generation: event.notice.generation.0,
            version,
            stable_version: stable,
            sha: event.sha.as_deref().unwrap_or(version),
            stable_sha: event.stable_sha.as_deref().unwrap_or(stable),
            weight,
            at: event.notice.at,
            sentence: format!("{route}: {what}"),
            cause,
        })
    }
}

/// The one place that says which event is which kind of notice.
fn told(kind: &NoticeKind) -> Option<Told<'_>> {
    use NotifyEvent::{Completed, Incident, Paused, Progressed, RolledBack, Started};
    Some(match kind {
        NoticeKind::Breached { weight, by } => (Incident, *weight, Some(by)),
        NoticeKind::Completed { weight } => (Completed, *weight, None),
        NoticeKind::Prepared { .. } | NoticeKind::Reconfigured(_) => return None,
        NoticeKind::Confirmed { weight, .. } | NoticeKind::Incident { weight } => {
            (Incident, *weight, None)
        }
        NoticeKind::Paused { weight, by, .. } => (Paused, *weight, Some(by)),
        NoticeKind::Progressed { to, by, .. } => (Progressed, *to, Some(by)),
        NoticeKind::Promoted { by, .. } => (Progressed, Weight::FULL, Some(by)),
        NoticeKind::Ready { weight, .. } => (Paused, *weight, None),
        NoticeKind::Resumed { weight, by, .. } => (Progressed, *weight, Some(by)),
        // With a plan the first step is told as soon as it begins.
        NoticeKind::Retried { weight, .. } if weight.is_zero() => return None,
        NoticeKind::Retried { weight, by } => (Started, *weight, Some(by)),
        // Less traffic is no progress; people lower it, or the canary is gone.
        NoticeKind::Reweighed { from, to, .. } if to <= from => return None,
        NoticeKind::Reweighed { to, by, .. } => (Progressed, *to, Some(by)),
        NoticeKind::RollbackRefused { weight, by } => (Incident, *weight, Some(by)),
        NoticeKind::RolledBack { by, .. } => (RolledBack, Weight::ZERO, Some(by)),
        NoticeKind::Started { weight, by } => (Started, *weight, Some(by)),
        NoticeKind::StateDamaged { .. } => (Incident, Weight::ZERO, None),
    })
}

/// What has happened to this version, where it is told.
fn in_words(kind: &NoticeKind, version: &str, stable: &str) -> Option<String> {
    Some(match kind {
        NoticeKind::Breached { weight, by } => {
            format!("{version} fails and stays at {weight}, as configured ({by})")
        }
        NoticeKind::Completed { weight } => {
            format!("{version} is complete at {weight}, {stable} is not needed any more")
        }
        NoticeKind::Confirmed {
            weight, sentence, ..
        } => format!("{version} stays at {weight} and does not go on; {sentence}"),
        NoticeKind::Prepared { .. } | NoticeKind::Reconfigured(_) => return None,
        NoticeKind::Incident { weight } => format!(
            "{version} and {stable} are both degraded, nothing is rolled back and {version} stays at {weight}"
        ),
        NoticeKind::Paused { step, weight, by } => {
            format!("{version} is paused in step {step} at {weight} ({by})")
        }
        NoticeKind::Progressed { step, from, to, by } => {
            format!("{version} goes from {from} to {to}, step {step} ({by})")
        }
        NoticeKind::Promoted { from, by } => {
            format!("{version} is promoted from {from} to all traffic ({by})")
        }
        NoticeKind::Ready { step, weight } => {
            format!("{version} passes step {step} at {weight} and waits for a person")
        }
        NoticeKind::Resumed { step, weight, by } => {
            format!("{version} goes on in step {step} at {weight} ({by})")
        }
        NoticeKind::Retried { weight, by } => {
            format!("{version} starts again, at {weight} ({by})")
        }
        NoticeKind::Reweighed { from, to, by } => {
            format!("{version} goes from {from} to {to} ({by})")
        }
        NoticeKind::RollbackRefused { weight, by } => format!(
            "{version} fails but stays at {weight}, because {stable} cannot be reached ({by})"
        ),
        NoticeKind::RolledBack { from, by } => {
            format!("{version} was rolled back from {from} to {stable} ({by})")
        }
        NoticeKind::Started { weight, by } => format!("{version} starts at {weight} ({by})"),
        NoticeKind::StateDamaged { detail } => format!(
            "{version} begins without traffic, because what was kept of it cannot be read: {detail}"
        ),
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
            sha: None,
            stable_version: "v1".into(),
            stable_sha: Some("4f1e2d".into()),
            notice: Notice {
                at: Timestamp::from_micros(1),
                generation: Generation(7),
                kind,
            },
            cause: None,
            canary_requests: 0,
            canary_in_flight: 0,
            rollback_micros: None,
        }
    }

    /// Kind, severity, weight and sentence of what is told.
    fn said(kind: NoticeKind) -> String {
        let event = event(kind);
        let news = News::of(&event).unwrap();
        assert_eq!((news.version, news.generation), ("v2", 7));
        assert_eq!((news.sha, news.stable_sha), ("v2", "4f1e2d"));
        let (kind, severity) = (news.event.as_str(), news.severity.as_str());
        format!("{kind} {severity} {} {}", news.weight, news.sentence)
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
                NoticeKind::Confirmed {
                    weight: five,
                    gate: "latency".into(),
                    sentence: "latency: holds".to_owned(),
                },
                "incident warning 5% shop: v2 stays at 5% and does not go on; latency: holds",
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
            assert_eq!(said(kind), expected);
        }
    }

    #[test]
    fn what_a_plan_does_is_told() {
        let (full, five) = (Weight::FULL, weight("5%"));
        let overdue = Cause::Overdue {
            detail: "errors".to_owned(),
        };
        for (kind, expected) in [
            (
                NoticeKind::Progressed {
                    step: 2,
                    from: weight("1%"),
                    to: five,
                    by: Cause::Plan,
                },
                "progressed info 5% shop: v2 goes from 1% to 5%, step 2 (the plan)",
            ),
            (
                NoticeKind::Ready {
                    step: 2,
                    weight: five,
                },
                "paused info 5% shop: v2 passes step 2 at 5% and waits for a person",
            ),
            (
                NoticeKind::Paused {
                    step: 2,
                    weight: five,
                    by: overdue,
                },
                "paused warning 5% shop: v2 is paused in step 2 at 5% (no verdict in time: errors)",
            ),
            (
                NoticeKind::Paused {
                    step: 2,
                    weight: five,
                    by: command(),
                },
                "paused info 5% shop: v2 is paused in step 2 at 5% (command by ada)",
            ),
            (
                NoticeKind::Resumed {
                    step: 2,
                    weight: five,
                    by: command(),
                },
                "progressed info 5% shop: v2 goes on in step 2 at 5% (command by ada)",
            ),
            (
                NoticeKind::Promoted {
                    from: five,
                    by: Cause::Plan,
                },
                "progressed info 100% shop: v2 is promoted from 5% to all traffic (the plan)",
            ),
            (
                NoticeKind::Completed { weight: full },
                "completed info 100% shop: v2 is complete at 100%, v1 is not needed any more",
            ),
            (
                NoticeKind::Breached {
                    weight: five,
                    by: command(),
                },
                "incident warning 5% shop: v2 fails and stays at 5%, as configured (command by ada)",
            ),
        ] {
            assert_eq!(said(kind), expected);
        }
    }

    #[test]
    fn what_asks_nobody_to_look_is_not_told() {
        let amendment = Amendment {
            plan: false,
            stable: true,
            gates: false,
            weight: false,
        };
        let less = reweighed(weight("5%"), weight("1%"));
        let prepared = NoticeKind::Prepared {
            by: Cause::Configuration,
        };
        let again = NoticeKind::Retried {
            weight: Weight::ZERO,
            by: command(),
        };
        for kind in [less, NoticeKind::Reconfigured(amendment), prepared, again] {
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
