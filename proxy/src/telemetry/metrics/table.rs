//! Every metric with its unit and its help text.

use std::sync::LazyLock;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// One row of the table. Names are whole, as they are queried.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: FamilyUnit,
    pub(super) help: &'static str,
}

/// The base unit, which the name of a family ends with.
pub(super) enum FamilyUnit {
    None,
    Ratio,
    Seconds,
}

/// The library knows a plural only.
pub(super) static RATIO: LazyLock<Unit> = LazyLock::new(|| Unit::Other("ratio".to_owned()));

pub(super) const REQUESTS: Family = Family {
    name: "haldane_requests_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Responses by status code, those included that haldane gave for a version that failed, or would have given if stable had not answered.",
};
pub(super) const FAILURES: Family = Family {
    name: "haldane_request_failures_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Requests that a version failed, by how it failed.",
};
pub(super) const SHIELDED: Family = Family {
    name: "haldane_shielded_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Requests that the canary had failed, or had when it was rolled back, and that went to stable.",
};
pub(super) const TTFB: Family = Family {
    name: "haldane_request_ttfb_seconds",
    kind: MetricType::Histogram,
    unit: FamilyUnit::Seconds,
    help: "Time from the request until the response head. Within 1 % at the bounds of buckets.",
};
pub(super) const DURATION: Family = Family {
    name: "haldane_request_duration_seconds",
    kind: MetricType::Histogram,
    unit: FamilyUnit::Seconds,
    help: "Time from the request until the response was complete. Within 1 % at the bounds of buckets.",
};
pub(super) const IN_FLIGHT: Family = Family {
    name: "haldane_requests_in_flight",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Requests that were sent to a version and have not ended.",
};
pub(super) const WEIGHT: Family = Family {
    name: "haldane_canary_weight_ratio",
    kind: MetricType::Gauge,
    unit: FamilyUnit::Ratio,
    help: "The share of split keys that the canary has, from 0 to 1.",
};
pub(super) const GATE_VALUE: Family = Family {
    name: "haldane_gate_value",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "What a gate measured: a ratio, or a count of failures in a row.",
};
pub(super) const GATE_LIMIT: Family = Family {
    name: "haldane_gate_limit",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "What the value of a gate may be at most, before chance is allowed for.",
};
pub(super) const GATE_SAMPLES: Family = Family {
    name: "haldane_gate_samples",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Requests of the canary that the value of a gate is made of.",
};
pub(super) const GATE_EVIDENCE: Family = Family {
    name: "haldane_gate_evidence_ratio",
    kind: MetricType::Gauge,
    unit: FamilyUnit::Ratio,
    help: "The evidence against the canary that a gate has, as a share of what a rollback takes.",
};
pub(super) const GATE_VERDICT: Family = Family {
    name: "haldane_gate_verdict",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "What a gate says: 0 pass, 1 fail, 2 inconclusive.",
};
pub(super) const ROLLBACKS: Family = Family {
    name: "haldane_rollbacks_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Rollbacks by the gate that caused them.",
};
pub(super) const ROLLBACK_TIME: Family = Family {
    name: "haldane_rollback_seconds",
    kind: MetricType::Histogram,
    unit: FamilyUnit::Seconds,
    help: "Time from the outcome that broke a limit until the weight was zero.",
};
pub(super) const ROLLOUTS: Family = Family {
    name: "haldane_rollouts_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Generations that ended, by how they ended first.",
};
pub(super) const ROLLOUT_DURATION: Family = Family {
    name: "haldane_rollout_duration_seconds",
    kind: MetricType::Histogram,
    unit: FamilyUnit::Seconds,
    help: "Time from the first traffic of a generation until it was complete or rolled back.",
};
pub(super) const LEAD_TIME: Family = Family {
    name: "haldane_rollout_lead_time_seconds",
    kind: MetricType::Gauge,
    unit: FamilyUnit::Seconds,
    help: "Time from the commit of the canary until its rollout was complete. Absent before, and without commit_time.",
};
pub(super) const OVERDUE: Family = Family {
    name: "haldane_rollout_overdue",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Whether the rollout has been complete for longer than expires: 1 if the canary is to be made stable, or removed.",
};
pub(super) const PHASE: Family = Family {
    name: "haldane_rollout_phase",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Where the rollout stands: 0 idle, 1 progressing, 2 paused, 3 promoted, 4 rolled back, 5 complete.",
};
pub(super) const STEP: Family = Family {
    name: "haldane_rollout_step",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "The step of the plan that the rollout is at, counted from 1; 0 before the first and without a plan.",
};
pub(super) const FROZEN: Family = Family {
    name: "haldane_frozen",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Whether no rollout starts or advances: 1 while frozen.",
};
pub(super) const GENERATION: Family = Family {
    name: "haldane_rollout_generation",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Which attempt at the rollout this is.",
};
pub(super) const HEALTHY: Family = Family {
    name: "haldane_upstream_healthy",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Whether requests are sent to an address of a version: 1, or 0 if it is unhealthy.",
};
pub(super) const CONNECTIONS: Family = Family {
    name: "haldane_connections_open",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Client connections that are open.",
};
pub(super) const CERTIFICATE_EXPIRY: Family = Family {
    name: "haldane_certificate_expiry_timestamp_seconds",
    kind: MetricType::Gauge,
    unit: FamilyUnit::Seconds,
    help: "When the first certificate of a chain that haldane shows stops being valid, in seconds since 1970.",
};
pub(super) const ACCESS_DROPPED: Family = Family {
    name: "haldane_access_log_dropped_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Lines that the access log has lost: they could not be written, or not in time.",
};
pub(super) const NOTIFICATIONS: Family = Family {
    name: "haldane_notifications_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Notices by what became of them: delivered, failed (refused, or tried too often), or dropped (too many waited, or the target is gone).",
};
pub(super) const RELOAD_SUCCESSFUL: Family = Family {
    name: "haldane_config_last_reload_successful",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Whether the last configuration that was read is in force: 1 if it is, 0 if it cannot be used.",
};
pub(super) const RELOAD_SUCCEEDED_AT: Family = Family {
    name: "haldane_config_last_reload_success_timestamp_seconds",
    kind: MetricType::Gauge,
    unit: FamilyUnit::Seconds,
    help: "When a configuration was last read that is in force, in seconds since 1970.",
};
pub(super) const STATE_OK: Family = Family {
    name: "haldane_state_ok",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Whether state is on disk and could be read: 0 from a failed write to the next good one, and while a canary waits for retry because state was damaged.",
};
pub(super) const STATE_WRITE_FAILURES: Family = Family {
    name: "haldane_state_write_failures_total",
    kind: MetricType::Counter,
    unit: FamilyUnit::None,
    help: "Attempts to write the state that failed.",
};
pub(super) const BUILD: Family = Family {
    name: "haldane_build_info",
    kind: MetricType::Gauge,
    unit: FamilyUnit::None,
    help: "Always 1; the label says which haldane this is.",
};
