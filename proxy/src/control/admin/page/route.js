// One route: a line that says how it is, and all that belongs to it below.

import { History, chart } from "./chart.js";
import { askToken, confirmed, give } from "./command.js";
import { bar, el, put, renew, say } from "./dom.js";
import * as parts from "./parts.js";
import { read } from "./stream.js";
import { addressesUnwell, marked, percent, phase, span, standing, time, verdict } from "./words.js";

/** How often what is not in the stream is asked for. */
const ASK_MS = 5000;

const LEVELS = { bad: "✖", calm: "○", good: "✔", warn: "!" };

export class Route {
  #history = new History();
  #seen = null;
  #asked = 0;
  /** Whether haldane has no such endpoint. */
  #hasTap = true;
  #at = {};

  constructor(name) {
    this.name = name;
    this.path = `/v1/routes/${encodeURIComponent(name)}`;
    this.node = this.#build();
  }

  /** Lowest first. */
  get rank() {
    return this.#seen.standing.rank;
  }

  /** How it is, without what changes every second. */
  get headline() {
    const { status, standing } = this.#seen;
    return `${this.name}: ${phase(status.phase)[1]}, ${status.weight}. ${["good", "calm"].includes(standing.level) ? "" : standing.sentence}`;
  }

  get isBad() {
    return this.#seen.standing.level === "bad";
  }

  /** Shows a status. */
  show(status) {
    const how = standing(status);
    this.#seen = { status, standing: how };
    this.#history.take(status);
    this.#showHead(status, how);
    if (!this.node.open) return;
    this.#showBody(status);
    this.#ask();
  }

  #showHead(status, how) {
    const at = this.#at;
    this.node.dataset.level = how.level;
    this.node.dataset.phase = status.phase;
    put(at.level, LEVELS[how.level]);
    put(at.phase, phase(status.phase)[1]);
        const { canary, stable } = status.versions;
    put(at.weight, canary ? status.weight : "–");
    put(at.between, canary ? `${canary.version} beside ${stable.version}` : stable.version);
    put(at.sentence, how.sentence);
    const since = status.rolled_back_at ?? status.paused_at ?? status.completed_at ?? status.rollback_refused_at;
    const ago = since ? `${span((status.at - since) / 1e6)} ago` : null;
    const next = status.waits_for && !how.sentence.includes(status.waits_for) ? `waits for ${status.waits_for}` : null;
    say(at.next, [ago, next].filter(Boolean).join(" · "));
  }

  #showBody(status) {
    const at = this.#at;
    const { rollout, gates, commands, versions } = status;
    const share = Number.parseFloat(status.weight) / 100;
    renew(at.bar, share, () => [bar(share, `the canary has ${status.weight}`, "weight")]);
    const configured = !rollout && status.configured_weight !== status.weight ? `, configured ${status.configured_weight}` : "";
    say(at.about, `generation ${status.generation}${configured}${rollout ? `, advances ${rollout.advance === "auto" ? "by itself" : "by a person"}` : ", no plan"}`);
    at.plan.hidden = !rollout;
    if (rollout) renew(at.plan, { rollout, phase: status.phase }, parts.steps);
    renew(at.commands, { commands, next: rollout?.next_weight, canary: Boolean(versions.canary) }, () => this.#buttons(status));
    at.reasons.hidden = !versions.canary;
    renew(at.versions, versions, parts.versions);
    this.#draw(status);
    say(at.verdict, gates.length > 0 ? marked(verdict(status.verdict)) : "");
    at.gates.hidden = gates.length === 0;
    renew(at.rows, gates, parts.gates);
    const unwell = addressesUnwell(versions);
    at.unwell.hidden = unwell.length === 0;
    renew(at.addresses, unwell, parts.addresses);
  }

  #draw(status) {
    const { rolled_back_at: end, at: now } = status;
    for (const [what, label, format, least] of [
      ["errors", "failures", (share) => share === null ? "–" : percent(share), 0.01],
      ["p99", "p99", time, 0.001],
    ]) {
      const { picture, top, minutes, isEmpty } = chart(this.#history, what, { now, marks: [end], format, least, label });
      const { figure, highest, latest } = this.#at[what];
      figure.replaceChildren(...(isEmpty ? [] : [picture]));
      put(highest, isEmpty ? "the first numbers come in some seconds" : `${label}, last ${minutes} minutes, up to ${format(top)}`);
      for (const role of ["stable", "canary"]) put(latest[role], format(this.#history.lastOf(role, what)));
    }
  }

  #buttons(status) {
    const { commands, rollout, versions } = status;
    if (!versions.canary) return [];
    const may = (name) => commands.includes(name);
    const next = rollout?.next_weight;
    const simple = (label, name, done) => may(name) ? this.#button(label, () => this.#command("POST", name, {}, done)) : null;
    const raising = (label, text, done, body, name = "promote") =>
      may(name) ? this.#button(label, async () => this.#raise(text, "POST", name, body, done)) : null;
    const rollback = this.#button("■ Roll back", () => this.#command("POST", "rollback", {}, "Rolled back: the canary has no traffic."));
    rollback.className = "danger";
    rollback.disabled = !may("rollback");
    return [
      rollback,
      simple("‖ Pause", "pause", "Paused."),
      raising("▶ Resume", "Let the plan go on?", "It goes on.", {}, "resume"),
      next ? raising(`▲ Promote to ${next}`, `Give the canary ${next}, whatever the gates say?`, `Promoted to ${next}.`, {}) : null,
      next === "100%" ? null : raising("▲ Promote to 100%", "Give the canary all traffic, whatever the gates say?", "Promoted to all traffic.", { full: true }),
      raising("↻ Retry", "Start a new generation of this canary, which gets traffic again?", "A new generation began.", {}, "retry"),
      may("weight") ? this.#weight() : null,
    ];
  }

  #weight() {
    const field = el("input", { class: "share", inputmode: "decimal", "aria-label": "weight in percent", size: 6, placeholder: "weight" });
    const set = async () => {
      const share = field.value.trim().replace(/\s*%$/, "");
      const weight = `${share}%`;
      const body = { weight };
      const isRaised = !(Number(share) <= Number.parseFloat(this.#seen.status.weight));
      if (isRaised) await this.#raise(`Give the canary ${weight}? It has ${this.#seen.status.weight} now.`, "PUT", "weight", body, `The weight is ${weight}.`);
      else await this.#command("PUT", "weight", body, `The weight is ${weight}.`);
    };
    field.addEventListener("keydown", (event) => event.key === "Enter" && set());
    return el("span", { class: "group" }, field, "% ", this.#button("Set weight", set));
  }

  #button(label, click) {
    return el("button", { type: "button", click }, label);
  }

  /** Asks first, and commands only what was shown when it was asked. */
  async #raise(text, method, name, body, done) {
    const { etag } = this.#seen.status;
    if (await confirmed(`${this.name}: ${text}`)) await this.#command(method, name, body, done, etag);
  }

  async #command(method, name, body, done, etag = null) {
    const { reason, answer } = this.#at;
    await give({ method, path: `${this.path}/${name}`, body, reason, etag, done, answer });
  }

  /** What is not in the stream, for routes that somebody looks at. */
  async #ask() {
    if (Date.now() - this.#asked < ASK_MS) return;
    this.#asked = Date.now();
    const { exposure, exposed, taps, locked, failed } = this.#at;
    if (this.#seen.status.versions.canary)
      try {
        renew(exposed, await read(`${this.path}/exposure?limit=1`), parts.exposure);
        exposure.hidden = false;
      } catch {
        exposure.hidden = true;
      }
    if (!this.#hasTap) return;
    try {
      const { requests } = await read(`${this.path}/tap?role=canary&limit=20`);
      renew(failed, requests, parts.tap);
      taps.hidden = requests.length === 0;
      locked.hidden = true;
    } catch (error) {
      // It says paths of clients: where there is a token it is asked with it.
      locked.hidden = error.message !== "401";
      taps.hidden = locked.hidden;
      this.#hasTap = error.message !== "404";
    }
  }

  #build() {
    const at = this.#at;
    const keep = (name, node) => (at[name] = node);
    const spark = (what) => {
      const latest = { canary: el("b"), stable: el("b") };
      at[what] = { figure: el("div", { class: "spark" }), highest: el("span"), latest };
      const key = (role) => el("span", { class: `key ${role}` }, `${role} `, latest[role]);
      return el("figure", {}, el("figcaption", {}, at[what].highest, key("stable"), key("canary")), at[what].figure);
    };
    const column = (name) => el("th", { scope: "col" }, name);
    const head = (...names) => el("thead", {}, el("tr", {}, ...names.map(column)));
    return el(
      "details",
      { class: "route", id: `route-${this.name}`, toggle: () => this.#seen && this.show(this.#seen.status) },
      el(
        "summary",
        {},
        el("span", { class: "how" }, keep("level", el("span", { class: "level", "aria-hidden": "true" })), keep("phase", el("span", { class: "phase" }))),
        el("span", { class: "name" }, this.name, " ", keep("between", el("small", { class: "version" }))),
        el("span", { class: "figure" }, keep("weight", el("b", { class: "weight" })), " on canary"),
        keep("sentence", el("span", { class: "sentence" })),
        keep("next", el("span", { class: "next" })),
      ),
      el(
        "div",
        { class: "body" },
        keep("commands", el("div", { class: "commands", role: "group", "aria-label": `commands for ${this.name}` })),
        keep("reasons", el("p", { class: "reasons" }, keep("reason", el("input", { maxlength: 250, autocomplete: "off", "aria-label": `reason, for ${this.name}`, placeholder: "reason, kept in the event log" })))),
        keep("answer", el("p", { class: "answer", role: "alert", hidden: true })),
        keep("bar", el("div")),
        keep("about", el("p", { class: "dim" })),
        keep("plan", el("ol", { class: "plan", "aria-label": "plan" })),
        keep("unwell", el("section", { class: "unwell" }, el("h2", {}, "Addresses that are unwell"), keep("addresses", el("ul")))),
        el("div", { class: "numbers" }, keep("versions", el("table", { class: "versions" })), el("div", {}, spark("errors"), spark("p99"))),
        keep("exposure", el("section", { hidden: true }, el("h2", {}, "Who was on it"), keep("exposed", el("p")))),
        keep("gates", el("section", {}, el("h2", {}, "Gates ", keep("verdict", el("span", { class: "verdict" }))), el("table", { class: "list" }, head("verdict", "what it says", "canary", "stable", "limit", "evidence"), keep("rows", el("tbody"))))),
        keep("taps", el("details", { class: "tap", hidden: true }, el("summary", {}, "Latest requests that the canary failed"), keep("locked", el("p", { hidden: true }, "They are shown to who has the token. ", this.#button("Give the token", async () => (await askToken(false)) && (this.#asked = 0)))), el("table", { class: "list" }, head("when", "request", "status", "trace"), keep("failed", el("tbody"))))),
      ),
    );
  }
}
