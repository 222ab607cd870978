// Models view: loaded and refused bundles, and a comparison of two versions.
import { call, problem, words } from "./api.js";
import { badge, byId, facts, h, show, table, when } from "./dom.js";
import { joinedLists } from "./joined.js";
import { ids, suggestHistory } from "./request_form.js";
import { showVersions } from "./versions.js";

const form = byId("compare");
let live = [];

export function openModels(parameters) {
  if (parameters.has("history")) form.elements.history.value = parameters.get("history");
  refresh();
}

async function refresh() {
  showVersions();
  try {
    const { models } = await call("models");
    show(byId("models"), h("div.cards.wide", models.map(card)));
    live = models.filter((model) => model.version);
    offerComparison();
  } catch (error) {
    form.hidden = true;
    show(byId("models"), problem(error));
  }
}

function card(model) {
  return h(
    "article.card",
    h("h2", model.alias, stateOf(model)),
    model.version && h("p", h("b", model.name), " ", h("code", model.version)),
    model.outdated && h("p.hint", "The bundle that the alias names does not serve: ", words(model.outdated)),
    facts([
      ["student", model.student],
      ["items", model.n_items?.toLocaleString()],
      ["sequence length", model.max_length && `${model.max_length} events`],
      ["loaded", when(model.loaded_at)],
      ["median latency", model.latency_ms && `${model.latency_ms} ms`],
      ["tenant", model.tenant],
      ["attributes", model.fields?.join(", ")],
    ]),
    model.metrics && metrics(model.metrics),
    model.refusals.length
      ? h(
          "div",
          h("h3", "Refused"),
          h(
            "ul",
            model.refusals.map((refusal) =>
              h("li", h("time", when(refusal.at)), " ", refusal.reason, " ", h("code", refusal.where)),
            ),
          ),
        )
      : null,
  );
}

const stateOf = ({ version, outdated }) =>
  outdated ? badge("warn", "last good bundle") : version ? badge("good", "serves") : badge("warn", "no bundle");

/** Metrics of the bundle: one table for each split, with the cut-offs (the 10 of hr@10) as columns. */
function metrics(parts) {
  return Object.entries(parts).map(([part, values]) => {
    const cut = Object.entries(values ?? {}).filter(([name, value]) => name.includes("@") && typeof value === "number");
    if (!cut.length) return null;
    const [names, cuts] = [0, 1].map((at) => [...new Set(cut.map(([name]) => name.split("@")[at]))]);
    cuts.sort((a, b) => a - b);
    return table(
      [part, ...cuts.map((k) => `@${k}`)],
      names.map((name) => [name, ...cuts.map((k) => values[`${name}@${k}`]?.toFixed(4))]),
    );
  });
}

function offerComparison() {
  form.hidden = !live.length;
  for (const side of ["left", "right"]) {
    const select = form.elements[side];
    const chosen = select.value;
    show(
      select,
      live.map((model, at) =>
        h("option", { value: String(at) }, `${model.alias}: ${model.name} ${model.version.slice(0, 8)}`),
      ),
    );
    select.value = chosen || String(side === "right" && live.length > 1 ? 1 : 0);
  }
}

async function compare() {
  const place = byId("compared");
  try {
    const models = ["left", "right"].map((side) => live[form.elements[side].value]);
    const lists = await joinedLists(models, ids(form.elements.history.value), Number(form.elements.k.value) || 10);
    show(
      place,
      live.length < 2 &&
        h("p.hint", "One bundle is loaded; an A/B test or a shadow (RETORT_EXPERIMENT) loads a second one."),
      lists,
    );
  } catch (error) {
    show(place, problem(error));
  }
}

byId("models-again").addEventListener("click", refresh);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
suggestHistory(form.elements.history);
