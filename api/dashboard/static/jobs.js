import { Resource, cancelButton, el, elapsed, headline, percent, poll, progressBar, stateBadge } from "./common.js";

const list = document.getElementById("jobs");
const more = document.getElementById("more");
let shown = 30;
let resource = new Resource(`/v1/jobs?limit=${shown}`);
let jobs = [];

async function refresh() {
  const page = await resource.read();
  if (page) {
    jobs = page.data;
    more.hidden = !page.has_more || shown >= 200;
    document.getElementById("empty").hidden = jobs.length > 0;
    draw();
  } else {
    for (const job of jobs) document.getElementById(`elapsed-${job.id}`).textContent = elapsed(job);
  }
  list.setAttribute("aria-busy", "false");
}

function draw() {
  // Whoever has a button or a link in focus keeps it through the redrawing.
  const focused = document.activeElement?.dataset?.key;
  list.replaceChildren(...jobs.map(card));
  if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function card(job) {
  const page = `/jobs/${encodeURIComponent(job.id)}`;
  const api = `/v1${page}`;
  const cancel = cancelButton(job, refresh);
  if (cancel) cancel.dataset.key = `cancel ${job.id}`;
  return el("li", { class: "card" },
    el("div", { class: "head" },
      stateBadge(job),
      el("a", { class: "name", href: page, "data-key": job.id, text: `${job.spec.method} · ${percent(job.spec.sparsity)}` }),
      el("span", { class: "soft grow source", text: job.spec.model.source }),
      job.state === "succeeded" && el("a", { href: `${api}/report`, type: "text/html", text: "Report" }),
      job.state === "succeeded" && el("a", { href: `${page}#results`, text: "Files" }),
      cancel),
    progressBar(job),
    el("div", { class: "head soft" },
      el("span", { class: "grow", text: headline(job) }),
      el("span", { id: `elapsed-${job.id}`, text: elapsed(job) })));
}

more.addEventListener("click", () => {
  shown = Math.min(200, shown + 50);
  resource = new Resource(`/v1/jobs?limit=${shown}`);
  refresh();
});

document.getElementById("hint").textContent =
  `secateur submit example:kjv-dlm --method sink-wanda --sparsity 0.5 --url ${location.origin}`;
poll(refresh);
