// User view: all data of a user, and its erasure.
import { attempt, call, problem } from "./api.js";
import { badge, byId, facts, h, show, table, viewAddress, when } from "./dom.js";
import { itemName, loadTitles } from "./items.js";
import { suggestUsers } from "./request_form.js";
import { typeahead } from "./typeahead.js";

const NEWEST = 100;
const place = byId("user-data");
const input = byId("look-up-id");
let latest = 0; // number of the latest request: a slow response must not overwrite a later one

export function openUser(parameters) {
  if (!parameters.has("id")) return;
  input.value = parameters.get("id");
  lookUp();
}

async function lookUp() {
  const mine = ++latest;
  const id = input.value.trim();
  const places = { user_id: id };
  place.setAttribute("aria-busy", "true");
  history.replaceState(null, "", viewAddress("user", { id }));
  // each may be refused separately: a key without the admin scope can still read the history
  const [events, known, profile] = await Promise.all([
    attempt(call("history", { places })),
    attempt(call("known", { places })),
    attempt(call("profile", { places })),
  ]);
  const entries = (events.answer ?? known.answer)?.events ?? [];
  await loadTitles(entries.slice(-NEWEST).map((event) => event.item_id));
  if (mine !== latest) return;
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

function historyCard(id, { error }, entries) {
  return h(
    "article.card",
    h("h2", "History"),
    error && problem(error),
    h(
      "p.hint",
      entries.length
        ? `${entries.length} events, newest first.`
        : error
          ? "The history could not be read."
          : "No event is stored.",
      " ",
      h("a", { href: viewAddress("try", { user: id }) }, "Recommend for this user"),
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
    answer && (answer.text ? h("blockquote", answer.text) : h("p.hint", "This user has no profile.")),
    answer?.set_at && h("p.hint", `Chosen by the user, ${when(answer.set_at)}.`),
    themes.length
      ? h(
          "p",
          "Themes: ",
          themes.map((theme) => h("span.theme", theme)),
        )
      : null,
    versions.map((version) =>
      h(
        "details",
        h("summary", `${version.aspect}, ${when(version.created_at)}`),
        h("p", version.text),
        facts([
          ["model", version.model],
          ["prompt", version.prompt_version],
          ["events read", version.n_events],
          ["faithfulness", version.grounding === null ? null : `${Math.round(100 * version.grounding)} %`],
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
    answer && !stored && h("p.hint", "There is no database, or it holds no data of this user."),
    stored && [
      facts([
        ["events", stored.n_events],
        ["exposures", stored.n_exposures],
        ["profiles", answer.profiles.length],
      ]),
      rowsTable("Events", stored.events),
      rowsTable("Exposures", stored.exposures),
    ],
  );
}

/** Rows of the database. */
function rowsTable(name, rows) {
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
  const button = h("button.danger", { disabled: true }, "Erase all data");
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
        const { answer, error } = await attempt(call("erase", { places: { user_id: id } }));
        show(outcome, error ? problem(error) : erasure(answer, id, outcome));
        if (error) return;
        // the other cards are out of date
        for (const card of place.querySelectorAll("article")) if (!card.contains(outcome)) card.remove();
      },
    },
    h("label", { for: "erase-id" }, h("span", "Enter the user id to confirm")),
    h("div.bar", typed, button),
  );
  return h(
    "article.card",
    h("h2", "Erase"),
    h(
      "p.hint",
      "Deletes the history, profiles, events and exposures, and forbids new profiles. This cannot be undone.",
    ),
    form,
    outcome,
  );
}

function erasure(answer, id, outcome) {
  const again = h("button.quiet", { type: "button" }, "Refresh");
  again.addEventListener("click", async () => {
    const { answer: later, error } = await attempt(call("erasure", { places: { user_id: id } }));
    show(outcome, error ? problem(error) : erasure(later, id, outcome));
  });
  return h(
    "div",
    h(
      "p",
      badge(answer.status === "done" ? "good" : "warn", answer.status),
      answer.status === "done" ? " All data is erased." : " The history is erased; the database has not answered yet.",
    ),
    facts([
      ["history events", answer.history],
      ["profiles", answer.profiles],
      ["stored events", answer.events],
      ["exposures", answer.exposures],
    ]),
    answer.status === "done" ? null : again,
  );
}

byId("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp();
});
typeahead(input, {
  find: suggestUsers,
  take: (id) => {
    input.value = id;
    lookUp();
  },
});
