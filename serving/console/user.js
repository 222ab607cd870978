// Everything that is known of one person, and how to forget it.
import { ApiError, call, problem } from "./api.js";
import { badge, byId, facts, h, show, table, when } from "./dom.js";
import { itemName, learnTitles } from "./items.js";

const NEWEST = 100;
const place = byId("person");
const input = byId("look-up-id");
let asks = 0; // a slow answer must not overwrite a later one

export function openUser(parameters) {
  if (!parameters.has("id")) return;
  input.value = parameters.get("id");
  lookUp();
}

async function lookUp() {
  const mine = ++asks;
  const id = input.value.trim();
  const places = { user_id: id };
  place.setAttribute("aria-busy", "true");
  history.replaceState(null, "", `#user?${new URLSearchParams({ id })}`);
  // each may be refused on its own: a key without the admin scope still sees the history
  const [events, known, profile] = await Promise.all([
    asked("history", places),
    asked("known", places),
    asked("profile", places),
  ]);
  const entries = (events.answer ?? known.answer)?.events ?? [];
  await learnTitles(entries.slice(-NEWEST).map((event) => event.item_id));
  if (mine !== asks) return;
  show(
    place,
    h(
      "div.cards.person",
      historyCard(id, events, entries),
      h("div.stack", profileCard(profile, known.answer?.themes ?? []), storedCard(known), eraseCard(id)),
    ),
  );
  place.removeAttribute("aria-busy");
}

async function asked(route, places) {
  try {
    return { answer: await call(route, { places }) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { error };
  }
}

function historyCard(id, { error }, entries) {
  return h(
    "article.card",
    h("h2", "History"),
    error && problem(error),
    h(
      "p.hint",
      entries.length ? `${entries.length} events, newest first.` : "No event is stored.",
      " ",
      h("a", { href: `#try?${new URLSearchParams({ user: id })}` }, "Ask for this user"),
    ),
    h(
      "ol.events",
      entries
        .slice(-NEWEST)
        .reverse()
        .map((event) => h("li", itemName(event.item_id), h("time", when(event.time_ms)))),
    ),
  );
}

function profileCard({ answer, error }, themes) {
  const versions = answer?.versions ?? [];
  return h(
    "article.card",
    h("h2", "Profile", answer?.choice && badge("plain", answer.choice)),
    error && problem(error),
    answer && (answer.text ? h("blockquote", answer.text) : h("p.hint", "Nothing has been written of this user.")),
    answer?.set_at && h("p.hint", `Chosen by the person, ${when(answer.set_at)}.`),
    themes.length
      ? h(
          "p",
          "Themes: ",
          themes.map((theme) => h("span.theme", theme)),
        )
      : null,
    versions.map((one) =>
      h(
        "details",
        h("summary", `${one.aspect}, ${when(one.created_at)}`),
        h("p", one.text),
        facts([
          ["model", one.model],
          ["prompt", one.prompt_version],
          ["events read", one.n_events],
          ["carried by the history", one.grounding === null ? null : `${Math.round(100 * one.grounding)} %`],
        ]),
      ),
    ),
  );
}

function storedCard({ answer, error }) {
  const stored = answer?.stored;
  return h(
    "article.card",
    h("h2", "In the database"),
    error && problem(error),
    answer && !stored && h("p.hint", "Serving has no database, or it holds nothing of this user."),
    stored && [
      facts([
        ["events", stored.n_events],
        ["lists shown", stored.n_exposures],
        ["profiles", answer.profiles.length],
      ]),
      lately("Events", stored.events),
      lately("Lists shown", stored.exposures),
    ],
  );
}

/** Rows as the database has them; what a person may ask about. */
function lately(name, rows) {
  if (!rows.length) return null;
  const head = Object.keys(rows[0]);
  const cell = (value) =>
    value !== null && typeof value === "object" ? JSON.stringify(value) : value === null ? null : String(value);
  return h(
    "details",
    h("summary", `${name}: the newest ${Math.min(rows.length, NEWEST)}`),
    table(
      head,
      rows.slice(0, NEWEST).map((row) => head.map((key) => cell(row[key]))),
    ),
  );
}

function eraseCard(id) {
  const typed = h("input", { id: "erase-id", autocomplete: "off", spellcheck: "false" });
  const button = h("button.danger", { disabled: true }, "Forget everything");
  const outcome = h("div", { "aria-live": "polite" });
  typed.addEventListener("input", () => {
    button.disabled = typed.value !== id;
  });
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        if (typed.value !== id) return;
        button.disabled = true;
        const { answer, error } = await asked("erase", { user_id: id });
        show(outcome, error ? problem(error) : erasure(answer, id, outcome));
        if (error) return;
        // what stood there is no longer so
        for (const card of place.querySelectorAll("article")) if (!card.contains(outcome)) card.remove();
      },
    },
    h("label", { for: "erase-id" }, h("span", "Type the user's id to confirm")),
    h("div.bar", typed, button),
  );
  return h(
    "article.card",
    h("h2", "Erase"),
    h(
      "p.hint",
      "History, profiles, events and shown lists go, and no profile will be written again. Nobody can take it back.",
    ),
    form,
    outcome,
  );
}

function erasure(answer, id, outcome) {
  const again = h("button.quiet", { type: "button" }, "Look again");
  again.addEventListener("click", async () => {
    const { answer: later, error } = await asked("erasure", { user_id: id });
    show(outcome, error ? problem(error) : erasure(later, id, outcome));
  });
  return h(
    "div",
    h(
      "p",
      badge(answer.status === "done" ? "good" : "warn", answer.status),
      answer.status === "done" ? " Everything is gone." : " The history is gone; the database has not answered yet.",
    ),
    facts([
      ["history events", answer.history],
      ["profiles", answer.profiles],
      ["stored events", answer.events],
      ["lists shown", answer.exposures],
    ]),
    answer.status === "done" ? null : again,
  );
}

byId("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp();
});
