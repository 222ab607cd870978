// Items view: search, and one item with its knowledge, its popularity and similar items.
import { fieldWords, knowledge } from "./answer.js";
import { attempt, call, problem } from "./api.js";
import { sparkline } from "./chart.js";
import { byId, facts, h, show, viewAddress } from "./dom.js";
import { titleOf } from "./items.js";

const DELAY_MS = 150;
const SIMILAR = 10;
const FOUND = 50;
const INTERNAL = ["title", "name", "knowledge", "knowledge_source", "knowledge_at"];
const form = byId("find");
const place = byId("item");
let [timer, latestSearch, latestItem] = [0, 0, 0];
let current = null;

export function openItems(parameters) {
  const id = parameters.get("id");
  if (parameters.has("query")) form.elements.query.value = parameters.get("query");
  search();
  if (id !== null) openItem(id);
  else if (current === null)
    show(
      place,
      h("div.card.empty", h("h2", "Choose an item"), h("p", "Its texts, popularity and similar items are shown here.")),
    );
}

async function search() {
  const mine = ++latestSearch;
  const query = form.elements.query.value.trim();
  try {
    const { items } = await call("search", { query: { query, limit: FOUND } });
    if (mine !== latestSearch) return;
    byId("found-count").textContent = items.length
      ? query
        ? `${items.length}${items.length === FOUND ? " or more" : ""} found, most popular first.`
        : "Most popular first."
      : "No title has these words, and no item this id.";
    show(byId("found"), h("ol.found", items.map(row)));
    markCurrent();
  } catch (error) {
    if (mine !== latestSearch) return;
    byId("found-count").textContent = "";
    show(byId("found"), problem(error));
  }
}

function row(item) {
  return h(
    "li",
    h(
      "a",
      { href: viewAddress("items", { id: item.item_id }), "data-id": item.item_id },
      h("bdi", item.title ?? item.item_id),
    ),
    h("small", `${item.popularity.toLocaleString()} events`),
  );
}

function markCurrent() {
  for (const link of byId("found").querySelectorAll("a")) {
    if (link.dataset.id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

async function openItem(id) {
  const mine = ++latestItem;
  current = id;
  markCurrent();
  place.setAttribute("aria-busy", "true");
  const places = { item_id: id };
  const query = { k: SIMILAR, dry_run: true };
  const [item, similar] = await Promise.all([
    attempt(call("item", { places })),
    attempt(
      call("similar", { places, query: { ...query, fields: "title" } }).catch((error) => {
        // items without titles have no such field
        if (error.status !== 422) throw error;
        return call("similar", { places, query });
      }),
    ),
  ]);
  if (mine !== latestItem) return;
  place.removeAttribute("aria-busy");
  if (item.error) return show(place, problem(item.error));
  show(place, card(item.answer), similarCard(similar));
  if (matchMedia("(max-width: 720px)").matches) place.scrollIntoView();
}

function card(item) {
  const known = Object.entries(item.fields).filter(([name, value]) => !INTERNAL.includes(name) && value !== null);
  return h(
    "article.card",
    h("h2.big", h("bdi", titleOf(item)), h("code", h("bdi", item.item_id))),
    knowledge(item.fields),
    facts(known.map(([name, value]) => [name.replaceAll("_", " "), words(value)])),
    h(
      "p",
      h("b", item.popularity.toLocaleString()),
      ` train events: number ${item.popularity_rank.toLocaleString()} of ${item.n_items.toLocaleString()}.`,
    ),
    trend(item),
    h(
      "p.actions",
      h("a.button", { href: viewAddress("try", { history: item.item_id }) }, "Recommend after this item"),
      h("a", { href: viewAddress("map", { id: item.item_id }) }, "On the map"),
    ),
  );
}

const words = (value) =>
  Array.isArray(value)
    ? h(
        "span",
        value.map((part) => h("span.theme.plain", h("bdi", String(part)))),
      )
    : h("bdi", fieldWords(value));

/** Train events in equal spans of time; bundles of earlier versions do not have them. */
function trend({ trend: known }) {
  if (!known) return null;
  const [start, end] = [Date.parse(known.start), Date.parse(known.end)];
  const length = (end - start) / known.counts.length;
  const name = (at) => `from ${new Date(start + at * length).toLocaleDateString()}`;
  return h(
    "div",
    h("h3", "Events over time"),
    sparkline(known.counts, {
      label: "Train events over time",
      names: known.counts.map((_, at) => name(at)),
      format: (count) => `${count.toLocaleString()} events`,
    }),
    h("p.axis.hint", h("span", new Date(start).toLocaleDateString()), h("span", new Date(end).toLocaleDateString())),
  );
}

function similarCard({ answer, error }) {
  return h(
    "article.card",
    h(
      "h2",
      "Similar items",
      answer?.source === "popular" && h("small", "popular ones: the bundle has no item vectors"),
    ),
    error && problem(error),
    answer &&
      h(
        "ol.found",
        answer.items.map((item) =>
          h(
            "li",
            h("a", { href: viewAddress("items", { id: item.item_id }) }, h("bdi", titleOf(item))),
            h("small", item.score.toFixed(2)),
          ),
        ),
      ),
  );
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
form.elements.query.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, DELAY_MS);
});
