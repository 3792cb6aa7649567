// Shared by the pages. Text from the API only ever becomes a text node.

/** An element with text, attributes and children; never HTML. */
export function el(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(Boolean));
  return element;
}

/** Text in which what stands between backticks is code, as nodes. */
export const coded = (text = "") => text.split("`").map((part, i) => (i % 2 ? el("code", { text: part }) : part));

/** A row whose cells say, where there is no room for columns, what they are: [label, cell] each. */
export function row(...cells) {
  return el("tr", {}, ...cells.map(([label, cell]) => {
    cell.dataset.label = label;
    return cell;
  }));
}

export class Problem extends Error {}

/** One JSON resource, asked for again and again; `read` gives null while it has not changed. */
export class Resource {
  #etag = null;
  constructor(url) { this.url = url; }
  async read() {
    const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
    const response = await fetch(this.url, { headers, cache: "no-store" });
    noteClock(response);
    if (response.status === 304) return null;
    const body = await bodyOf(response);
    this.#etag = response.headers.get("ETag");
    return body;
  }
}

export async function post(url) {
  return bodyOf(await fetch(url, { method: "POST" }));
}

/** Sends JSON; what comes back, or null where nothing does. */
export async function send(url, value) {
  const headers = { "Content-Type": "application/json" };
  return bodyOf(await fetch(url, { method: "POST", headers, body: JSON.stringify(value) }));
}

async function bodyOf(response) {
  const body = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (response.ok) return body;
  const problem = new Problem(`${body.detail ?? `The server answered ${response.status}.`} ${body.remedy ?? ""}`.trim());
  problem.status = response.status;
  throw problem;
}

/**
 * Calls `step` every `pause()` milliseconds, seldom while the page is hidden, never twice at once.
 * Returns what has it called now.
 */
export function poll(step, pause = () => 1500) {
  let timer;
  let running = null;
  let over = false;
  const round = async () => {
    await session;
    try {
      await step();
      if (!notice.dataset.deed) notice.hidden = true; // what a click led to stays until the next click
    } catch (error) {
      notify(error);
      over = error.status === 404 || signInAgain(error);
    }
    if (!over) timer = setTimeout(start, document.hidden ? 15000 : pause());
  };
  const start = () => (running ??= round().finally(() => { running = null; }));
  const now = async () => {
    await running;
    clearTimeout(timer);
    if (!over) await start();
  };
  document.addEventListener("visibilitychange", () => document.hidden || now());
  start();
  return now;
}

/** Leaves for the login page where the key is missing, or is none any more. */
function signInAgain(error) {
  if (error.status !== 401) return false;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
  return true;
}

/** Whether this browser's key may do more than look; where no key is demanded, everybody may. */
export let mayWrite = true;

/** Whose key this browser holds, and the way out, at the end of the bar. */
async function showSession() {
  const { key } = await new Resource("/session").read();
  if (!key) return;
  mayWrite = key.scopes.some((scope) => scope === "jobs:write" || scope === "admin");
  const leave = el("button", { class: "quiet", text: "Sign out" });
  leave.addEventListener("click", async () => {
    await post("/logout");
    location.assign("/login");
  });
  const who = el("span", { class: "soft", text: `${key.tenant} · ${key.name}`, title: `${key.prefix}…: ${key.scopes.join(", ")}` });
  document.querySelector(".bar").append(el("span", { class: "who" }, who, leave));
}

const notice = document.getElementById("notice");

/** Says what went wrong; with `deed`, what somebody did, which the next poll must not wipe away. */
export function notify(error, deed = "") {
  const message = error instanceof Problem ? error.message : deed ? "The server does not answer." : "The server does not answer. Trying again…";
  notice.dataset.deed = deed;
  notice.replaceChildren(...coded(deed ? `${deed}: ${message}` : message));
  notice.hidden = false;
}

/** A button that posts to `url` and then has `done` draw what came of it. `name` tells it from others. */
export function action(url, text, done, { name = text, ...attributes } = {}) {
  const button = el("button", { class: "quiet", text, "aria-label": name, "data-key": url, ...attributes });
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true"; // `disabled` would take the focus away
    notice.hidden = true;
    notice.dataset.deed = "";
    try {
      await post(url);
      await done();
    } catch (error) {
      if (!signInAgain(error)) notify(error, name);
    }
    button.ariaDisabled = "false";
  });
  return button;
}

/** Draws anew; whoever has a button or a link in focus keeps it. */
export function redraw(parent, ...children) {
  const focused = parent.contains(document.activeElement) && document.activeElement.dataset.key;
  parent.replaceChildren(...children);
  if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// How far the server's clock is ahead of this one, so that elapsed times are right on any machine.
let ahead = 0;
function noteClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isNaN(date) && Math.abs(date - Date.now()) > 2000) ahead = date - Date.now();
}

export const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);

/** Seconds from now, by the server's clock, to a moment that the API told. */
export const secondsUntil = (moment) => (Date.parse(moment) - Date.now() - ahead) / 1000;

export function elapsed(job) {
  if (!job.started_at) return job.state === "queued" ? "waiting for a worker" : "";
  const end = job.finished_at ? Date.parse(job.finished_at) : Date.now() + ahead;
  return duration((end - Date.parse(job.started_at)) / 1000);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

export function percent(share) {
  return `${Number((share * 100).toFixed(1))}\u00a0%`;
}

export const stateBadge = ({ state }) => el("span", { class: `state ${state}`, text: state });

export function progressBar(job) {
  const label = `${Math.round(job.progress * 100)} % done`;
  return el("progress", { class: job.state, max: 1, value: job.progress, "aria-label": label, title: label });
}

/** What happens now, in a line, where the state alone does not say it. A failed job says why. */
export function headline(job) {
  if (job.error) return job.error.message;
  const message = job.message === job.state ? "" : job.message;
  const left = job.eta_seconds === null ? "" : `about ${duration(job.eta_seconds)} left`;
  const now = TERMINAL.has(job.state) ? [message] : [job.phase, message, left];
  return now.filter(Boolean).join(" · ");
}

export function cancelButton(job, done) {
  if (TERMINAL.has(job.state) || !mayWrite) return null;
  const under = job.state === "cancelling";
  const title = `${job.spec.method} ${percent(job.spec.sparsity)}`;
  return action(`${resourceOf(job)}/cancel`, under ? "Cancelling…" : "Cancel", done,
    { name: `${under ? "Cancelling" : "Cancel"} ${title}`, "aria-disabled": under ? "true" : "false" });
}

/** How many of a sweep's jobs have ended; of those that are left, nobody knows how far they are. */
export function sweepProgress(sweep) {
  const { succeeded, failed, cancelled, deleted } = sweep.counts;
  const over = succeeded + failed + cancelled + deleted;
  const label = `${over} of ${sweep.children} jobs have ended`;
  return el("progress", { class: failed ? "failed" : sweep.state, max: Math.max(sweep.children, 1), value: over, "aria-label": label, title: label });
}

/** "24 jobs: 3 succeeded, 1 running, 20 queued" */
export function sweepTally(sweep) {
  const said = ["succeeded", "failed", "cancelled", "deleted", "running", "cancelling", "queued"]
    .filter((state) => sweep.counts[state]).map((state) => `${sweep.counts[state]} ${state}`);
  return `${sweep.children} ${sweep.children === 1 ? "job" : "jobs"}: ${said.join(", ")}`;
}

export const resourceOf = (job) => `/v1/jobs/${encodeURIComponent(job.id)}`;

const session = showSession().catch(() => {}); // a server that does not answer is told of by what the page asks
