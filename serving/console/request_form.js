// The request form: reads it from an address, and writes it to a request body and an address.
import { call } from "./api.js";
import { byId } from "./dom.js";
import { typeahead } from "./typeahead.js";

const SUBJECTS = {
  user: { label: "User id", hint: "u0000001" },
  session: { label: "Session id", hint: "any session id" },
  history: { label: "Item ids, oldest first, separated by commas", hint: "i7, i12; may be empty" },
};
const form = byId("ask");
const field = (name) => form.elements[name];

/** An invalid field. */
export class FieldError extends Error {}

export const subjectKind = () => field("who").value;
export const subject = () => field("subject").value.trim();
export const eventType = () => field("event_type").value.trim() || "click";
export const ids = (text) =>
  text
    .split(",")
    .map((id) => id.trim())
    .filter(Boolean);

/** Update labels, hints and the value of the slider. */
export function updateLabels() {
  const kind = SUBJECTS[subjectKind()];
  byId("subject-label").textContent = kind.label;
  field("subject").placeholder = kind.hint;
  byId("diversity-value").textContent = field("diversity").value;
}

export function setSubject(kind, text) {
  field("who").value = kind;
  field("subject").value = text;
  updateLabels();
}

/** Users whose ids start with the text. */
export async function suggestUsers(text) {
  const { user_ids: found } = await call("users", { query: { start: text.trim(), limit: 8 } });
  return found.map((id) => ({ value: id, label: id }));
}

/** Items whose titles or ids hold words that start with those of the text. */
export async function suggestItems(text) {
  const { items } = await call("search", { query: { query: text.trim(), limit: 8 } });
  return items.map((item) => ({
    value: item.item_id,
    label: item.title ?? item.item_id,
    hint: item.title && item.title !== item.item_id ? item.item_id : null,
  }));
}

const lastId = (text) => text.split(",").at(-1);

/** Several ids, the last of them replaced, ready for another one. */
const replaceLastId = (text, id) => `${[...ids(text.slice(0, text.length - lastId(text).length)), id].join(", ")}, `;

/** Suggestions for the last of several ids, separated by commas. */
export function suggestHistory(input) {
  typeahead(input, {
    find: () => suggestItems(lastId(input.value)),
    take: (id) => {
      input.value = replaceLastId(input.value, id);
    },
  });
}

/** Fill the form from an address such as #try?user=u1&k=5; false without a user, session or history. */
export function fillForm(parameters) {
  const kind = Object.keys(SUBJECTS).find((name) => parameters.has(name));
  if (!kind) return false;
  form.reset();
  for (const name of ["k", "diversity", "filter", "event_type"]) {
    if (parameters.has(name)) field(name).value = parameters.get(name);
  }
  for (const name of ["explain", "record"]) {
    if (parameters.has(name)) field(name).checked = ["1", "true"].includes(parameters.get(name));
  }
  setSubject(kind, parameters.get(kind));
  return true;
}

/** The request that the form describes. */
export function readForm() {
  const kind = subjectKind();
  const body = kind === "history" ? { history: ids(field("subject").value) } : { [`${kind}_id`]: subject() };
  if (kind !== "history" && !subject()) throw new FieldError(`Enter a ${kind} id, or start with an empty history.`);
  body.k = Number(field("k").value) || 10;
  if (Number(field("diversity").value)) body.diversity = Number(field("diversity").value);
  const filter = readFilter();
  if (filter) body.filter = filter;
  if (field("explain").checked) body.explain = true;
  if (!field("record").checked) body.dry_run = true; // records no exposure
  return body;
}

function readFilter() {
  const text = field("filter").value.trim();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FieldError(`The filter is not valid JSON: ${error.message}.`);
  }
}

/** The address that fills the form with its present values; defaults are left out. */
export function formAddress() {
  const parameters = new URLSearchParams({ [subjectKind()]: subject() });
  if (field("k").value !== "10") parameters.set("k", field("k").value);
  if (Number(field("diversity").value)) parameters.set("diversity", field("diversity").value);
  if (field("filter").value.trim()) parameters.set("filter", field("filter").value.trim());
  if (!field("explain").checked) parameters.set("explain", "0");
  if (field("record").checked) parameters.set("record", "1");
  if (eventType() !== "click") parameters.set("event_type", eventType());
  return `#try?${parameters}`;
}

/** Suggestions for the field of the history, by its kind; a chosen user is requested at once. */
export function suggestSubjects(request) {
  const input = field("subject");
  typeahead(input, {
    find: async (text) => {
      if (subjectKind() === "user") return suggestUsers(text);
      return subjectKind() === "history" ? suggestItems(lastId(input.value)) : [];
    },
    take: (value) => {
      input.value = subjectKind() === "history" ? replaceLastId(input.value, value) : value;
      if (subjectKind() === "user") request();
    },
  });
}
