// Filter chips from the catalogue's facets. They edit the filter of the form, which is JSON; anything else in it stays.
import { ApiError, call } from "./api.js";
import { byId, h, show } from "./dom.js";

const SHOWN = 12; // values of one attribute
const field = byId("ask").elements.filter;
const place = byId("facets");
let loaded = null;

/** Load the facets once; without a bundle or a key there are none. */
export async function openFilters() {
  if (loaded) return;
  try {
    loaded = (await call("facets")).facets.filter(isUseful);
    draw();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    show(place);
  }
}

export function forgetFilters() {
  loaded = null;
  show(place);
}

/** False for texts that differ from item to item, such as titles, and for internal attributes. */
function isUseful(facet) {
  if (facet.name === "popularity" || facet.name.startsWith("knowledge")) return false;
  if (facet.kind === "text")
    return facet.n_values > 1 && facet.values[0].items > 1 && facet.n_values <= facet.items / 2;
  return facet.kind === "boolean" ? facet.values.length > 1 : facet.low !== facet.high;
}

/** The filter as an object; null while its text is not JSON. */
function readFilter() {
  try {
    return field.value.trim() ? JSON.parse(field.value) : {};
  } catch {
    return null;
  }
}

function setText(filter) {
  field.value = Object.keys(filter).length ? JSON.stringify(filter) : "";
}

/** Values of an attribute that the filter names. */
function chosen(filter, name) {
  const value = filter[name];
  if (value === undefined) return [];
  return Array.isArray(value) ? value : typeof value === "object" ? [] : [value];
}

/** Bounds of an attribute, such as {gte: 3}, that the filter names. */
function bounds(filter, name) {
  const value = filter[name];
  return value && typeof value === "object" && !Array.isArray(value) ? value : {};
}

function toggle(name, value) {
  const filter = readFilter() ?? {};
  const before = chosen(filter, name);
  const after = before.includes(value) ? before.filter((other) => other !== value) : [...before, value];
  if (after.length) filter[name] = after.length === 1 ? after[0] : after;
  else delete filter[name];
  setText(filter);
  draw();
}

function setRange(name, operator, text, kind) {
  const filter = readFilter() ?? {};
  const range = { ...bounds(filter, name) };
  delete range[operator];
  if (text) range[operator] = kind === "number" ? Number(text) : new Date(text).toISOString();
  if (Object.keys(range).length) filter[name] = range;
  else delete filter[name];
  setText(filter);
  markActive();
}

function chips(facet, filter) {
  const own = chosen(filter, facet.name);
  return h(
    "div.chips",
    facet.values.slice(0, SHOWN).map(({ value, items }) =>
      h(
        "button.chip",
        {
          type: "button",
          "aria-pressed": String(own.includes(value)),
          onclick: () => {
            toggle(facet.name, value);
            place
              .querySelector(`[data-facet="${CSS.escape(facet.name)}"] [data-value="${CSS.escape(String(value))}"]`)
              ?.focus();
          },
          "data-value": String(value),
        },
        h("bdi", String(value)),
        h("small", items.toLocaleString()),
      ),
    ),
    facet.n_values > SHOWN &&
      h("p.hint", `${(facet.n_values - SHOWN).toLocaleString()} more values: name them in the JSON under “More”.`),
  );
}

const day = (value) => String(value ?? "").slice(0, 10);

function range(facet, filter) {
  const isNumber = facet.kind === "number";
  const own = bounds(filter, facet.name);
  const bound = (operator, label, limit) =>
    h(
      "label",
      h("span", label),
      h("input", {
        type: isNumber ? "number" : "date",
        step: "any",
        placeholder: isNumber ? String(limit) : null,
        value: isNumber ? own[operator] : day(own[operator]),
        onchange: (event) => setRange(facet.name, operator, event.target.value, facet.kind),
      }),
    );
  return h("div.pair.even", bound("gte", "from", facet.low), bound("lte", "to", facet.high));
}

function draw() {
  if (!loaded) return;
  const filter = readFilter() ?? {};
  const open = new Set([...place.querySelectorAll("details[open]")].map((part) => part.dataset.facet));
  show(
    place,
    loaded.length ? h("p.part-name", "Filters") : null,
    loaded.map((facet, at) =>
      h(
        "details.facet",
        { "data-facet": facet.name, open: open.size ? open.has(facet.name) : at === 0 && facet.kind === "text" },
        h("summary", facet.name.replaceAll("_", " "), h("span.count", { "aria-hidden": "true" })),
        facet.values.length ? chips(facet, filter) : range(facet, filter),
      ),
    ),
  );
  markActive();
}

function markActive() {
  const filter = readFilter() ?? {};
  for (const part of place.querySelectorAll("details"))
    part.toggleAttribute("data-active", part.dataset.facet in filter);
}

field.addEventListener("input", draw);
