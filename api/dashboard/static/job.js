import { Resource, TERMINAL, action, cancelButton, coded, duration, el, elapsed, headline, mayWrite, percent, poll, progressBar, redraw, row, size, stateBadge } from "./common.js";
import { follower, soon } from "./deliveries.js";

const id = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const api = `/v1/jobs/${encodeURIComponent(id)}`;
const resource = new Resource(api);
const readDeliveries = follower(api, () => now());
const $ = (name) => document.getElementById(name);
let job = null;
let lastEvent = 0;
let listed = false;

async function refresh() {
  const found = await resource.read();
  if (found) {
    job = found;
    draw();
  }
  $("elapsed").textContent = elapsed(job) || "–";
  await readEvents();
  if (job.spec.webhook) await readDeliveries();
  if (job.state === "succeeded" && !job.expired_at && !listed) await listFiles();
}

function draw() {
  document.title = `${job.spec.method} ${percent(job.spec.sparsity)} · ${job.state} · Secateur`;
  const facts = [
    ["Model", job.spec.model.source],
    ["Sparsity", `${percent(job.spec.sparsity)}, ${job.spec.pattern}`],
    ["Calibration", `${job.spec.calibration.samples} × ${job.spec.calibration.sequence_length} tokens of ${job.spec.calibration.source}`],
    ["Attempt", job.attempt],
    ...(job.plan ? [["Planned memory", `${size(job.plan.peak_bytes)} of ${size(job.plan.budget_bytes)}`]] : []),
    ...(job.plan?.seconds ? [["Planned time", `${Math.round(job.plan.seconds)} s`]] : []),
    ["Submitted", new Date(job.created_at).toLocaleString()],
    ...(job.expired_at ? [["Artifacts", `removed ${new Date(job.expired_at).toLocaleString()}`]] : []),
    ...Object.entries(job.metadata),
  ];
  redraw($("job"),
    el("div", { class: "head" },
      el("h1", { text: job.spec.method }), stateBadge(job), el("span", { class: "grow" }),
      cancelButton(job, now), retryButton()),
    el("p", { class: "soft mono", text: job.id }),
    progressBar(job),
    job.error || !headline(job) ? "" : el("p", { class: "soft" }, ...coded(headline(job))),
    el("dl", { class: "facts" },
      el("div", {}, el("dt", { text: "Elapsed" }), el("dd", { id: "elapsed" })),
      ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })))));
  $("job").setAttribute("aria-busy", "false");
  $("rest").hidden = false;
  $("said").textContent = `The job is ${job.state}.`; // told aloud when it changes, unlike the rest
  $("spec").textContent = JSON.stringify(job.spec, null, 2);
  if (job.expired_at) $("results").hidden = true;
  drawFailure();
  drawAttempts();
}

function retryButton() {
  if (!["failed", "cancelled"].includes(job.state) || !mayWrite) return null;
  return action(`${api}/retry`, "Retry", now);
}

function drawAttempts() {
  // One that runs, or that went well, says nothing that the rest of the page does not say.
  $("runs").hidden = !job.attempts?.some((run) => run.reason);
  $("attempts").replaceChildren(...(job.attempts ?? []).map((run) => row(
    ["Attempt", el("td", { class: "number", text: run.number })],
    ["Worker", el("td", { class: "mono", text: run.worker })],
    ["Began", el("td", { text: new Date(run.started_at).toLocaleString() })],
    ["Took", el("td", { class: "short", text: run.ended_at ? duration((Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000) : "" })],
    ["Outcome", el("td", { class: "short", text: run.outcome ?? "running" })],
    ["Why", el("td", {}, ...coded(run.reason))])));
}

function drawFailure() {
  $("failure").hidden = !job.error;
  if (!job.error) return;
  $("failure").replaceChildren(
    el("h2", { text: "Why it failed" }),
    el("p", {}, ...coded(job.error.message)),
    job.error.remedy && el("p", {}, el("strong", { text: "What to do: " }), ...coded(job.error.remedy)),
    el("p", { class: "soft mono", text: job.error.code }),
    ...(job.error.log?.length ? lastLines(job.error.log) : []));
}

/** In reach of the keyboard, which scrolls it. */
function lastLines(log) {
  return [
    el("h3", { id: "log-title", text: "Last lines of the log" }),
    el("pre", { class: "log", tabindex: "0", role: "region", "aria-labelledby": "log-title" }, el("code", { text: log.join("\n") })),
  ];
}

async function readEvents() {
  for (let page = { has_more: true }; page.has_more;) {
    page = await new Resource(`${api}/events?after=${lastEvent}&limit=200`).read();
    for (const event of page.data) {
      if (event.id <= lastEvent) continue; // another round was faster
      lastEvent = event.id;
      // The newest on top: that is what a person looks for.
      $("events").prepend(el("li", {},
        el("time", { class: "soft", datetime: event.created_at, text: new Date(event.created_at).toLocaleTimeString([], { hourCycle: "h23" }) }),
        el("span", { class: event.level, text: event.message })));
    }
  }
}

async function listFiles() {
  const { data } = await new Resource(`${api}/artifacts`).read();
  $("files").replaceChildren(...data.map((file) => row(
    ["File", el("td", {}, el("a", { href: file.url, download: file.name.split("/").pop(), text: file.name }))],
    ["Size", el("td", { class: "number", text: size(file.bytes) })],
    ["SHA-256", el("td", { class: "mono", text: file.sha256.slice(0, 12), title: file.sha256 })])));
  $("report").href = `${api}/report`;
  $("results").hidden = false;
  listed = true;
  if (location.hash === "#results") $("results").scrollIntoView();
}

// A finished job changes only if somebody retries it; its messages may still be on their way.
const settled = () => job && TERMINAL.has(job.state) && !(job.spec.webhook && soon());
const now = poll(refresh, () => (settled() ? 30000 : 1000));
