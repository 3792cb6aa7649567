import { Resource, action, el, mayWrite, poll, redraw, row, stateBadge, sweepProgress, sweepTally } from "./common.js";

const id = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const api = `/v1/sweeps/${encodeURIComponent(id)}`;
const resource = new Resource(api);
const $ = (name) => document.getElementById(name);
let sweep = null;
let compared = 0; // jobs that had succeeded when the comparison was last drawn

async function refresh() {
  const found = await resource.read();
  if (!found) return;
  sweep = found;
  document.title = `${sweep.name || sweep.id} · ${sweep.state} · Secateur`;
  redraw($("sweep"),
    el("div", { class: "head" },
      el("h1", { text: sweep.name || "Sweep" }), stateBadge(sweep), el("span", { class: "grow" }), cancelButton()),
    el("p", { class: "soft mono", text: sweep.id }),
    sweepProgress(sweep),
    el("p", { class: "soft", text: sweepTally(sweep) }));
  $("sweep").setAttribute("aria-busy", "false");
  $("said").textContent = `The sweep is ${sweep.state}.`;
  redraw($("cells"), ...sweep.cells.map(cell));
  $("jobs").hidden = false;
  compare();
}

function cancelButton() {
  return sweep.state === "running" && mayWrite
    ? action(`${api}/cancel`, "Cancel", now, { name: "Cancel all jobs that have not ended" }) : null;
}

function cell({ number, values, job, state }) {
  const said = Object.entries(values).map(([path, value]) => `${path} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
  const what = job ? el("a", { href: `/jobs/${encodeURIComponent(job)}`, "data-key": job, text: said }) : el("span", { text: said });
  return row(
    ["No.", el("td", { class: "number", text: number })],
    ["Grid", el("td", {}, what)],
    ["State", el("td", { class: "short" }, state ? stateBadge({ state }) : el("span", { class: "soft", text: "deleted" }))]);
}

/** Anew whenever one more has succeeded: each adds a row. */
function compare() {
  if (sweep.counts.succeeded === compared) return;
  compared = sweep.counts.succeeded;
  $("found").hidden = compared === 0;
  $("alone").href = `${api}/comparison`;
  $("frame").src = `${api}/comparison`;
}

const now = poll(refresh, () => (sweep && sweep.state !== "running" ? 30000 : 1500));
