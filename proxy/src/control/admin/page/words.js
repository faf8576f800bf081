// How numbers and states are said.

const PHASES = {
  complete: ["✔", "complete"],
  idle: ["○", "idle"],
  paused: ["‖", "paused"],
  progressing: ["▶", "progressing"],
  promoted: ["▲", "promoted"],
  rolled_back: ["■", "rolled back"],
};

const VERDICTS = {
  fail: ["✖", "fail"],
  inconclusive: ["?", "inconclusive"],
  pass: ["✔", "pass"],
};

/** What a gate may wait for that is more than a matter of time. */
const WORRIES = ["above", "burning", "ceiling", "confirmed", "new_errors", "rising", "shared", "spike"];

export const phase = (name) => PHASES[name] ?? ["•", name];
export const verdict = (name) => VERDICTS[name] ?? ["•", name];

/** Symbol and word together: neither colour nor shape alone says anything. */
export const marked = ([symbol, word]) => `${symbol} ${word}`;

export const count = (number) => number.toLocaleString("en");

/** A share of one. */
export function percent(share) {
  const value = 100 * share;
  if (value === 0 || value === 100) return `${value}%`;
  return `${value < 0.01 ? value.toPrecision(1) : value < 10 ? value.toFixed(2) : value.toFixed(1)}%`;
}

/** A time in seconds, or a dash where nothing was measured. */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = 1000 * seconds;
  if (ms >= 10_000) return `${seconds.toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** A stretch of time in seconds, in its two largest units. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const units = [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = units.findIndex(([length]) => whole >= length);
  if (first < 0) return "0 s";
  const parts = units.slice(first, first + 2).map(([length, unit], index) => [
    Math.floor((index === 0 ? whole : whole % units[first][0]) / length),
    unit,
  ]);
  return parts.filter(([number]) => number > 0).map((part) => part.join(" ")).join(" ");
}

/** A moment in microseconds, as a clock on the wall says it; with the day unless it is today. */
export function moment(micros) {
  const date = new Date(micros / 1000);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString("en-CA")} ${clock}`;
}

/**
 * How a route is: how bad that is, and why, in a sentence that the admin API has too.
 * `rank` sorts: the lowest needs somebody first.
 */
export function standing(route) {
  const { canary, stable } = route.versions;
  const worry = route.gates.find((gate) => WORRIES.includes(gate.reason));
  const [unwell] = addressesUnwell(route.versions);
  const by = (rank) => ["breach", "overdue", "state_damaged"].includes(route.by?.kind) ? ["bad", 2] : ["warn", rank];
  const is = ([level, rank], sentence) => ({ level, rank, sentence });
  if (route.rollback_refused) return is(["bad", 0], `not rolled back: ${route.rollback_refused}`);
  if (stable.addresses.length > 0 && !stable.addresses.some((one) => one.healthy))
    return is(["bad", 0], "stable has no healthy address");
  if (route.phase === "rolled_back") return is(by(4), `rolled back: ${route.cause ?? "nobody knows why"}`);
  if (route.observed) return is(["bad", 1], `only told: ${route.observed}`);
  if (route.verdict === "fail" && canary)
    return is(["bad", 1], route.gates.find((gate) => gate.verdict === "fail")?.sentence ?? "a gate fails");
  if (route.phase === "paused") return is(by(5), `paused by ${route.cause ?? "nobody knows whom"}`);
  if (unwell) return is(["warn", 3], `${unwell.role}: ${unwell.address} is unhealthy`);
  if (!canary) return is(["calm", 9], "the route has no canary");
  if (worry && route.weight !== "0%") return is(["warn", 3], worry.sentence);
  if (route.phase === "complete") return is(["good", 8], "complete: the version before is not needed any more");
  if (route.weight === "0%" && !route.waits_for) return is(["calm", 9], "the canary has no traffic");
  if (route.verdict === "pass") return is(["good", 7], "every gate passes");
  return is(["good", 6], route.waits_for && route.weight === "0%" ? `waits for ${route.waits_for}` : undecided(route));
}

/** The addresses that are unwell, of both versions. */
export function addressesUnwell(versions) {
  return ["stable", "canary"].flatMap((role) =>
    (versions[role]?.addresses ?? []).filter((one) => !one.healthy).map((one) => ({ role, ...one })),
  );
}

/** No gate has anything against the canary, and not all are sure. */
function undecided(route) {
  const open = route.gates.filter((gate) => gate.verdict === "inconclusive").map((gate) => gate.name);
  if (open.length === 0) return "no gate judges the canary";
  return `nothing against the canary; inconclusive yet: ${open.join(", ")}`;
}
