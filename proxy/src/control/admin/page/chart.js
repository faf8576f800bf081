// Lines of the last minutes, for both versions in one picture.

import { svg } from "./dom.js";

const MINUTE = 60 * 1e6;
/** So long is kept, and so long is shown at least. In microseconds. */
const KEPT = 10 * MINUTE;
const SHOWN_MIN = 2 * MINUTE;
/** Points further apart have something between them that nobody saw. In microseconds. */
const GAP = 9e6;
const WIDTH = 300;
const HEIGHT = 60;

/** What was seen of a route: points by role, each for a stretch of some seconds. */
export class History {
  #points = { stable: [], canary: [] };
  #generation = null;

  /** Takes what a status says, unless that was taken. */
  take(route) {
    if (this.#generation !== route.generation) this.#points.canary = [];
    this.#generation = route.generation;
    for (const role of ["stable", "canary"]) {
      const lately = route.versions[role]?.lately;
      const points = this.#points[role];
      if (!lately || points.at(-1)?.at === lately.until) continue;
      points.push({
        at: lately.until,
        errors: lately.requests > 0 ? Math.min(1, lately.failures / lately.requests) : null,
        p99: lately.ttfb_seconds.p99,
      });
      while (points[0].at < route.at - KEPT) points.shift();
    }
  }

  /** The points of a role that have a value for `what`. */
  of(role, what) {
    return this.#points[role].map((point) => ({ at: point.at, value: point[what] }));
  }

  /** How much of it there is to show until `now`. Microseconds, whole minutes. */
  reach(now) {
    const first = Math.min(...Object.values(this.#points).map((points) => points[0]?.at ?? now));
    return Math.max(SHOWN_MIN, Math.ceil((now - first) / MINUTE) * MINUTE);
  }

  lastOf(role, what) {
    return this.#points[role].at(-1)?.[what] ?? null;
  }
}

/** Draws `what` of both roles; `marks` are moments with a line across, `least` a height at least. */
export function chart(history, what, { now, marks, format, least, label }) {
  const lines = ["stable", "canary"].map((role) => [role, history.of(role, what)]);
  const values = lines.flatMap(([, points]) => points.map((point) => point.value ?? 0));
  const top = Math.max(least, ...values);
  const reach = history.reach(now);
  const x = (at) => WIDTH * (1 - (now - at) / reach);
  const y = (value) => 2 + (HEIGHT - 4) * (1 - value / top);
  const drawn = lines.map(([role, points]) => svg("path", { class: `line ${role}`, d: path(points, x, y) }));
  const crosses = marks
    .filter((at) => at && x(at) >= 0)
    .map((at) => svg("line", { class: "mark", x1: x(at), x2: x(at), y1: 0, y2: HEIGHT }));
  const latest = lines.map(([role]) => `${role} ${format(history.lastOf(role, what))}`).join(", ");
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${latest}` },
    svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
    ...crosses,
    ...drawn,
  );
  return { picture, top, minutes: reach / MINUTE, isEmpty: values.length === 0 };
}

/** A line through all points, broken where there is a gap; a point alone is a dash. */
function path(points, x, y) {
  let text = "";
  let before = null;
  for (const { at, value } of points) {
    if (value === null) {
      before = null;
      continue;
    }
    const goesOn = before !== null && at - before < GAP;
    text += goesOn ? "" : `M${x(at - 2e6).toFixed(1)} ${y(value).toFixed(1)}`;
    text += `L${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    before = at;
  }
  return text;
}
