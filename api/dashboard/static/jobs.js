import { Resource, cancelButton, coded, el, elapsed, headline, percent, poll, progressBar, redraw, resourceOf, stateBadge } from "./common.js";

const list = document.getElementById("jobs");
const more = document.getElementById("more");
const MOST = 200; // in one page of the API
let shown = 30;
let resource = new Resource(`/v1/jobs?limit=${shown}`);
let jobs = [];

async function refresh() {
  const page = await resource.read();
  if (page) {
    jobs = page.data;
    more.hidden = !page.has_more || shown >= MOST;
    document.getElementById("rest").hidden = !page.has_more || shown < MOST;
    document.getElementById("empty").hidden = jobs.length > 0;
    redraw(list, ...jobs.map(card));
  } else {
    for (const job of jobs) document.getElementById(`elapsed-${job.id}`).textContent = elapsed(job);
  }
  list.setAttribute("aria-busy", "false");
}

function card(job) {
  const page = `/jobs/${encodeURIComponent(job.id)}`;
  return el("li", { class: "card" },
    el("div", { class: "head" },
      stateBadge(job),
      el("a", { class: "name", href: page, "data-key": job.id, text: `${job.spec.method} · ${percent(job.spec.sparsity)}` }),
      el("span", { class: "soft grow source", text: job.spec.model.source }),
      ...(job.state === "succeeded" && !job.expired_at ? [
        el("a", { href: `${resourceOf(job)}/report`, type: "text/html", text: "Report", "data-key": `report ${job.id}` }),
        el("a", { href: `${page}#results`, text: "Files", "data-key": `files ${job.id}` }),
      ] : []),
      cancelButton(job, now)),
    progressBar(job),
    el("div", { class: "head soft" },
      el("span", { class: "grow" }, ...coded(headline(job))),
      el("span", { id: `elapsed-${job.id}`, text: elapsed(job) })));
}

more.addEventListener("click", () => {
  shown = Math.min(MOST, shown + 50);
  resource = new Resource(`/v1/jobs?limit=${shown}`);
  now();
});

document.getElementById("hint").textContent =
  `secateur submit example:kjv-dlm --method sink-wanda --sparsity 0.5 --url ${location.origin}`;
const now = poll(refresh);
