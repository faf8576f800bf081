// Puts what the stream tells on the page.

import { give } from "./command.js";
import { el, put, renew, say } from "./dom.js";
import { Log } from "./events.js";
import { Route } from "./route.js";
import { listen } from "./stream.js";
import { moment, span } from "./words.js";

const $ = (id) => document.getElementById(id);
const routes = new Map();
const log = new Log();
/** A hand that has not moved for so long is not about to press something. */
const STILL_MS = 3000;
/** When a hand moved over the routes last. */
let touched = 0;
/** What haldane as a whole said last. */
let whole = null;

listen({ events, freshness, status });
$("freeze").addEventListener("click", freeze);
$("rollback-all").addEventListener("click", rollBackAll);
addEventListener("hashchange", openAsked);
for (const kind of ["keydown", "pointerdown", "pointermove"])
  $("routes").addEventListener(kind, () => (touched = Date.now()));

function status(all) {
  const isFirst = whole === null;
  whole = all;
  const names = new Set(all.routes.map((route) => route.route));
  for (const [name, route] of routes)
    if (!names.has(name)) {
      route.node.remove();
      routes.delete(name);
    }
  for (const one of all.routes) {
    if (!routes.has(one.route)) routes.set(one.route, new Route(one.route));
    routes.get(one.route).show(one);
  }
  sort();
  if (isFirst) {
    const worst = [...$("routes").children][0];
    if (worst) worst.open = true;
    openAsked();
  }
  renew($("alarms"), alarms(all), (texts) => texts.map(([level, text]) => el("p", { class: `alarm ${level}` }, text)));
  put($("freeze"), all.frozen ? "Unfreeze" : "Freeze");
  $("everything").hidden = all.routes.length === 0;
  const sorted = [...routes.values()].sort((a, b) => a.rank - b.rank);
  put($("said"), sorted.map((route) => route.headline).slice(0, 3).join(" "));
  const bad = sorted.filter((route) => route.isBad).length;
  document.title = bad > 0 ? `✖ ${bad} · haldane` : "haldane";
}

/** The worst first; but nothing moves below a hand. */
function sort() {
  const list = $("routes");
  const sorted = [...routes.values()].sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : 1));
  const isSorted = sorted.every((route, index) => list.children[index] === route.node);
  const isNew = sorted.some((route) => !route.node.isConnected);
  if (isSorted || (Date.now() - touched < STILL_MS && !isNew)) return;
  const focused = document.activeElement;
  list.append(...sorted.map((route) => route.node));
  if (list.contains(focused)) focused.focus({ preventScroll: true });
}

function alarms(all) {
  const { state, frozen, draining } = all;
  const unsafe = all.routes.filter((route) => !route.persisted).map((route) => route.route);
  return [
    draining ? ["bad", "! Draining: this haldane ends as soon as what runs is finished."] : null,
    frozen ? ["warn", `❄ Frozen since ${moment(frozen.at)} ${reason(frozen)}: no rollout starts or advances.`] : null,
    state.damaged ? ["bad", `! What was kept of the process before cannot be used: ${state.damaged}`] : null,
    state.error ? ["bad", `! State is not on disk: ${state.error}`] : null,
    state.kept && !state.error && unsafe.length > 0 ? ["warn", `! Not on disk yet: ${unsafe.join(", ")}`] : null,
    all.routes.length === 0 ? ["warn", "! There is no route."] : null,
  ].filter(Boolean);
}

const reason = ({ actor, reason }) => [actor ? `by ${actor}` : null, reason ? `“${reason}”` : null].filter(Boolean).join(": ") || "(nobody said why)";

function events(some, isAll) {
  log.take(some, isAll);
  $("events").replaceChildren(...log.rows());
  $("no-events").hidden = !log.isEmpty;
}

/** What is old is never shown as if it were so. */
function freshness(isFresh, heard) {
  document.body.classList.toggle("stale", !isFresh && heard !== null);
  document.body.classList.toggle("live", isFresh);
  $("main").hidden = heard === null;
  const silence = heard === null ? 0 : (Date.now() - heard) / 1000;
  put(
    $("connection"),
    isFresh
      ? `● live ${moment(heard * 1000)}`
      : heard === null
        ? "○ no connection to haldane yet …"
        : `✖ Connection lost since ${moment(heard * 1000)} (${span(silence)}). What is shown is from then, not from now.`,
  );
}

async function freeze() {
  const method = whole.frozen ? "DELETE" : "PUT";
  const done = whole.frozen ? "Unfrozen: rollouts go on." : "Frozen: no rollout starts or advances.";
  await give({ method, path: "/v1/freeze", reason: $("reason"), done, answer: $("answer") });
}

async function rollBackAll() {
  await give({ path: "/v1/rollback", reason: $("reason"), done: "Everything is rolled back.", answer: $("answer") });
}

/** The route that the address of the page names. */
function openAsked() {
  const route = routes.get(location.hash.replace(/^#route-/, ""));
  if (!route) return;
  route.node.open = true;
  route.node.scrollIntoView();
}
