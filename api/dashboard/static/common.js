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

/** Calls `step` every `pause()` milliseconds, seldom while the page is hidden, never twice at once. */
export function poll(step, pause = () => 1500) {
  const round = async () => {
    let stop = false;
    try {
      await step();
      document.getElementById("notice").hidden = true;
    } catch (error) {
      notify(error);
      stop = error.status === 404 || signInAgain(error);
    }
    if (!stop) setTimeout(round, document.hidden ? 15000 : pause());
  };
  round();
}

/** Leaves for the login page where the key is missing, or is none any more. */
function signInAgain(error) {
  if (error.status !== 401) return false;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
  return true;
}

/** Whose key this browser holds, and the way out, at the end of the bar. */
async function showSession() {
  const { key } = await new Resource("/session").read();
  if (!key) return;
  const leave = el("button", { class: "quiet", text: "Sign out" });
  leave.addEventListener("click", async () => {
    await post("/logout");
    location.assign("/login");
  });
  const who = el("span", { class: "soft", text: `${key.tenant} · ${key.name}`, title: `${key.prefix}…: ${key.scopes.join(", ")}` });
  document.querySelector(".bar").append(el("span", { class: "who" }, who, leave));
}

export function notify(error) {
  const notice = document.getElementById("notice");
  notice.textContent = error instanceof Problem ? error.message : "The server does not answer. Trying again…";
  notice.hidden = false;
}

// How far the server's clock is ahead of this one, so that elapsed times are right on any machine.
let ahead = 0;
function noteClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isNaN(date) && Math.abs(date - Date.now()) > 2000) ahead = date - Date.now();
}

export const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);

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
  return `${Number((share * 100).toFixed(1))} %`;
}

export const stateBadge = (job) => el("span", { class: `state ${job.state}`, text: job.state });

export function progressBar(job) {
  const label = `${Math.round(job.progress * 100)} % done`;
  return el("progress", { class: job.state, max: 1, value: job.progress, "aria-label": label, title: label });
}

/** What happens now, in a line. A failed job says why. */
export function headline(job) {
  if (job.error) return job.error.message;
  const left = job.eta_seconds === null || TERMINAL.has(job.state) ? "" : `about ${duration(job.eta_seconds)} left`;
  const now = TERMINAL.has(job.state) ? [job.message] : [job.phase, job.message, left];
  return now.filter(Boolean).join(" · ");
}

export function cancelButton(job, done) {
  if (TERMINAL.has(job.state)) return null;
  const button = el("button", { class: "quiet", text: job.state === "cancelling" ? "Cancelling…" : "Cancel" });
  button.disabled = job.state === "cancelling";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post(`/v1/jobs/${encodeURIComponent(job.id)}/cancel`);
      await done();
    } catch (error) {
      button.disabled = false;
      if (!signInAgain(error)) notify(error);
    }
  });
  return button;
}

showSession().catch(() => {}); // a server that does not answer is told of by what the page asks
