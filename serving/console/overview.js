// Overview: counts, where answers come from, click-through, latency, last promotions, sample users.
import { attempt, call, problem, words } from "./api.js";
import { percent, sparkline, stackedBar } from "./chart.js";
import { badge, byId, h, show, viewAddress } from "./dom.js";
import { quantile, readMetrics, sumBy, total } from "./prometheus.js";
import { promotionRow } from "./versions.js";

const INTERVAL_MS = 5000;
const KEPT = 60; // readings of the chart: five minutes
const USERS = 8;
const place = byId("overview");
let readings = [];
let timer = 0;

export function openOverview() {
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  const [models, metrics, versions, users, items] = await Promise.all([
    attempt(call("models")),
    attempt(call("metrics")),
    attempt(call("versions")),
    attempt(call("users", { query: { limit: USERS } })),
    attempt(call("search", { query: { limit: USERS } })),
  ]);
  if (models.error) {
    show(byId("overview-model"));
    return show(place, problem(models.error));
  }
  const live = models.answer.models.filter((model) => model.version);
  show(byId("overview-model"), live.length ? modelName(live[0]) : null);
  const counts = metrics.answer ? readMetrics(metrics.answer) : null;
  if (counts) remember(counts);
  show(
    place,
    live.length ? null : nothingLoaded(models.answer.models),
    tiles(live[0], counts, users.answer),
    h("div.cards.halves", sources(counts, metrics.error), traffic(counts), promotions(versions), samples(users, items)),
  );
  timer = setTimeout(refreshIfVisible, INTERVAL_MS);
}

function refreshIfVisible() {
  if (byId("view-overview").hidden) return;
  // a redraw would take the focus from a link
  if (document.hidden || place.contains(document.activeElement)) timer = setTimeout(refreshIfVisible, INTERVAL_MS);
  else refresh();
}

const modelName = (model) =>
  h("span", model.alias, " ", h("b", model.name), " ", h("code", { title: model.version }, model.version.slice(0, 8)));

function nothingLoaded(models) {
  const refused = models.find((model) => model.refusals.length)?.refusals.at(-1);
  return h(
    "p.card.verdict",
    badge("warn", "no bundle"),
    refused
      ? h("span", "The bundle was refused: ", words(refused.reason))
      : h(
          "span",
          "No bundle is loaded yet: train and publish one with ",
          h("code", "retort quickstart events.csv"),
          ".",
        ),
  );
}

/** Rates between two readings, because the counters only grow. */
function remember(metrics) {
  const now = { at: performance.now(), requests: total(metrics, "retort_requests_total") };
  const last = readings.at(-1);
  // a restarted server counts from zero
  if (last && now.requests >= last.requests) now.rate = (1000 * (now.requests - last.requests)) / (now.at - last.at);
  readings = [...readings, now].slice(-KEPT);
}

/** Lists that were shown, and clicks on them. */
function clickThrough(metrics) {
  const clicks = sumBy(metrics, "retort_exposed_events_total", "type").find(([type]) => type === "click")?.[1] ?? 0;
  return { lists: total(metrics, "retort_exposures_total"), clicks };
}

function tiles(model, metrics, users) {
  const answers = metrics && total(metrics, "retort_answers_total");
  const p99 = metrics && quantile(metrics, "retort_request_seconds", "route", "/recommend", 0.99);
  const student =
    metrics && (sumBy(metrics, "retort_answers_total", "source").find(([name]) => name === "student")?.[1] ?? 0);
  const { lists, clicks } = metrics ? clickThrough(metrics) : {};
  return h(
    "div.tiles",
    tile("items", model?.n_items?.toLocaleString()),
    tile("users with a history", users && `${users.known.toLocaleString()}${users.is_complete ? "" : "+"}`),
    tile("recommendations", answers?.toLocaleString()),
    tile("p99 of a request", p99 ? `${(1000 * p99).toFixed(p99 < 0.01 ? 1 : 0)} ms` : null),
    tile("answered by the student", answers ? percent(student / answers) : null),
    tile("click-through", lists ? percent(clicks / lists) : null),
  );
}

const tile = (name, value) => h("div.tile", h("b", value ?? "–"), h("span", name));

function sources(metrics, error) {
  const sums = metrics ? sumBy(metrics, "retort_answers_total", "source") : [];
  const { lists, clicks } = metrics ? clickThrough(metrics) : {};
  return h(
    "article.card",
    h("h2", "Sources of answers"),
    error && [problem(error), error.status === 404 && h("p.hint", "A proxy may block /metrics.")],
    sums.length
      ? stackedBar(sums)
      : metrics && h("p.hint", "No recommendation has been shown since the server started."),
    lists > 0 && h("p.hint", `${lists.toLocaleString()} lists shown, ${clicks.toLocaleString()} clicks on them.`),
  );
}

function traffic(metrics) {
  const rates = readings.filter((reading) => reading.rate !== undefined).map((reading) => reading.rate);
  const slow = metrics ? sumBy(metrics, "retort_request_seconds_count", "route").slice(0, 3) : [];
  return h(
    "article.card",
    h("h2", "Requests a second", h("small", "while this page is open")),
    rates.length > 1
      ? sparkline(rates, { label: "Requests a second", format: (rate) => rate.toFixed(rate < 10 ? 1 : 0) })
      : h("p.hint", "The chart begins after the second reading, five seconds from now."),
    slow.length > 0 &&
      h(
        "p.hint",
        "Most used: ",
        slow.map(([route, count], at) => [at ? ", " : "", h("code", route), ` ${count.toLocaleString()}`]),
      ),
  );
}

function promotions({ answer, error }) {
  const changes = (answer?.promotions ?? []).slice(0, 5);
  return h(
    "article.card",
    h("h2", "Last promotions", h("a.aside", { href: "#models" }, "All models")),
    error && refusal(error, "Promotions require"),
    answer &&
      !changes.length &&
      h("p.hint", "Nothing has been promoted yet: ", h("code", "retort promote"), " or the page Models does it."),
    changes.length > 0 &&
      h(
        "ol.steps",
        changes.map((change) => promotionRow(change)),
      ),
  );
}

/** A missing database or scope is a hint, because it is no fault of the server; other errors are shown as such. */
const refusal = (error, what) =>
  error.status === 403
    ? h("p.hint", `${what} a key with the admin scope.`)
    : error.status === 503
      ? h("p.hint", words(error.message))
      : problem(error);

function samples(users, items) {
  const ids = users.answer?.user_ids ?? [];
  const popular = items.answer?.items ?? [];
  return h(
    "article.card",
    h("h2", "Try it"),
    users.error && refusal(users.error, "Sample users require"),
    ids.length > 0 && [
      h("h3", "Users"),
      h(
        "p.chips",
        ids.map((id) => h("a.chip", { href: viewAddress("try", { user: id }) }, h("bdi", id))),
      ),
    ],
    users.answer &&
      !ids.length &&
      h("p.hint", "No user has a history yet: send events to ", h("code", "POST /events"), "."),
    popular.length > 0 && [
      h("h3", "Popular items"),
      h(
        "p.chips",
        popular.map((item) =>
          h("a.chip", { href: viewAddress("items", { id: item.item_id }) }, h("bdi", item.title ?? item.item_id)),
        ),
      ),
    ],
  );
}
