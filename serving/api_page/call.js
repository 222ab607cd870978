// Calls from the page of the API: the key, and a form for each operation.
import { byId, h, show } from "./dom.js";

// In memory only: a reload forgets it.
let key = "";

/** Let the form at the top of the page set the key that calls are sent with. */
export function startAuthorize() {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key = byId("key").value.trim();
    byId("key-state").textContent = key ? "Calls are sent with this key." : "Calls are sent without a key.";
  });
}

const schemaIn = (schemas, schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema);

/** A body to start from: the schema's own example, else its required fields. A list that is only tried is not recorded. */
function exampleOf(schemas, { schema, example } = {}) {
  if (example && typeof example !== "string") return example;
  const found = schemaIn(schemas, schema?.anyOf?.[0] ?? schema) ?? {};
  const own = found.examples?.[0] ?? found.example;
  const empty = { string: "", integer: 0, number: 0, array: [], boolean: false };
  const required = (found.required ?? []).map((name) => [name, empty[found.properties[name].type] ?? null]);
  const body = own ?? Object.fromEntries(required);
  return found.properties?.dry_run ? { ...body, dry_run: true } : body;
}

function addressOf(path, parameters, values) {
  const query = new URLSearchParams();
  let address = path.slice(1); // relative to the page, so that a proxy may add a prefix
  for (const { name, in: place } of parameters) {
    const value = values.get(name) ?? "";
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (place === "query" && value) query.append(name, value);
  }
  return query.size ? `${address}?${query}` : address;
}

async function send(method, address, body) {
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== null) headers["content-type"] = "application/json";
  const response = await fetch(address, { method, headers, body });
  const text = await response.text();
  try {
    return [response.status, JSON.stringify(JSON.parse(text), null, 2)];
  } catch {
    return [response.status, text];
  }
}

/** A form that sends one operation and shows the answer. */
export function callForm(method, path, route, schemas) {
  const parameters = (route.parameters ?? []).filter(({ in: place }) => place === "path" || place === "query");
  const content = route.requestBody?.content?.["application/json"];
  const answer = h("div", { role: "status" });
  const fields = parameters.map(({ name, required, schema }) =>
    h("label", `${name} `, h("input", { name, required: Boolean(required), value: schema?.default ?? null, autocomplete: "off" })),
  );
  const body =
    content &&
    h("textarea", { name: "request body", "aria-label": "Body", rows: 6, cols: 60, spellcheck: "false" }, JSON.stringify(exampleOf(schemas, content), null, 2));
  const form = h("form.call", { "aria-label": `Call ${method.toUpperCase()} ${path}` }, fields, body, h("p", h("button", "Send")), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    show(answer, h("p", "The call is being sent."));
    try {
      const [status, text] = await send(method.toUpperCase(), addressOf(path, parameters, new FormData(form)), body?.value ?? null);
      show(answer, h("p", `Status ${status}`), text && h("pre", text));
    } catch (error) {
      show(answer, h("p", { role: "alert" }, `The server did not answer (${error.message}).`));
    }
  });
  return [h("h3", "Call it"), form];
}
