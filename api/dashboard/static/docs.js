// The API's description, drawn from openapi.json.
import { Resource, el, poll } from "./common.js";

const $ = (name) => document.getElementById(name);
let components;
/** What a part of the document stands for: itself, or the component that its $ref names. */
const resolved = (part) => (part.$ref ? components[part.$ref.split("/")[2]][part.$ref.split("/")[3]] : part);
const json = (value) => el("pre", {}, el("code", { text: JSON.stringify(value, null, 2) }));

/** A paragraph in which what stands between backticks is code. */
function prose(tag, attributes, text = "") {
  const parts = text.split("`").map((part, i) => (i % 2 ? el("code", { text: part }) : part));
  return el(tag, attributes, ...parts);
}

function examplesOf(content) {
  return Object.entries(content ?? {}).flatMap(([kind, { example, examples, schema }]) => {
    const named = Object.entries(examples ?? {}).map(([name, each]) => [name, resolved(each).value]);
    const all = example === undefined ? named : [["", example], ...named];
    return [el("p", { class: "soft", text: [kind, refName(schema)].filter(Boolean).join(" · ") }),
      ...all.flatMap(([name, value]) => [name && el("p", { class: "soft", text: name }), json(value)])];
  });
}

const refName = (schema) => schema?.$ref?.split("/").pop();

function parameters(list) {
  if (!list?.length) return null;
  return el("table", {}, el("tbody", {}, ...list.map(resolved).map((p) => el("tr", {},
    el("td", { class: "mono", text: p.name }),
    el("td", { class: "soft", text: p.required ? `${p.in}, required` : p.in }),
    prose("td", {}, p.description ?? p.schema?.description)))));
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
    $("operations").append(el("h2", { text: name }), el("p", { class: "soft", text: description }), ...operations);
  }
  $("schemas").append(...Object.entries(api.components.schemas).sort().map(([name, schema]) =>
    el("details", { id: name }, el("summary", { text: name }), json(schema))));
  drawn = true;
}, () => 60000);
