//! Writes what happened to the log.

use haldane_decide::release::change::Amendment;
use haldane_decide::rollout::NoticeKind;

use crate::live::events::{
    AftermathEvent, AftermathKind, AgreementEvent, Event, Happening, ProcessEvent,
    ProcessEventKind, ReleaseEvent,
};

pub(super) fn log(event: &Event) {
    match &event.what {
        Happening::Agreement(event) => log_agreement(event),
        Happening::Aftermath(event) => log_aftermath(event),
        Happening::Process(event) => log_process(event),
        Happening::Release(event) => log_release(event),
    }
}

fn log_agreement(event: &AgreementEvent) {
    let (route, generation) = (&*event.route, event.generation.0);
    let (who, status) = (&*event.actor, event.status);
    let said = event.reason.as_deref().unwrap_or_default();
    tracing::info!(route, generation, who, status, said, "may begin");
}

fn log_aftermath(event: &AftermathEvent) {
    let (route, generation) = (&*event.route, event.generation.0);
    let (canary_requests, seconds) = (event.canary_requests, event.seconds);
    match &event.kind {
        AftermathKind::RollbackUnverified { why } => {
            tracing::warn!(
                route,
                generation,
                canary_requests,
                seconds,
                "rollback not verified: {why}"
            );
        }
        AftermathKind::RollbackVerified => {
            tracing::info!(
                route,
                generation,
                canary_requests,
                seconds,
                "rollback verified: the canary gets nothing, and stable is there"
            );
        }
    }
}

fn log_process(event: &ProcessEvent) {
    match &event.kind {
        ProcessEventKind::Frozen { actor, reason } => {
            let (actor, reason) = (actor.as_deref(), reason.as_deref());
            tracing::warn!(actor, reason, "frozen: no rollout starts or advances");
        }
        ProcessEventKind::Unfrozen { actor, reason } => {
            let (actor, reason) = (actor.as_deref(), reason.as_deref());
            tracing::info!(actor, reason, "unfrozen");
        }
        ProcessEventKind::ReloadFailed { errors } => {
            let errors = errors.join("; ");
            tracing::error!(errors, "reload failed, the last good configuration stays");
        }
        ProcessEventKind::Reloaded { changes } => {
            let changes = changes.join("; ");
            tracing::info!(changes, "reloaded");
        }
    }
}

fn log_release(event: &ReleaseEvent) {
    let route = &*event.route;
    let generation = event.notice.generation.0;
    match &event.notice.kind {
        NoticeKind::Confirmed {
            weight, sentence, ..
        } => {
            tracing::warn!(route, generation, %weight, "confirmed: {sentence}");
        }
        NoticeKind::Incident { weight } => {
            tracing::warn!(route, generation, %weight, "incident: both versions are degraded, nothing is rolled back");
        }
        NoticeKind::Reconfigured(amendment) => {
            let Amendment {
                stable,
                gates,
                weight,
                plan,
            } = amendment;
            tracing::info!(
                route,
                generation,
                stable,
                gates,
                weight,
                plan,
                "reconfigured"
            );
        }
        NoticeKind::RolledBack { from, by } => {
            let (canary_requests, in_flight) = (event.canary_requests, event.canary_in_flight);
            tracing::warn!(route, generation, %from, %by, canary_requests, in_flight, "rolled back");
        }
        NoticeKind::RollbackRefused { weight, by } => {
            tracing::error!(route, generation, %weight, %by, "not rolled back: stable cannot be reached");
        }
        NoticeKind::Reweighed { from, to, by } => {
            tracing::info!(route, generation, %from, %to, %by, "weight changed");
        }
        NoticeKind::StateDamaged { detail } => {
            tracing::error!(
                route,
                generation,
                detail,
                "the canary begins without traffic"
            );
        }
        kind @ (NoticeKind::Breached { .. }
        | NoticeKind::Completed { .. }
        | NoticeKind::Paused { .. }
        | NoticeKind::Prepared { .. }
        | NoticeKind::Progressed { .. }
        | NoticeKind::Promoted { .. }
        | NoticeKind::Ready { .. }
        | NoticeKind::Resumed { .. }) => log_walk(route, generation, kind),
        NoticeKind::Retried { weight, by } | NoticeKind::Started { weight, by } => {
            tracing::info!(route, generation, %weight, %by, "new generation");
        }
    }
}

/// How a rollout walks its plan.
fn log_walk(route: &str, generation: u32, kind: &NoticeKind) {
    match kind {
        NoticeKind::Breached { weight, by } => {
            tracing::warn!(route, generation, %weight, %by, "breached, and only told");
        }
        NoticeKind::Completed { weight } => {
            tracing::info!(route, generation, %weight, "complete: the version before is not needed any more");
        }
        NoticeKind::Paused { step, weight, by } => {
            tracing::warn!(route, generation, step, %weight, %by, "paused");
        }
        NoticeKind::Prepared { by } => {
            tracing::info!(route, generation, %by, "new generation, which begins with its plan");
        }
        NoticeKind::Progressed { step, from, to, by } => {
            tracing::info!(route, generation, step, %from, %to, %by, "next step");
        }
        NoticeKind::Promoted { from, by } => {
            tracing::info!(route, generation, %from, %by, "promoted: the canary has all traffic");
        }
        NoticeKind::Ready { step, weight } => {
            tracing::info!(route, generation, step, %weight, "every gate passes, the step waits for a person");
        }
        NoticeKind::Resumed { step, weight, by } => {
            tracing::info!(route, generation, step, %weight, %by, "resumed");
        }
        NoticeKind::Confirmed { .. }
        | NoticeKind::Incident { .. }
        | NoticeKind::Reconfigured(_)
        | NoticeKind::Retried { .. }
        | NoticeKind::Reweighed { .. }
        | NoticeKind::RollbackRefused { .. }
        | NoticeKind::RolledBack { .. }
        | NoticeKind::Started { .. }
        | NoticeKind::StateDamaged { .. } => {}
    }
}
