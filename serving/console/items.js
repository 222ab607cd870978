// Which attributes items have, and what items are called: asked of the API once and remembered.
import { ApiError, call } from "./api.js";
import { h } from "./dom.js";

const MOST_FIELDS = 50; // in one request
const MOST_TITLES = 100;
const titles = new Map();
let known = null;

/** Names of the items' attributes, as far as anybody says. */
export async function fieldNames() {
  if (known === null) {
    const { models } = await call("models");
    const all = new Set(models.flatMap((model) => model.fields ?? []));
    known = [...all].slice(0, MOST_FIELDS);
  }
  return known;
}

/** Another key may be another tenant's, and a promotion may bring other items. */
export function forgetItems() {
  titles.clear();
  known = null;
}

/** Ask for recommendations with as many attributes as the bundle that answers has.
 * The answer also has `ms`, there and back, and `asked`, the whole body. */
export async function recommend(body) {
  const wanted = await fieldNames().catch(() => ["title"]);
  for (const fields of [wanted, ["title"], []]) {
    try {
      const asked = fields.length ? { ...body, fields } : body;
      const started = performance.now();
      const answer = await call("recommend", { body: asked });
      answer.items.forEach((item) => titles.set(item.item_id, titleOf(item)));
      return { ...answer, asked, ms: performance.now() - started };
    } catch (error) {
      // an experiment's bundle may know fewer attributes than the others
      const isField = error instanceof ApiError && error.status === 422 && error.message.startsWith("fields:");
      if (!isField || !fields.length) throw error;
    }
  }
}

export const titleOf = (item) => String(item.fields?.title ?? item.fields?.name ?? item.item_id);

/** Learn the titles of these ids: to a stranger all of them are recommended, and nothing is counted as shown. */
export async function learnTitles(ids) {
  const missing = [...new Set(ids)].filter((id) => !titles.has(id)).slice(0, MOST_TITLES);
  if (!missing.length) return;
  missing.forEach((id) => titles.set(id, id));
  try {
    await recommend({ history: [], candidates: missing, k: missing.length, dry_run: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // ids alone will do
  }
}

/** An item's name with its id, where the two differ. */
export function itemName(id) {
  const title = titles.get(id) ?? id;
  return h("span.item-name", title, title !== id && h("code", id));
}

export const titleById = (id) => titles.get(id) ?? id;
