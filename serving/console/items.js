// Attributes and titles of items, read from the API once and cached.
import { ApiError, call } from "./api.js";
import { badge, h } from "./dom.js";

const MAX_FIELDS = 50; // of one request
const MAX_TITLES = 100;
const titles = new Map();
const unknown = new Set(); // ids that the bundle does not have
let known = null;

/** Names of the items' attributes. */
async function fieldNames() {
  if (known === null) {
    const { models } = await call("models");
    const all = new Set(models.flatMap((model) => model.fields ?? []));
    known = [...all].slice(0, MAX_FIELDS);
  }
  return known;
}

/** Clear the cache: another key may belong to another tenant. */
export function clearItems() {
  titles.clear();
  unknown.clear();
  known = null;
}

/** Recommend with all attributes of the items.
 * The result also has `ms`, the round trip, and `body`, the whole request. */
export async function recommend(body) {
  const wanted = await fieldNames().catch(() => ["title"]);
  for (const fields of [wanted, ["title"], []]) {
    try {
      const request = fields.length ? { ...body, fields } : body;
      const started = performance.now();
      const answer = await call("recommend", { body: request });
      answer.items.forEach((item) => titles.set(item.item_id, titleOf(item)));
      return { ...answer, body: request, ms: performance.now() - started };
    } catch (error) {
      // the bundle of a variant may have fewer attributes
      const isField = error instanceof ApiError && error.status === 422 && error.message.startsWith("fields:");
      if (!isField || !fields.length) throw error;
    }
  }
}

const MAX_TITLE = 160;
/** The title of an item, or its id where it has none; a long one is cut. */
export function titleOf(item) {
  const names = [item.fields?.title, item.fields?.name].map((name) => String(name ?? "").trim());
  const title = names.find(Boolean) ?? String(item.item_id);
  return title.length > MAX_TITLE ? `${title.slice(0, MAX_TITLE)}…` : title;
}

/** Load the titles of these ids by a dry run that recommends all of them. */
export async function loadTitles(ids) {
  const missing = [...new Set(ids)].filter((id) => !titles.has(id)).slice(0, MAX_TITLES);
  if (!missing.length) return;
  missing.forEach((id) => titles.set(id, id));
  try {
    const answer = await recommend({ history: [], candidates: missing, k: missing.length, dry_run: true });
    const listed = new Set(answer.items.map((item) => item.item_id));
    if (answer.model) missing.filter((id) => !listed.has(id)).forEach((id) => unknown.add(id));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // ids are shown instead
  }
}

/** An item's title, with its id if they differ. */
export function itemName(id) {
  const title = titles.get(id) ?? id;
  const isUnknown = isUnknownItem(id) && badge("plain", "unknown", "The bundle does not have this item.");
  return h("span.item-name", h("bdi", title), title !== id && h("code", id), isUnknown);
}

/** Whether the bundle does not have the item; false while its title was not asked for. */
export const isUnknownItem = (id) => unknown.has(id);

export const titleById = (id) => titles.get(id) ?? id;
