// Models view: loaded and refused bundles, and a comparison of two versions.
import { call, problem } from "./api.js";
import { ids } from "./ask.js";
import { badge, byId, facts, h, show, table, when } from "./dom.js";
import { itemName, loadTitles } from "./items.js";

const form = byId("compare");
let live = [];

export function openModels(parameters) {
  if (parameters.has("history")) form.elements.history.value = parameters.get("history");
  refresh();
}

async function refresh() {
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
    h("h2", model.alias, model.version ? badge("good", "serves") : badge("warn", "no bundle")),
    model.version && h("p", h("b", model.name), " ", h("code", model.version)),
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
            model.refusals.map((refusal) => h("li", h("time", when(refusal.at)), " ", refusal.reason, " ", h("code", refusal.where))),
          ),
        )
      : null,
  );
}

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
  const wanted = ids(form.elements.history.value);
  const k = Number(form.elements.k.value) || 10;
  const place = byId("compared");
  try {
    const answers = await Promise.all(
      ["left", "right"].map((side) => infer(live[form.elements[side].value], wanted, k)),
    );
    await loadTitles(answers.flatMap((answer) => answer.ids));
    const [left, right] = answers;
    const both = left.ids.filter((id) => right.ids.includes(id)).length;
    show(
      place,
      h(
        "p.hint",
        `${both} of ${left.ids.length} items are in both lists.`,
        live.length < 2 &&
          " One bundle is loaded; an A/B test or a shadow (RETORT_EXPERIMENT) loads a second one.",
      ),
      h("div.cards.wide", column(left, right), column(right, left)),
    );
  } catch (error) {
    show(place, problem(error));
  }
}

async function infer(model, wanted, k) {
  const body = {
    inputs: [{ name: "history", datatype: "BYTES", shape: [wanted.length], data: wanted }],
    parameters: { k },
  };
  const started = performance.now();
  const answer = await call("infer", { places: { name: model.name, version: model.version }, body });
  const output = (name) => answer.outputs.find((tensor) => tensor.name === name).data;
  return { model, ids: output("item_ids"), scores: output("scores"), ms: performance.now() - started };
}

function column(own, other) {
  return h(
    "article.card",
    h("h2", own.model.alias, h("small", `${own.model.version.slice(0, 8)} · ${own.ms.toFixed(0)} ms`)),
    h(
      "ol.items.small",
      own.ids.map((id, at) => {
        const otherRank = other.ids.indexOf(id) + 1;
        return h(
          "li.item",
          { "data-item": id },
          h("span.rank", at + 1),
          h("div.what", itemName(id)),
          h(
            "div.score",
            own.scores[at]?.toFixed(3),
            otherRank ? h("span.move", `other: ${otherRank}`) : h("span.move.new", "only here"),
          ),
        );
      }),
    ),
  );
}

byId("models-again").addEventListener("click", refresh);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
