// What haldane says as it happens, and whether that is still so.

import { authorized } from "./command.js";

/** A status comes every second; without one for so long, what is shown is old. */
const STALE_MS = 3500;
/** So long after the last one the connection is made anew, whatever it seems to be. */
const DEAD_MS = 10_000;
const COME_BACK_MS = 1000;
/** So many of the latest events are asked for. */
const EVENTS = 40;

let tell;
let source = null;
let isOpening = false;
/** When `source` was made. */
let opened = 0;
/** When the last status came that was no older than others. */
let heard = null;
/** The least that the clock here has been ahead of the one there: what comes later was held up. */
let ahead = Infinity;

/**
 * Goes on for as long as the page is there. `listener.status(routes)` and
 * `listener.events(events, isAll)` get what comes, `listener.freshness(isFresh, heard)` whether
 * that is how things are, and otherwise since when it is not; null if it never was.
 */
export function listen(listener) {
  tell = listener;
  setInterval(look, 500);
  document.addEventListener("visibilitychange", look);
  open();
}

/** One question to the admin API. */
export async function read(path) {
  const answer = await fetch(path, { headers: authorized(), cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

async function open() {
  if (isOpening) return;
  isOpening = true;
  source?.close();
  source = null;
  ahead = Infinity;
  try {
    // Numbers may have begun anew with another process.
    const { seq } = await read("/v1/routes");
    const { events, last } = await read(`/v1/events?since=${Math.max(0, seq - EVENTS)}`);
    tell.events(events, true);
    opened = Date.now();
    source = new EventSource(`/v1/stream?since=${last}`);
    source.addEventListener("status", (message) => status(JSON.parse(message.data)));
    source.addEventListener("happened", (message) => tell.events([JSON.parse(message.data)], false));
    source.addEventListener("error", () => {
      source?.close();
      source = null;
      setTimeout(open, COME_BACK_MS);
    });
  } catch {
    setTimeout(open, COME_BACK_MS);
  } finally {
    isOpening = false;
  }
}

function status(all) {
  const now = Date.now();
  const at = all.routes[0]?.at;
  const lead = at === undefined ? 0 : now - at / 1000;
  ahead = Math.min(ahead, lead);
  // What waited in a page that slept is told in one go, and most of it is old.
  if (lead - ahead < STALE_MS) heard = now;
  tell.status(all);
  look();
}

function look() {
  const now = Date.now();
  tell.freshness(heard !== null && now - heard <= STALE_MS, heard);
  if (source !== null && now - Math.max(heard, opened) > DEAD_MS) open();
}
