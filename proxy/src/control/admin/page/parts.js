// The parts of a route, each made of what its status says.

import { bar, el } from "./dom.js";
import { count, marked, moment, percent, span, time, verdict } from "./words.js";

/** Stable against canary, row by row. */
export function versions({ stable, canary }) {
  const both = [stable, canary];
  const row = (name, cell) =>
    el("tr", {}, el("th", { scope: "row" }, name), ...both.map((one) => el("td", {}, ...(one ? cell(one) : ["–"]))));
  const times = (name) => (one) => [time(one.ttfb_seconds[name]), now(one.lately && time(one.lately.ttfb_seconds[name]))];
  return [
    el("thead", {}, el("tr", {}, el("td"), column("stable", stable), column("canary", canary))),
    el(
      "tbody",
      {},
      row("failures", (one) => [failures(one), now(one.lately && failures(one.lately))]),
      row("requests", (one) => [count(one.requests), now(one.lately && `${rate(one.lately)}/s`)]),
      row("in flight", (one) => [count(one.in_flight)]),
      row("p50", times("p50")),
      row("p95", times("p95")),
      row("p99", times("p99")),
    ),
  ];
}

function column(role, version) {
  const about = version && [version.owner, version.sha?.slice(0, 12), version.commit_time].filter(Boolean).join(", ");
  return el(
    "th",
    { scope: "col", class: role },
    el("span", { class: "role" }, role),
    " ",
    el("span", { class: "version" }, version?.version ?? "none"),
    about ? el("small", {}, about) : null,
  );
}

const now = (text) => text ? el("small", {}, ` now ${text}`) : null;
const rate = ({ requests, seconds }) => count(Number((requests / seconds).toPrecision(2)));

function failures({ failures, requests }) {
  return failures === 0 || requests === 0 ? count(failures) : `${count(failures)} (${percent(Math.min(1, failures / requests))})`;
}

/** The steps of a plan; the one it is at says how far it has come. */
export function steps({ rollout, phase }) {
  return rollout.steps.map((step, index) => {
    const number = index + 1;
    const isHere = number === rollout.step && !["rolled_back", "complete"].includes(phase);
    const [symbol, state] = isHere ? ["▶", "here"] : number <= rollout.step ? ["✔", "done"] : ["·", "to come"];
    return el(
      "li",
      { class: isHere ? "here" : "", "aria-current": isHere ? "step" : null },
      el("span", { class: "step" }, `${symbol} ${step.weight}`),
      el("span", { class: "unseen" }, ` ${state} `),
      el("small", {}, held(step, isHere ? rollout : null)),
    );
  });
}

function held(step, here) {
  if (step.until_promoted) return "until promoted";
  const parts = [];
  if (step.hold_seconds > 0)
    parts.push(here ? `${span(Math.min(here.held_seconds, step.hold_seconds))} of ${span(step.hold_seconds)}` : `for ${span(step.hold_seconds)}`);
  if (step.hold_requests > 0)
    parts.push(here ? `${count(Math.min(here.requests, step.hold_requests))} of ${count(step.hold_requests)} requests` : `${count(step.hold_requests)} requests`);
  return parts.join(" and ");
}

/** What each gate says, with its numbers. */
export function gates(all) {
  return all.map((gate) =>
    el(
      "tr",
      { class: gate.verdict },
      el("td", { class: "verdict" }, marked(verdict(gate.verdict))),
      el("td", { class: "wide" }, gate.sentence),
      el("td", { "data-name": "canary" }, ...estimate(gate.canary)),
      el("td", { "data-name": "stable" }, ...estimate(gate.stable)),
      el("td", { "data-name": "limit" }, isShare(gate.canary) ? percent(gate.limit) : number(gate.limit)),
      el("td", { "data-name": "evidence" }, ...evidence(gate.evidence)),
    ),
  );
}

/** Shares have an interval; what was only counted has none. */
const isShare = ({ low, high }) => low < high;
const number = (value) => Number.isInteger(value) ? count(value) : value.toPrecision(3);

function estimate(of) {
  if (!isShare(of)) return [number(of.value)];
  if (of.samples === 0) return ["–"];
  const interval = `${percent(of.low)} to ${percent(of.high)}`;
  return [percent(of.value), el("small", {}, ` ${interval}; ${count(of.count)} of ${count(of.samples)}`)];
}

function evidence(value) {
  const text = value > 1000 ? "over 1000" : value === 0 ? "0" : value < 0.01 ? "under 0.01" : value < 10 ? value.toPrecision(2) : String(Math.round(value));
  return [bar(value, `${text} of the 1 that a rollback takes`, value >= 1 ? "bad" : ""), el("small", {}, `${text} of 1`)];
}

/** The addresses that are unwell. */
export function addresses(unwell) {
  return unwell.map(({ role, address, ejected_until: until, last_failure: last }) =>
    el(
      "li",
      {},
      el("strong", {}, `✖ ${role}: ${address}`),
      ` is unhealthy${last ? `; failed last at ${moment(last.at)}: ${last.reason}` : ""}${until ? `; tried again at ${moment(until)}` : ""}`,
    ),
  );
}

/** Who was on the canary. */
export function exposure({ users, saw_error: saw, requests_without_key: without, keys, route }) {
  const about = ({ count: number, exact }) => `${exact ? "" : "about "}${count(number)}`;
  const rest = without > 0 ? `; and ${count(without)} requests of nobody that is known` : "";
  return [
    el("strong", {}, `${about(users)} ${users.count === 1 && users.exact ? "user was" : "users were"} on the canary, ${about(saw)} saw an error`),
    `${rest}. `,
    keys ? el("a", { href: `/v1/routes/${encodeURIComponent(route)}/exposure` }, "who") : null,
  ];
}

/** The latest requests that the canary has failed. */
export function tap(requests) {
  return requests.map((request) =>
    el(
      "tr",
      {},
      el("td", {}, moment(1000 * Date.parse(request.at))),
      el("td", { class: "wide" }, `${request.method} ${request.path}`),
      el("td", { "data-name": "status" }, `${request.status ?? "–"}, ${request.reason}${request.shielded ? ", stable answered" : ""}`),
      el("td", { class: "id", "data-name": "trace" }, request.trace_id || request.request_id || "–"),
    ),
  );
}
