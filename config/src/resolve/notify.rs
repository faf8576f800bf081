//! `[[notify]]`: who is told of what happens to releases.

use super::remote;
use crate::file::{Table, Value};
use crate::keys;
use crate::report::{Finding, Report};
use crate::types::{NotifyEvent, NotifyFormat, NotifyTarget};
use crate::unit::{Kind, Misfit};

/// Each has a queue and a task of its own.
const TARGETS_MAX: usize = 16;

const ENVIRONMENT_BYTES_MAX: usize = 128;

const ENVIRONMENT: Kind = Kind {
    what: "the name of an environment",
    example: "\"production\"",
    units: &["{}"],
};

/// The form as it is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Deployment,
    Json,
    Slack,
}

/// All of them; none by default.
pub(super) fn targets(root: &Table<'_>, report: &mut Report) -> Option<Vec<NotifyTarget>> {
    let Some(value) = root.get("notify") else {
        return Some(Vec::new());
    };
    if !value.is_list() {
        let finding = Finding::new(format!(
            "`notify` is not a list: found {}",
            value.describe()
        ));
        return value.reject(
            report,
            finding
                .allowed("expected a list of tables")
                .hint("write `[[notify]]`, with two brackets"),
        );
    }
    let items = value.items(report, TARGETS_MAX)?;
    let read: Vec<_> = items.iter().map(|item| target(item, report)).collect();
    read.into_iter().collect()
}

fn target(value: &Value<'_>, report: &mut Report) -> Option<NotifyTarget> {
    let table = value.table(report, &keys::NOTIFY)?;
    let remote = remote::remote(&table, report);
    let forms = [
        ("json", Form::Json),
        ("slack", Form::Slack),
        ("deployment", Form::Deployment),
    ];
    let form = table.read(report, "format", Form::Json, |value, report| {
        value.choice(report, &forms)
    });
    let events = table.read(report, "events", NotifyEvent::ALL.to_vec(), events);
    let environment = table.read(
        report,
        "environment",
        "production".to_owned(),
        |value, report| value.parse(report, &ENVIRONMENT, environment),
    );
    if let Some(form) = form {
        compare_with_form(form, &table, events.as_deref(), report);
    }
    Some(NotifyTarget {
        remote: remote?,
        events: events?,
        format: match (form?, environment?) {
            (Form::Deployment, environment) => NotifyFormat::Deployment { environment },
            (Form::Json, _) => NotifyFormat::Json,
            (Form::Slack, _) => NotifyFormat::Slack,
        },
    })
}

/// One word or a list of them, in the order of [`NotifyEvent::ALL`].
fn events(value: &Value<'_>, report: &mut Report) -> Option<Vec<NotifyEvent>> {
    let choices = NotifyEvent::ALL.map(|event| (event.as_str(), event));
    let items = value.one_or_many(report, choices.len())?;
    let read: Vec<_> = items
        .iter()
        .map(|item| item.choice(report, &choices))
        .collect();
    let read: Vec<_> = read.into_iter().collect::<Option<_>>()?;
    let wanted = NotifyEvent::ALL.into_iter();
    Some(wanted.filter(|event| read.contains(event)).collect())
}

fn environment(text: &str) -> Result<String, Misfit> {
    if text.is_empty() || text.trim() != text {
        Err(Misfit::new("it is empty, or begins or ends with a space"))
    } else if text.len() > ENVIRONMENT_BYTES_MAX {
        Err(Misfit::new(format!(
            "it is longer than {ENVIRONMENT_BYTES_MAX} bytes"
        )))
    } else if text.chars().any(char::is_control) {
        Err(Misfit::new("it has control characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// What says nothing in this form.
fn compare_with_form(
    form: Form,
    table: &Table<'_>,
    events: Option<&[NotifyEvent]>,
    report: &mut Report,
) {
    if form != Form::Deployment
        && let Some(value) = table.get("environment")
    {
        let finding = Finding::new("only the format \"deployment\" has an environment");
        value.reject::<()>(report, finding.hint("remove this key"));
    }
    if form == Form::Deployment
        && let (Some(value), Some(events)) = (table.get("events"), events)
        && events.contains(&NotifyEvent::Incident)
    {
        let finding = Finding::new("an incident is no status of a deployment: it is not sent");
        report.warning(
            value.span.clone(),
            &value.path,
            finding.hint("remove \"incident\", or use another format"),
        );
    }
}
