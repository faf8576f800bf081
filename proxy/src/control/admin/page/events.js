// What happened, who did it and why.

import { el } from "./dom.js";
import { count, marked, moment, percent } from "./words.js";

const SHOWN = 40;
const SEVERITIES = { critical: ["✖", "critical"], info: ["·", "info"], warning: ["!", "warning"] };

/** Keeps the latest events, newest first. */
export class Log {
  #events = [];

  take(events, isAll) {
    const newest = [...events].reverse();
    this.#events = (isAll ? newest : [...newest, ...this.#events]).slice(0, SHOWN);
  }

  rows() {
    return this.#events.map(row);
  }

  get isEmpty() {
    return this.#events.length === 0;
  }
}

function row(event) {
  const severity = event.severity ?? "info";
  return el(
    "li",
    { value: event.seq, class: severity },
    el("time", {}, event.at ? moment(event.at) : "–"),
    el("span", { class: "severity" }, marked(SEVERITIES[severity] ?? ["·", severity])),
    el("span", { class: "wide" }, event.route ? el("strong", {}, `${event.route} `) : null, told(event)),
  );
}

/** An event in one sentence. */
function told(event) {
  const why = cause(event.by) ?? asked(event);
  const what = happened(event);
  return why ? `${what}, by ${why}` : what;
}

function happened(event) {
  const canary = event.version ? `canary ${event.version}` : "canary";
  const shares = event.from !== undefined && event.to !== undefined ? ` from ${event.from} to ${event.to}` : "";
  switch (event.kind) {
    case "agreed": return "who was asked before the first step has said yes";
    case "breached": return `a gate fails, which is only told; ${canary} keeps ${event.weight}`;
    case "completed": return `complete: ${canary} has ${event.weight}`;
    case "confirmed": return `${canary} is worse: ${event.sentence}`;
    case "frozen": return "frozen: no rollout starts or advances";
    case "incident": return `both versions are degraded; ${canary} keeps ${event.weight}`;
    case "paused": return `paused at ${event.weight}`;
    case "prepared": return `${canary} is ready to begin`;
    case "progressed": return `step ${event.step} began: ${canary} goes${shares}`;
    case "promoted": return `${canary} is promoted to all traffic, from ${event.from}`;
    case "ready": return `every gate passes: step ${event.step} waits for a person`;
    case "reconfigured": return "configured anew";
    case "reload_failed": return `a configuration cannot be used: ${(event.errors ?? []).join("; ")}`;
    case "reloaded": return `configuration reloaded: ${(event.changes ?? []).join("; ") || "nothing differs"}`;
    case "resumed": return `goes on at ${event.weight}`;
    case "retried": return `generation ${event.generation} began at ${event.weight}`;
    case "reweighed": return `the weight of ${canary} goes${shares}`;
    case "rollback_refused": return `not rolled back, as stable cannot be reached; ${canary} keeps ${event.weight}`;
    case "rollback_unverified": return `the rollback is not verified: ${event.why}`;
    case "rollback_verified": return `the rollback is verified: ${canary} gets no requests any more`;
    case "rolled_back": return `rolled back: ${canary} has lost its ${event.from}${inTime(event)}`;
    case "started": return `${canary} started with ${event.weight}`;
    case "state_damaged": return `what was kept cannot be read: ${event.detail}`;
    case "unfrozen": return "unfrozen: rollouts go on";
    default: return `${event.kind ?? "something"}`.replaceAll("_", " ");
  }
}

const inTime = (event) => event.rollback_micros === undefined ? "" : ` within ${count(event.rollback_micros)} µs`;

function cause(by) {
  switch (by?.kind) {
    case undefined: return null;
    case "breach": return `gate ${by.gate}: ${numbers(by)}`;
    case "command": return asked(by) ?? "a command";
    case "configuration": return "the configuration";
    case "overdue": return `no verdict in time: ${by.detail}`;
    case "plan": return "the plan";
    case "state_damaged": return `state damaged: ${by.detail}`;
    default: return by.kind;
  }
}

function numbers({ canary, stable, value, limit }) {
  if (canary && stable && canary.low < canary.high)
    return `${count(canary.count)} of ${count(canary.samples)} (${percent(canary.value)}) on the canary, ${count(stable.count)} of ${count(stable.samples)} (${percent(stable.value)}) on stable`;
  return `${value} where the limit is ${limit}`;
}

/** Somebody, and their reason. */
function asked({ actor, reason }) {
  if (!actor && !reason) return null;
  return reason ? `${actor ?? "somebody"}: “${reason}”` : actor;
}
