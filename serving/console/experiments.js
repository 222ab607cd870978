// Experiments view: the A/B test of the server with counts, differences, intervals and days still needed; offline tables.
import { ApiError, call, problem } from "./api.js";
import { difference, forest } from "./chart.js";
import { badge, byId, facts, h, show, table, when } from "./dom.js";
import { refreshOffline } from "./offline.js";

const form = byId("experiment-form");
const place = byId("experiment");
const SPLIT_ALARM = 0.001;

export function openExperiments() {
  refresh();
  refreshOffline();
}

async function refresh() {
  const query = {
    event_type: form.elements.event_type.value.trim() || "click",
    effect: Number(form.elements.effect.value),
  };
  try {
    const { experiment } = await call("experiments", { query });
    form.hidden = experiment === null;
    show(place, experiment ? result(experiment) : nothing());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    form.hidden = true;
    show(
      place,
      error.status === 403 ? h("p.card.hint", "The result requires a key with the admin scope.") : problem(error),
    );
  }
}

const nothing = () =>
  h(
    "div.card.empty",
    h("h2", "No A/B test runs"),
    h(
      "p",
      "Set ",
      h("code", "RETORT_EXPERIMENT"),
      " to a file that names the variants and their shares, and start the server again.",
    ),
  );

const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;

function result(test) {
  const control = test.variants[0];
  const others = test.variants.slice(1).filter((variant) => variant.difference !== null);
  const since = test.since
    ? `since ${when(test.since)}, by user, from the database`
    : "since this server started, from its metrics";
  return [
    test.split_p !== null && test.split_p < SPLIT_ALARM && splitAlarm(test),
    h(
      "article.card",
      h("h2", test.name, h("small", since)),
      control?.rate
        ? others.length
          ? forest(
              others.map((variant) => row(variant, control)),
              { label: `Difference from ${control.name}` },
            )
          : h("p.hint", "No other variant has been shown yet.")
        : h(
            "p.hint",
            `${control?.name ?? "The control"} has no ${test.event_type} yet: a difference in per cent requires some.`,
          ),
      h(
        "p.hint",
        `Difference of the rate of lists with a ${test.event_type} from “${control?.name}”, with its 95 % interval. `,
        test.unit === "lists" &&
          "Lists are counted as independent, so the intervals are somewhat too narrow; with Redis and the drained tables, users are the units.",
      ),
    ),
    h(
      "article.card",
      h("h2", "Counts"),
      table(
        ["variant", "share", "users", "lists", `${test.event_type}s`, "rate", "95 % interval", "days still needed"],
        test.variants.map(counts),
      ),
    ),
    test.shadow && shadow(test.shadow),
  ];
}

const splitAlarm = (test) =>
  h(
    "p.card.verdict",
    badge("bad", "split"),
    h(
      "span",
      `Users are not split by the shares (p = ${test.split_p.toExponential(1)}): find the reason before you read the differences.`,
    ),
  );

function row(variant, control) {
  const share = (value) => value / control.rate;
  const isHoldout = variant.name === "holdout";
  return difference(
    h("span", h("b", variant.name), isHoldout && h("small", " popular items")),
    [variant.difference_low, variant.difference, variant.difference_high].map(share),
    { isSoft: isHoldout },
  );
}

const counts = (variant) => [
  h("span", h("b", variant.name), variant.alias && h("small", ` ${variant.alias}`)),
  percent(variant.share, 0),
  variant.users?.toLocaleString(),
  variant.lists.toLocaleString(),
  variant.clicks.toLocaleString(),
  variant.rate === null ? null : percent(variant.rate),
  variant.rate === null ? null : `${percent(variant.low)} to ${percent(variant.high)}`,
  days(variant),
];

function days({ days_needed: needed, difference: measured }) {
  if (measured === null) return null;
  if (needed === null) return "not known yet";
  if (needed === 0) return badge("good", "enough");
  return needed < 1 ? "less than 1" : needed > 9999 ? "more than 9,999" : Math.ceil(needed).toLocaleString();
}

const shadow = (found) =>
  h(
    "article.card",
    h("h2", "Shadow", h("small", "answers in the background; nobody sees it")),
    facts([
      ["alias", found.alias],
      ["share of users", percent(found.share, 0)],
      ["lists compared", found.compared.toLocaleString()],
      ["items in common", found.overlap === null ? null : percent(found.overlap, 0)],
    ]),
  );

form.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
form.elements.effect.addEventListener("change", refresh);
