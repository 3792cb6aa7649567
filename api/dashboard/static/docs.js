// The API's description, drawn from openapi.json.
import { Resource, coded, el, poll, row } from "./common.js";

const $ = (name) => document.getElementById(name);
let components;
/** What a part of the document stands for: itself, or the component that its $ref names. */
const resolved = (part) => (part.$ref ? components[part.$ref.split("/")[2]][part.$ref.split("/")[3]] : part);
const json = (value) => el("pre", { tabindex: "0" }, el("code", { text: JSON.stringify(value, null, 2) }));
const prose = (tag, attributes, text) => el(tag, attributes, ...coded(text));

function examplesOf(content) {
  return Object.entries(content ?? {}).flatMap(([kind, { example, examples, schema }]) => {
    const named = Object.entries(examples ?? {}).map(([name, each]) => [name, resolved(each).value]);
    const all = example === undefined ? named : [["", example], ...named];
    const shape = refName(schema);
    return [el("p", { class: "soft" }, kind, shape && " · ", shape && el("a", { href: `#${shape}`, text: shape })),
      ...all.flatMap(([name, value]) => [name && el("p", { class: "soft", text: name }), json(value)])];
  });
}

const refName = (schema) => schema?.$ref?.split("/").pop();

function parameters(list) {
  if (!list?.length) return null;
  return el("table", { class: "wide", "aria-label": "Parameters" }, el("tbody", {}, ...list.map(resolved).map((p) => row(
    ["", el("td", { class: "mono", text: p.name })],
    ["", el("td", { class: "soft", text: p.required ? `${p.in}, required` : p.in })],
    ["", prose("td", {}, p.description ?? p.schema?.description)]))));
}

function response([status, { description, content, headers }]) {
  const names = Object.keys(headers ?? {}).join(", ");
  return el("details", {},
    prose("summary", {}, `${status} · ${description}`),
    names && el("p", { class: "soft", text: `Headers: ${names}` }),
    ...examplesOf(content));
}

function operation(verb, path, { summary, description, parameters: given, requestBody, responses }) {
  return el("section", { class: "operation" },
    el("h3", {}, el("span", { class: "verb", text: verb.toUpperCase() }), el("code", { text: path })),
    el("p", { text: summary ?? "" }),
    prose("p", { class: "soft" }, description),
    parameters(given),
    requestBody && el("details", {}, el("summary", { text: "Body" }), ...examplesOf(requestBody.content)),
    ...Object.entries(responses).map(response));
}

let drawn = false;
poll(async () => {
  if (drawn) return;
  const api = await new Resource("/openapi.json").read();
  components = api.components;
  $("title").textContent = `${api.info.title} ${api.info.version}`;
  for (const { name, description } of api.tags) {
    const operations = Object.entries(api.paths).flatMap(([path, verbs]) =>
      Object.entries(verbs).filter(([, o]) => o.tags?.includes(name)).map(([verb, o]) => operation(verb, path, o)));
    $("contents").append(el("a", { href: `#tag-${name}`, text: name }));
    $("operations").append(el("h2", { id: `tag-${name}`, text: name }), el("p", { class: "soft", text: description }), ...operations);
  }
  $("components").append(...Object.entries(api.components.schemas).sort().map(([name, schema]) =>
    el("details", { id: name }, el("summary", { text: name }), json(schema))));
  $("contents").append(el("a", { href: "#schemas", text: "schemas" }));
  drawn = true;
  showTarget();
}, () => (drawn ? 60000 : 3000));

/** What the address names is drawn late, and folded. */
function showTarget() {
  const target = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", showTarget);
