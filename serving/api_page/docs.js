// The page of the API: shows openapi.json, without any file of another host.
import { callForm, startAuthorize } from "./call.js";
import { byId, h, show, table } from "./dom.js";

const METHODS = ["get", "post", "put", "delete", "patch"];
const nameOf = (schema) => schema?.$ref?.split("/").pop();

/** A type in words: `RecommendRequest`, `array of string`, `integer or null`. */
function typeOf(schema) {
  if (!schema) return "any";
  if (schema.$ref) return nameOf(schema);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map(typeOf).join(" or ");
  if (schema.enum || schema.const !== undefined) return (schema.enum ?? [schema.const]).join(", ");
  return schema.type === "array" ? `array of ${typeOf(schema.items)}` : (schema.type ?? "any");
}

function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => [
    h("code", name),
    typeOf(field) + (required.has(name) ? " (required)" : ""),
    field.description ?? "",
  ]);
  return rows.length ? table(["Field", "Type", "Meaning"], rows) : h("p", typeOf(schema));
}

function contentOf(content = {}) {
  return Object.entries(content).map(([type, { schema, example }]) => [
    h("p", h("code", type), ": ", typeOf(schema)),
    example && h("pre", typeof example === "string" ? example : JSON.stringify(example, null, 2)),
  ]);
}

function operation(method, path, route, schemas) {
  const parameters = (route.parameters ?? []).map(({ name, in: place, required, schema, description }) => [
    h("code", name),
    `${place}, ${typeOf(schema)}${required ? " (required)" : ""}`,
    description ?? "",
  ]);
  const responses = Object.entries(route.responses).map(([status, { description, content }]) => [
    status,
    description,
    Object.values(content ?? {})
      .map(({ schema }) => typeOf(schema))
      .join(", "),
  ]);
  return h(
    "details",
    { id: route.operationId },
    h("summary", h("code", `${method.toUpperCase()} ${path}`), " ", route.summary),
    route.description && h("p", route.description),
    h("p", route.security ? "Requires an API key, if the server has keys." : "Requires no API key."),
    parameters.length > 0 && table(["Parameter", "Type", "Meaning"], parameters, "Parameters"),
    route.requestBody && [h("h3", "Body"), contentOf(route.requestBody.content)],
    table(["Status", "Meaning", "Body"], responses, "Responses"),
    callForm(method, path, route, schemas),
  );
}

function groups(paths, schemas) {
  const found = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const method of METHODS.filter((name) => methods[name])) {
      const tag = methods[method].tags[0];
      found.set(tag, [...(found.get(tag) ?? []), operation(method, path, methods[method], schemas)]);
    }
  }
  return [...found].map(([tag, operations]) => h("section.card", h("h2", tag), operations));
}

async function start() {
  startAuthorize();
  const main = byId("main");
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { info, paths, components } = await response.json();
    const schemas = Object.entries(components.schemas).map(([name, schema]) =>
      h("details", h("summary", h("code", name)), schema.description && h("p", schema.description), fieldsOf(schema)),
    );
    show(main, h("h1", info.title), h("p", info.description), groups(paths, components.schemas), h("section.card", h("h2", "Schemas"), schemas));
  } catch (error) {
    show(main, h("p", { role: "alert" }, `openapi.json cannot be read (${error.message}); reload the page.`));
  }
}

start();
