// Commands: what is asked before, what is sent, what is answered.

const TIMEOUT_MS = 15_000;

/** Kept here and nowhere else. */
let token = null;

/**
 * Sends a command and says in `answer` what came of it. `etag` is what was shown when it was
 * decided on: with it, what has changed since is not commanded. A reason is for one command:
 * its field is empty once that is carried out.
 */
export async function give({ method = "POST", path, body = {}, reason, etag = null, done, answer }) {
  const order = { ...body, ...who(reason.value) };
  try {
    let response = await send(method, path, order, etag);
    // A token that is wrong is asked for again.
    while (response.status === 401) {
      if (!(await askToken())) return tell(answer, "bad", "Not carried out: it needs the token.");
      response = await send(method, path, order, etag);
    }
    const said = await response.json();
    if (!response.ok) return tell(answer, "bad", `Not carried out: ${said.title}. ${sentence(said.detail)} ${sentence(said.hint)}`);
    reason.value = "";
    tell(answer, "good", said.changed === false ? "Nothing to do: it was so already." : done);
  } catch {
    tell(answer, "bad", "No answer: whether it was carried out is not known. Look at what is shown here once the connection is back, or ask on the command line.");
  }
}

/** The token, where it is known, as a field. */
export function authorized(headers = {}) {
  return token === null ? headers : { ...headers, authorization: `Bearer ${token}` };
}

/** Has somebody give the token; one that is given after another replaces it. */
export async function askToken(isAgain = token !== null) {
  const field = document.getElementById("token-value");
  field.value = "";
  field.placeholder = isAgain ? "not accepted: try again" : "";
  const isGiven = await chosen("token");
  const value = field.value.trim();
  field.value = "";
  // What has other characters cannot be sent, and is none.
  token = isGiven && /^[\x21-\x7e]+$/.test(value) ? value : null;
  return token !== null;
}

/** Asks whether somebody means it. */
export function confirmed(text) {
  document.getElementById("confirm-text").textContent = text;
  return chosen("confirm");
}

/** Who gives a command, and why. */
function who(reason) {
  const actor = document.getElementById("actor").value.trim() || "dashboard";
  return reason.trim() ? { actor, reason: reason.trim() } : { actor };
}

function send(method, path, body, etag) {
  const headers = authorized({ "content-type": "application/json" });
  if (etag !== null) headers["if-match"] = etag;
  return fetch(path, { method, headers, body: JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
}

/** Shows a dialog; whether its "yes" was chosen. */
function chosen(id) {
  const dialog = document.getElementById(id);
  return new Promise((resolve) => {
    const off = new AbortController();
    const { signal } = off;
    const choose = (value) => dialog.close(value);
    for (const button of dialog.querySelectorAll("button"))
      button.addEventListener("click", () => choose(button.value), { signal });
    for (const field of dialog.querySelectorAll("input"))
      field.addEventListener("keydown", (event) => event.key === "Enter" && choose("yes"), { signal });
    dialog.addEventListener("close", () => {
      off.abort();
      resolve(dialog.returnValue === "yes");
    }, { signal });
    dialog.returnValue = "no";
    dialog.showModal();
  });
}

function tell(answer, level, text) {
  answer.className = `answer ${level}`;
  answer.textContent = text;
  answer.hidden = false;
}

const sentence = (text) => text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
