// Two models over one history: both lists with a line from each item to its place in the other list.
import { call } from "./api.js";
import { svg } from "./chart.js";
import { h } from "./dom.js";
import { loadTitles, titleById } from "./items.js";

const MAX_HISTORY = 1000; // of one request

/** Rank with both models; nothing is recorded as shown. Returns elements. */
export async function joinedLists(models, history, k) {
  const answers = await Promise.all(models.map((model) => infer(model, history, k)));
  await loadTitles(answers.flatMap((answer) => answer.ids));
  const [left, right] = answers;
  const both = left.ids.filter((id) => right.ids.includes(id)).length;
  const lines = svg("svg", { class: "lines", "aria-hidden": "true" });
  const pair = h("div.joined", column(left, right), lines, column(right, left));
  new ResizeObserver(() => draw(pair, lines, left.ids, right.ids)).observe(pair);
  return [h("p.hint", `${both} of ${left.ids.length} items are in both lists. Nothing is recorded.`), pair];
}

async function infer(model, history, k) {
  const body = {
    inputs: [
      {
        name: "history",
        datatype: "BYTES",
        shape: [Math.min(history.length, MAX_HISTORY)],
        data: history.slice(-MAX_HISTORY),
      },
    ],
    parameters: { k, dry_run: true },
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
        const rank = other.ids.indexOf(id) + 1;
        const place = () => [...document.querySelectorAll(`.joined [data-item="${CSS.escape(id)}"], .joined path`)];
        const light = (isOn) => () =>
          place().forEach((part) => part.classList.toggle("lit", isOn && part.dataset.item === id));
        return h(
          rank ? "li.item" : "li.item.alone",
          { "data-item": id, onpointerenter: light(true), onpointerleave: light(false) },
          h("span.rank", at + 1),
          h(
            "div.what",
            { title: `${id}, score ${own.scores[at]?.toFixed(3)}` },
            h("bdi", titleById(id)),
            !rank && h("span.move.new", "only here"),
          ),
        );
      }),
    ),
  );
}

/** Lines between the rows of the same item, from the right edge of one list to the left edge of the other. */
function draw(pair, lines, left, right) {
  const box = lines.getBoundingClientRect();
  const rows = [...pair.querySelectorAll("ol")].map((list) => [...list.children]);
  const middle = (row) => row.getBoundingClientRect().top + row.offsetHeight / 2 - box.top;
  lines.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const paths = left.flatMap((id, at) => {
    const other = right.indexOf(id);
    if (other < 0) return [];
    const [from, to] = [middle(rows[0][at]), middle(rows[1][other])];
    const kind = other < at ? "up" : other > at ? "down" : "same";
    const bend = box.width / 2;
    return svg("path", {
      "data-item": id,
      class: kind,
      d: `M0 ${from}C${bend} ${from} ${bend} ${to} ${box.width} ${to}`,
    });
  });
  lines.replaceChildren(...paths);
}
