// Renders a recommendation: source, list, reasons, and changes since the previous list.
import { curlLine } from "./api.js";
import { badge, bar, copyButton, h } from "./dom.js";
import { itemName, titleById, titleOf } from "./items.js";

const SOURCES = {
  student: "the student over the full history",
  partial_history: "the student over the cached part of the history",
  session: "the student over the session",
  similar_items: "similar items, without the student",
  popular_in_segment: "popular in the segment",
  popular: "popular items",
  static: "the static list of the settings",
  none: "no item passed the filter",
};
const REASONS = {
  unknown_user: "the user is unknown",
  empty_history: "the history is empty",
  no_known_items: "the bundle has none of the history's items",
  history_unavailable: "the history store is down",
  deadline: "the deadline passed",
  student_failed: "the student failed",
  no_bundle: "no bundle is loaded",
  filter_matches_nothing: "no item passes the filter",
  not_enough_items: "fewer items are available than requested",
  no_vectors: "the bundle has no item vectors",
  holdout: "the user is in the holdout of the A/B test",
};
const BY_STUDENT = ["student", "session"];
const LONG = 60;

/** Source, model, A/B test and latency. */
export function answerHead(answer) {
  const { model, experiment, source, ms, fallback_reason: reason } = answer;
  return h(
    "div.card.head",
    h(
      "p.verdict",
      badge(BY_STUDENT.includes(source) && !reason ? "good" : "warn", source, SOURCES[source]),
      reason && badge("warn", reason, REASONS[reason]),
      h(
        "span",
        "Answered by ",
        h("span", { id: "source-words" }, SOURCES[source] ?? source),
        reason && ` because ${REASONS[reason] ?? reason}`,
        ".",
      ),
    ),
    h(
      "p.meta",
      model &&
        h("span", "model ", h("b", model.name), " ", h("code", { title: model.version }, model.version.slice(0, 8))),
      experiment && h("span", "A/B test ", h("b", experiment.name), " · ", experiment.variant),
      h("span", { title: "round trip, measured by this browser" }, h("b", ms.toFixed(0)), " ms"),
      h("span", "request ", h("code", answer.request_id)),
    ),
  );
}

/** Correct the words about the source where the bundle does not have some of the history's items. */
export function showUnknown(source, all, unknown) {
  const words = document.getElementById("source-words");
  if (!words || !unknown || !BY_STUDENT.includes(source)) return;
  words.textContent = `the student over ${all - unknown} of the ${all} newest events; the bundle does not have the items of the others`;
}

/** The list. moves: Map of item id → positions gained, null for a new item; without it no changes are shown. */
export function answerList(items, { moves, onclick, verb }) {
  const scores = items.map((item) => item.score).filter((score) => score !== null);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const share = (score) => (high > low ? 0.08 + (0.92 * (score - low)) / (high - low) : 1);
  return h(
    "ol.items",
    items.map((item) =>
      h(
        "li.item",
        { "data-item": item.item_id },
        h("span.rank", item.rank, moves && movement(moves.get(item.item_id))),
        h(
          "div.what",
          h(
            "button.title",
            { type: "button", onclick: () => onclick(item), "aria-label": `${verb} ${titleOf(item)}` },
            h("bdi", titleOf(item)),
          ),
          h("p.fields", h("code", h("bdi", item.item_id)), otherFields(item)),
          knowledge(item.fields ?? {}),
          item.reason && h("p.why", reasonWords(item.reason)),
        ),
        h(
          "div.score",
          item.score === null ? badge("plain", "pinned") : [h("span", item.score.toFixed(3)), bar(share(item.score))],
        ),
      ),
    ),
  );
}

function movement(places) {
  if (places === undefined || places === 0) return null;
  if (places === null) return h("span.move.new", "new");
  return places > 0
    ? h("span.move.up", { "aria-label": `up ${places}` }, `▲${places}`)
    : h("span.move.down", { "aria-label": `down ${-places}` }, `▼${-places}`);
}

const KNOWLEDGE = ["knowledge", "knowledge_source", "knowledge_at"];

/** What a language model, or a person, wrote about the item, with source and date. */
export function knowledge({ knowledge: text, knowledge_source: source, knowledge_at: at }) {
  if (!text) return null;
  const origin = [source, at && new Date(at).toLocaleDateString()].filter(Boolean).join(", ");
  return h("p.known", h("i", "knowledge "), h("bdi", { title: String(text) }, String(text)), origin && h("small", h("bdi", ` (${origin})`)));
}

/** Numbers, booleans and long texts are shown with the name of their attribute; long texts come last. */
function otherFields(item) {
  const shown = Object.entries(item.fields ?? {})
    .filter(([name, value]) => name !== "title" && !KNOWLEDGE.includes(name) && value !== null && value !== item.item_id)
    .map(([name, value]) => [name, fieldWords(value), typeof value]);
  const isLong = ([, words]) => words.length > LONG;
  return [...shown.filter((field) => !isLong(field)), ...shown.filter(isLong)].map((field) => {
    const [name, words, type] = field;
    const isNamed = type === "number" || type === "boolean" || isLong(field);
    return h(
      isLong(field) ? "span.field.long" : "span.field",
      { title: `${name}: ${words}` },
      isNamed && h("i", `${name} `),
      h("bdi", words),
    );
  });
}

/** A value of an attribute as text. */
export const fieldWords = (value) =>
  Array.isArray(value)
    ? value.join(", ")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value).replace(/T00:00:00(\+00:00|Z)?$/, ""); // a date without a time

function reasonWords(reason) {
  const themes = reason.themes?.length ? [" · profile: ", reason.themes.map((theme) => h("span.theme", theme))] : null;
  const because = (reason.because ?? []).map((item, position) => [
    position ? ", " : "",
    h("bdi", { title: `similarity ${item.likeness}` }, titleById(item.item_id)),
    h("small", ` ${item.likeness.toFixed(2)}`),
  ]);
  const words = {
    like_your_history: ["similar to ", because, reason.shared?.length ? `: ${reason.shared.join(", ")}` : null],
    fits_your_sequence: "fits the sequence",
    popular: "popular",
    pinned: "pinned",
  };
  return [words[reason.kind] ?? reason.kind, themes];
}

/** Positions gained by each item since the previous list; null for new items. */
export function movesBetween(before, items) {
  const ranks = new Map(before.map((item) => [item.item_id, item.rank]));
  return new Map(items.map(({ item_id: id, rank }) => [id, ranks.has(id) ? ranks.get(id) - rank : null]));
}

/** Items of the previous list that are no longer in the list. */
export function leftOut(before, items) {
  const here = new Set(items.map((item) => item.item_id));
  const gone = before.filter((item) => !here.has(item.item_id));
  return gone.length
    ? h(
        "p.gone",
        "No longer in the list: ",
        gone.map((item, position) => [position ? ", " : "", itemName(item.item_id)]),
      )
    : null;
}

/** The same request as a curl command. */
export function sameByCurl(body) {
  const line = curlLine("recommend", body);
  return h("details.card.curl", h("summary", "The same request by curl"), h("pre", { tabindex: "0" }, line), copyButton(line));
}
