//! The forms that a notice is sent in.

use haldane_config::{NotifyEvent, NotifyFormat};
use haldane_decide::rollout::Cause;
use haldane_decide::weight::Weight;
use hyper::body::Bytes;
use serde::Serialize;

use super::news::News;
use crate::live::events::Severity;
use crate::telemetry::access::date::{rfc3339, rfc3339_seconds};

/// The form of what is sent as JSON. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.notice/1";

/// Everything, for programs.
#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    id: &'a str,
    event: &'static str,
    severity: &'static str,
    route: &'a str,
    generation: u32,
    version: &'a str,
    stable_version: &'a str,
    weight: Weight,
    at: String,
    sentence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a Cause>,
}

/// A message with one attachment
/// (<https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments/>).
#[derive(Serialize)]
struct Slack {
    text: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    color: &'static str,
    fallback: String,
    fields: [Field; 5],
    /// Seconds since 1970.
    ts: u64,
}

#[derive(Serialize)]
struct Field {
    title: &'static str,
    value: String,
    short: bool,
}

/// What a deployment tracker keeps, with the statuses that GitHub's deployments have.
#[derive(Serialize)]
struct Deployment<'a> {
    sha: &'a str,
    environment: &'a str,
    status: &'static str,
    timestamp: String,
    rollback_sha: &'a str,
}

/// The body of the notice named `id`, if it is anything in this form.
pub(super) fn write(news: &News<'_>, id: &str, format: &NotifyFormat) -> Option<Bytes> {
    let body = match format {
        NotifyFormat::Deployment { environment } => serde_json::to_vec(&Deployment {
            sha: news.sha,
            environment,
            status: deployment_status(news.event)?,
            timestamp: rfc3339_seconds(news.at),
            rollback_sha: news.stable_sha,
        }),
        NotifyFormat::Json => serde_json::to_vec(&Json {
            schema: SCHEMA,
            id,
            event: news.event.as_str(),
            severity: news.severity.as_str(),
            route: news.route,
            generation: news.generation,
            version: news.version,
            stable_version: news.stable_version,
            weight: news.weight,
            at: rfc3339(news.at),
            sentence: &news.sentence,
            cause: news.cause,
        }),
        NotifyFormat::Slack => serde_json::to_vec(&Slack::of(news)),
    };
    // Texts and numbers are always JSON.
    body.ok().map(Bytes::from)
}

impl Slack {
    fn of(news: &News<'_>) -> Self {
        let text = escaped(&news.sentence);
        let field = |title, value: &str| Field {
            title,
            value: escaped(value),
            short: true,
        };
        Self {
            attachments: [Attachment {
                color: match news.severity {
                    Severity::Critical => "danger",
                    Severity::Info => "good",
                    Severity::Warning => "warning",
                },
                fallback: text.clone(),
                fields: [
                    field("Version", news.version),
                    field("Stable", news.stable_version),
                    field("Route", news.route),
                    field("Status", in_words(news.event)),
                    field("Weight", &news.weight.to_string()),
                ],
                ts: news.at.as_micros() / 1_000_000,
            }],
            text,
        }
    }
}

/// Slack reads `<…>` as links and calls to everybody; a reason that somebody gave is
/// neither (<https://docs.slack.dev/messaging/formatting-message-text/#escaping>).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const fn in_words(event: NotifyEvent) -> &'static str {
    match event {
        NotifyEvent::Completed => "Completed",
        NotifyEvent::Incident => "Incident",
        NotifyEvent::Paused => "Paused",
        NotifyEvent::Progressed => "Progressed",
        NotifyEvent::RolledBack => "Rolled back",
        NotifyEvent::Started => "Started",
    }
}

/// An incident leaves a deployment as it is.
const fn deployment_status(event: NotifyEvent) -> Option<&'static str> {
    match event {
        NotifyEvent::Completed => Some("success"),
        NotifyEvent::Incident => None,
        NotifyEvent::Paused => Some("pending"),
        NotifyEvent::Progressed | NotifyEvent::Started => Some("in_progress"),
        NotifyEvent::RolledBack => Some("failure"),
    }
}

#[cfg(test)]
mod tests {
    use haldane_decide::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn news(event: NotifyEvent, cause: Option<&Cause>) -> News<'_> {
        News {
            event,
            severity: Severity::Critical,
            route: "shop",
            generation: 3,
            version: "v2",
            stable_version: "v1",
            sha: "v2",
            stable_sha: "4f1e2d",
            weight: Weight::ZERO,
            at: Timestamp::from_micros(1_700_000_000_250_000),
            sentence: "shop: v2 <!channel> & more".to_owned(),
            cause,
        }
    }

    fn written(news: &News<'_>, format: &NotifyFormat) -> Value {
        serde_json::from_slice(&write(news, "id-1", format).unwrap()).unwrap()
    }

    #[test]
    fn json_has_everything() {
        let cause = Cause::Command {
            actor: Some("ada".to_owned()),
            reason: None,
        };
        let news = news(NotifyEvent::RolledBack, Some(&cause));
        let expected = json!({
            "schema": "haldane.notice/1", "id": "id-1", "event": "rolled_back",
            "severity": "critical", "route": "shop", "generation": 3, "version": "v2",
            "stable_version": "v1", "weight": "0%", "at": "2023-11-14T22:13:20.250Z",
            "sentence": "shop: v2 <!channel> & more",
            "cause": { "kind": "command", "actor": "ada", "reason": null },
        });
        assert_eq!(written(&news, &NotifyFormat::Json), expected);
    }

    #[test]
    fn slack_calls_nobody() {
        let text = "shop: v2 &lt;!channel&gt; &amp; more";
        let field =
            |title: &str, value: &str| json!({ "title": title, "value": value, "short": true });
        let expected = json!({
            "text": text,
            "attachments": [{
                "color": "danger", "fallback": text, "ts": 1_700_000_000,
                "fields": [
                    field("Version", "v2"), field("Stable", "v1"), field("Route", "shop"),
                    field("Status", "Rolled back"), field("Weight", "0%"),
                ],
            }],
        });
        let news = news(NotifyEvent::RolledBack, None);
        assert_eq!(written(&news, &NotifyFormat::Slack), expected);
    }

    #[test]
    fn a_deployment_has_five_fields_and_no_incidents() {
        let format = NotifyFormat::Deployment {
            environment: "staging".to_owned(),
        };
        for (event, status) in [
            (NotifyEvent::Started, "in_progress"),
            (NotifyEvent::Progressed, "in_progress"),
            (NotifyEvent::Paused, "pending"),
            (NotifyEvent::RolledBack, "failure"),
            (NotifyEvent::Completed, "success"),
        ] {
            let expected = json!({
                "sha": "v2", "environment": "staging", "status": status,
                "timestamp": "2023-11-14T22:13:20Z", "rollback_sha": "4f1e2d",
            });
            assert_eq!(written(&news(event, None), &format), expected);
        }
        assert!(write(&news(NotifyEvent::Incident, None), "id", &format).is_none());
    }
}
