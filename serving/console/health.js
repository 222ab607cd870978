// Health view: readiness and key metrics since the start of the server.
import { ApiError, call, problem } from "./api.js";
import { badge, bar, byId, h, show, table } from "./dom.js";
import { quantile, readMetrics, sumBy, total } from "./prometheus.js";

const INTERVAL_MS = 5000;
const OUTDATED = (aliases) =>
  `The last good bundle serves for ${aliases.join(", ")}: the one that the alias names was refused. See Models.`;
const percent = (share) => `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;
const ms = (seconds) => (seconds === null ? null : (1000 * seconds).toFixed(seconds < 0.01 ? 2 : 1));

export function openHealth() {
  refresh();
}

/** A badge: ready, degraded or not ready. */
export async function stateBadge() {
  try {
    const { degraded, outdated } = await call("ready");
    if (degraded.length) return badge("warn", `degraded: ${degraded.join(", ")}`);
    return outdated?.length ? badge("warn", "last good bundle", OUTDATED(outdated)) : badge("good", "ready");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return badge("bad", error.status ? "not ready" : "no answer", error.message);
  }
}

async function refresh() {
  const [state, text] = await Promise.all([ready(), call("metrics").catch((error) => error)]);
  show(byId("state"), await stateBadge());
  if (typeof text === "string") return show(byId("health"), state, numbers(readMetrics(text)));
  const hidden = text.status === 404 && h("p.hint", "A proxy may block /metrics; open it on the server itself.");
  return show(byId("health"), state, problem(text), hidden);
}

async function ready() {
  try {
    const { degraded, outdated = [] } = await call("ready");
    const down = [badge("warn", "degraded"), h("span", `Down: ${degraded.join(", ")}. Responses carry a fallback reason.`)];
    return [
      degraded.length ? h("p.card.verdict", down) : null,
      outdated.length ? h("p.card.verdict", badge("warn", "last good bundle"), h("span", OUTDATED(outdated))) : null,
      degraded.length || outdated.length
        ? null
        : h("p.card.verdict", badge("good", "ready"), h("span", "A bundle is loaded and all stores are up.")),
    ];
  } catch (error) {
    return problem(error);
  }
}

function numbers(metrics) {
  const answers = total(metrics, "retort_answers_total");
  const student = sumBy(metrics, "retort_answers_total", "source").find(([source]) => source === "student")?.[1] ?? 0;
  const failed = sumBy(metrics, "retort_requests_total", "status")
    .filter(([status]) => status >= "500")
    .reduce((sum, [, value]) => sum + value, 0);
  return [
    h(
      "div.tiles",
      tile("recommendations", answers.toLocaleString()),
      tile("fallbacks", answers ? percent(1 - student / answers) : "–", answers > 0 && student / answers < 0.5),
      tile(
        "refused (overload)",
        total(metrics, "retort_refused_requests_total").toLocaleString(),
        total(metrics, "retort_refused_requests_total") > 0,
      ),
      tile("5xx responses", failed.toLocaleString(), failed > 0),
      tile("in flight", total(metrics, "retort_requests_in_flight").toLocaleString()),
      tile(
        "store failures",
        total(metrics, "retort_store_failures_total").toLocaleString(),
        total(metrics, "retort_store_failures_total") > 0,
      ),
    ),
    h(
      "div.cards",
      shares("Recommendations by source", sumBy(metrics, "retort_answers_total", "source")),
      shares(
        "Fallback reasons",
        sumBy(metrics, "retort_answers_total", "reason").filter(([reason]) => reason !== "none"),
      ),
      shares("Requests by status", sumBy(metrics, "retort_requests_total", "status")),
      shares("Events by type", sumBy(metrics, "retort_events_total", "type")),
    ),
    h(
      "div.cards.wide",
      latencies(metrics, "Latency by route, ms", "retort_request_seconds", "route"),
      latencies(metrics, "Latency by stage, ms", "retort_stage_seconds", "stage"),
    ),
    h(
      "p.hint",
      "Since the start of the server, over all workers, including the requests of this page. ",
      "Quantiles are estimated from histogram buckets; – where too few requests lie above one.",
    ),
  ];
}

const tile = (name, value, isWarning) => h(isWarning ? "div.tile.odd" : "div.tile", {}, h("b", value), h("span", name));

function shares(name, sums) {
  const all = sums.reduce((sum, [, value]) => sum + value, 0);
  return h(
    "article.card",
    h("h2", name),
    sums.length ? null : h("p.hint", "None yet."),
    h(
      "ul.shares",
      sums.map(([label, value]) => h("li", h("span", label), bar(value / all), h("b", value.toLocaleString()))),
    ),
  );
}

function latencies(metrics, name, metric, label) {
  const rows = sumBy(metrics, `${metric}_count`, label)
    .slice(0, 10)
    .map(([value, count]) => [
      value,
      count.toLocaleString(),
      ...[0.5, 0.95, 0.99].map((q) => (count * (1 - q) < 1 ? "–" : ms(quantile(metrics, metric, label, value, q)))),
    ]);
  return h(
    "article.card",
    h("h2", name),
    rows.length ? table([label, "count", "p50", "p95", "p99"], rows) : h("p.hint", "None yet."),
  );
}

byId("health-again").addEventListener("click", refresh);
setInterval(() => {
  if (byId("health-watch").checked && !byId("view-health").hidden && !document.hidden) refresh();
}, INTERVAL_MS);
