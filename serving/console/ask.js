// The form of a question: from an address to fields, from fields to a request body and an address.
import { byId } from "./dom.js";

const SUBJECTS = {
  user: { label: "User id", hint: "u0000001" },
  session: { label: "Session id", hint: "any id of a visit" },
  history: { label: "Item ids, oldest first, separated by commas", hint: "i7, i12; empty is a stranger" },
};
const form = byId("ask");
const field = (name) => form.elements[name];

/** A field that cannot be read; the form says so beside it. */
export class FieldError extends Error {}

export const subjectKind = () => field("who").value;
export const subject = () => field("subject").value.trim();
export const eventType = () => field("event_type").value.trim() || "click";
export const ids = (text) =>
  text
    .split(",")
    .map((id) => id.trim())
    .filter(Boolean);

/** Names, hints and the slider's number follow what was chosen. */
export function dressForm() {
  const kind = SUBJECTS[subjectKind()];
  byId("subject-label").textContent = kind.label;
  field("subject").placeholder = kind.hint;
  byId("diversity-value").textContent = field("diversity").value;
}

export function setSubject(kind, text) {
  field("who").value = kind;
  field("subject").value = text;
  dressForm();
}

/** Fill the form from an address such as #try?user=u1&k=5, the rest with defaults; false where it names nobody. */
export function fillForm(parameters) {
  const kind = Object.keys(SUBJECTS).find((one) => parameters.has(one));
  if (!kind) return false;
  form.reset();
  for (const name of ["k", "diversity", "filter", "event_type"]) {
    if (parameters.has(name)) field(name).value = parameters.get(name);
  }
  for (const name of ["explain", "dry_run"]) {
    if (parameters.has(name)) field(name).checked = ["1", "true"].includes(parameters.get(name));
  }
  setSubject(kind, parameters.get(kind));
  return true;
}

/** The request that the form describes. */
export function readForm() {
  const kind = subjectKind();
  const body = kind === "history" ? { history: ids(field("subject").value) } : { [`${kind}_id`]: subject() };
  if (kind !== "history" && !subject()) throw new FieldError(`Type a ${kind} id, or begin as a stranger.`);
  body.k = Number(field("k").value) || 10;
  if (Number(field("diversity").value)) body.diversity = Number(field("diversity").value);
  const filter = readFilter();
  if (filter) body.filter = filter;
  if (field("explain").checked) body.explain = true;
  if (field("dry_run").checked) body.dry_run = true;
  return body;
}

function readFilter() {
  const text = field("filter").value.trim();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FieldError(`The filter is no JSON: ${error.message}.`);
  }
}

/** The address that fills the form as it stands; defaults are left out. */
export function formAddress() {
  const parameters = new URLSearchParams({ [subjectKind()]: subject() });
  if (field("k").value !== "10") parameters.set("k", field("k").value);
  if (Number(field("diversity").value)) parameters.set("diversity", field("diversity").value);
  if (field("filter").value.trim()) parameters.set("filter", field("filter").value.trim());
  if (!field("explain").checked) parameters.set("explain", "0");
  if (field("dry_run").checked) parameters.set("dry_run", "1");
  if (eventType() !== "click") parameters.set("event_type", eventType());
  return `#try?${parameters}`;
}
