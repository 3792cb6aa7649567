// Jobs are picked here; what they come to side by side is a page of the API's own, in a frame.
import { Problem, Resource, el, notify, percent, poll, redraw } from "./common.js";

const $ = (name) => document.getElementById(name);
const MOST = 8;
const resource = new Resource("/v1/jobs?state=succeeded&limit=200");
const picked = new Set(new URLSearchParams(location.search).getAll("job"));
let jobs = [];

const query = () => [...picked].map((id) => `job=${encodeURIComponent(id)}`).join("&");
const enough = () => picked.size >= 2 && picked.size <= MOST;

async function refresh() {
  const page = await resource.read();
  if (!page) return;
  jobs = page.data.filter((job) => !job.expired_at);
  $("empty").hidden = jobs.length >= 2;
  $("choice").hidden = jobs.length < 2;
  redraw($("jobs"), ...jobs.map(choice));
  $("jobs").setAttribute("aria-busy", "false");
  count();
}

function choice(job) {
  const { recipe, method, sparsity, model, pattern } = job.spec;
  const cells = [recipe?.inputs, recipe?.order, recipe?.sinks, pattern === "unstructured" ? null : pattern];
  const box = el("input", { type: "checkbox", id: `pick-${job.id}`, value: job.id, "data-key": job.id });
  box.checked = picked.has(job.id);
  box.addEventListener("change", () => {
    if (box.checked) picked.add(job.id);
    else picked.delete(job.id);
    count();
  });
  return el("li", {}, box, el("label", { for: box.id },
    el("strong", { text: `${method} · ${percent(sparsity)}` }),
    el("span", { class: "soft", text: [...cells, model.source, new Date(job.created_at).toLocaleString()].filter(Boolean).join(" · ") })));
}

function count() {
  $("compare").ariaDisabled = String(!enough());
  const over = picked.size > MOST ? `, and ${MOST} are the most` : "";
  $("count").textContent = picked.size ? `${picked.size} chosen${over}` : "";
}

async function show() {
  const url = `/v1/compare?${query()}`;
  await new Resource(url).read(); // says why not, in words
  if ($("frame").getAttribute("src") !== url) $("frame").src = url;
  $("alone").href = url;
  $("found").hidden = false;
  history.replaceState(null, "", `/compare?${query()}`);
}

const shown = () => show().catch((error) => {
  $("found").hidden = true;
  notify(error instanceof Problem ? error : new Problem("The server does not answer."), "Compare");
});

$("compare").addEventListener("click", () => {
  if (!enough()) return;
  $("notice").hidden = true;
  $("notice").dataset.deed = "";
  shown().then(() => $("found").scrollIntoView());
});

if (enough()) shown();
poll(refresh, () => 5000);
