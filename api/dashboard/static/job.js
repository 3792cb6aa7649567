import { Resource, TERMINAL, cancelButton, el, elapsed, headline, percent, poll, progressBar, size, stateBadge } from "./common.js";

const id = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const api = `/v1/jobs/${encodeURIComponent(id)}`;
const resource = new Resource(api);
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
  $("job").replaceChildren(
    el("div", { class: "head" },
      el("h1", { text: job.spec.method }), stateBadge(job), el("span", { class: "grow" }),
      cancelButton(job, refresh)),
    el("p", { class: "soft mono", text: job.id }),
    progressBar(job),
    el("p", { class: "soft", text: job.error ? "" : headline(job) }),
    el("dl", { class: "facts" },
      el("div", {}, el("dt", { text: "Elapsed" }), el("dd", { id: "elapsed" })),
      ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })))));
  $("job").setAttribute("aria-busy", "false");
  $("spec").textContent = JSON.stringify(job.spec, null, 2);
  if (job.expired_at) $("results").hidden = true;
  drawFailure();
  drawAttempts();
}

function drawAttempts() {
  // One that runs, or that went well, says nothing that the rest of the page does not say.
  $("runs").hidden = !job.attempts?.some((run) => run.reason);
  $("attempts").replaceChildren(...(job.attempts ?? []).map((run) => el("tr", {},
    el("td", { class: "number", text: run.number }),
    el("td", { class: "mono", text: run.worker }),
    el("td", { text: new Date(run.started_at).toLocaleString() }),
    el("td", { text: run.outcome ?? "running" }),
    el("td", { text: run.reason }))));
}

function drawFailure() {
  $("failure").hidden = !job.error;
  if (!job.error) return;
  $("failure").replaceChildren(
    el("h2", { text: "Why it failed" }),
    el("p", { text: job.error.message }),
    job.error.remedy && el("p", { text: job.error.remedy }),
    el("p", { class: "soft mono", text: job.error.code }),
    ...(job.error.log?.length ? [el("pre", {}, el("code", { text: job.error.log.join("\n") }))] : []));
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
  $("files").replaceChildren(...data.map((file) => el("tr", {},
    el("td", {}, el("a", { href: file.url, download: file.name.split("/").pop(), text: file.name })),
    el("td", { class: "number", text: size(file.bytes) }),
    el("td", { class: "mono", text: file.sha256.slice(0, 12), title: file.sha256 }))));
  $("report").href = `${api}/report`;
  $("results").hidden = false;
  listed = true;
  if (location.hash === "#results") $("results").scrollIntoView();
}

// A finished job does not change any more.
poll(refresh, () => (job && TERMINAL.has(job.state) ? 30000 : 1000));
