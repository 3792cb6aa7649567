// What became of a job's webhook messages, and the button that has one sent again.
import { Resource, action, duration, el, mayWrite, redraw, row, secondsUntil, stateBadge } from "./common.js";

const $ = (name) => document.getElementById(name);
const SOON = 60; // seconds to the next try within which somebody may be waiting for it
let deliveries = [];

/** Reads and draws those of the job at `api`; `again` reads the page anew after a click. */
export function follower(api, again) {
  const resource = new Resource(`${api}/deliveries?limit=200`);
  return async () => {
    const page = await resource.read();
    if (page) {
      deliveries = page.data;
      $("webhook").hidden = deliveries.length === 0;
      $("receiver").textContent = deliveries.length ? new URL(deliveries.at(-1).url).host : "";
      redraw($("deliveries"), ...deliveries.map((each) => drawn(each, api, again)));
    }
    for (const { id, next_at } of deliveries) $(`next-${id}`).textContent = next_at ? until(secondsUntil(next_at)) : "";
  };
}

/** Whether a try is due while somebody looks on. */
export const soon = () => deliveries.some(({ next_at }) => next_at && secondsUntil(next_at) < SOON);

function drawn(delivery, api, again) {
  const { id, event, attempts, next_at } = delivery;
  const text = next_at ? "Send now" : "Send again";
  return row(
    ["Event", el("td", { class: "mono short", text: event })],
    ["State", el("td", { class: "short" }, stateBadge(delivery))],
    ["Tries", el("td", { class: "number", text: attempts })],
    ["Last answer", el("td", { text: answer(delivery) })],
    ["Next try", el("td", { class: "short", id: `next-${id}` })],
    ["", el("td", { class: "number" }, mayWrite && attempts > 0 &&
      action(`${api}/deliveries/${encodeURIComponent(id)}/redeliver`, text, again, { name: `${text}: ${event}, ${id}` }))]);
}

/** The newest answer, or why there was none, and when. */
function answer({ last_status, last_error, log }) {
  const said = last_error ?? last_status;
  if (said === null) return "";
  const at = log.at(-1)?.at;
  return at ? `${said} · ${new Date(at).toLocaleTimeString([], { hourCycle: "h23" })}` : `${said}`;
}

const until = (seconds) => (seconds < 1 ? "due" : `in ${duration(seconds)}`);
