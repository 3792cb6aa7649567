import { Resource, el, poll, redraw, sweepProgress, sweepTally, stateBadge } from "./common.js";

const list = document.getElementById("sweeps");
const resource = new Resource("/v1/sweeps?limit=50");

async function refresh() {
  const page = await resource.read();
  if (page) {
    document.getElementById("rest").hidden = !page.has_more;
    document.getElementById("empty").hidden = page.data.length > 0;
    redraw(list, ...page.data.map(card));
  }
  list.setAttribute("aria-busy", "false");
}

function card(sweep) {
  return el("li", { class: "card" },
    el("div", { class: "head" },
      stateBadge(sweep),
      el("a", { class: "name grow", href: `/sweeps/${encodeURIComponent(sweep.id)}`, "data-key": sweep.id, text: sweep.name || sweep.id })),
    sweepProgress(sweep),
    el("div", { class: "head soft" },
      el("span", { class: "grow", text: sweepTally(sweep) }),
      el("span", { text: new Date(sweep.created_at).toLocaleString() })));
}

document.getElementById("hint").textContent =
  `secateur sweep example:kjv-dlm --preset ablation --url ${location.origin}`;
poll(refresh);
