// Offline experiments as `retort experiment publish` stored them: paired differences from the baseline with intervals.
import { ApiError, call, problem } from "./api.js";
import { difference, forest, signed } from "./chart.js";
import { badge, byId, h, show, table, when } from "./dom.js";

const place = byId("offline");

/** Read the stored tables and show each; the newest is open. */
export async function refreshOffline() {
  try {
    const { experiments } = await call("offline");
    show(place, experiments.length ? experiments.map(experiment) : nothing());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // the A/B test above names the same problem
    show(place, error.status === 503 && problem(error));
  }
}

const nothing = () =>
  h(
    "div.card.empty",
    h("h2", "No offline experiment is published"),
    h(
      "p",
      h("code", "retort experiment publish NAME"),
      " stores the table of a finished experiment, such as ",
      h("code", "demo_objectives"),
      ", and this page shows it.",
    ),
  );

function experiment(found, number) {
  const base = found.rows.find((row) => row.is_baseline);
  const compared = found.rows.filter((row) => row.difference !== null);
  const students = new Set(found.rows.map((row) => row.student).filter(Boolean));
  const kind = compared.length ? found.metric.toUpperCase() : "no comparison yet";
  return h(
    "details.card.offline",
    { open: number === 0 },
    h(
      "summary",
      h("h3", found.description || found.name),
      h("small", `${kind}, published ${when(found.published_at)}`),
    ),
    h("p.hint", setting(found, base)),
    compared.length > 0 &&
      forest(
        compared.map((row) => line(row, found.expected_seeds, students.size > 1)),
        { label: `${found.name}: differences from ${base?.name ?? "the baseline"}` },
      ),
    h(
      "p.hint",
      "Differences are paired over users, in per cent of the baseline, with their 95 % interval. ",
      compared.some((row) => row.is_control) && "A grey row is a control: it knows less on purpose.",
    ),
    (found.missing.length > 0 || found.commits.length > 1) &&
      h("p.hint", badge("warn", found.missing.length ? "unfinished" : "mixed code"), ` ${gaps(found)}`),
    h(
      "details",
      h("summary", "Numbers"),
      table(
        ["row", "student", found.metric.toUpperCase(), "seeds", "users", "difference", "95 % interval", "p"],
        found.rows.map(numbers),
      ),
      h("pre", { tabindex: "0" }, `${found.command}   # code ${states(found.commits)}`),
    ),
  );
}

const PROTOCOLS = {
  held: "tested as trained (protocol held)",
  refit: "trained again on train and validation, then tested (protocol refit)",
};

const setting = (found, base) =>
  [
    base && `Baseline ${base.name}: ${score(base.value)}`,
    `${found.cases.toLocaleString()} users`,
    seeds(base?.seeds ?? 0, found.expected_seeds),
    PROTOCOLS[found.protocol] ?? `protocol ${found.protocol}`,
  ]
    .filter(Boolean)
    .join(" · ");

const gaps = ({ missing, commits }) =>
  [
    missing.length > 0 && `Not run yet: ${missing.join("; ")}.`,
    commits.length > 1 && "The runs were made by more than one state of the code.",
  ]
    .filter(Boolean)
    .join(" ");

const score = (value) => (value === null ? "–" : value.toFixed(4));
const seeds = (done, expected) =>
  done < expected ? `${done} of ${expected} seeds` : `${done} ${done === 1 ? "seed" : "seeds"}`;
const states = (commits) => commits.map((commit) => commit.slice(0, 16)).join(", ");

const line = (row, expectedSeeds, namesStudent) =>
  difference(
    h(
      "span",
      h("b", row.name),
      namesStudent && h("small", ` ${row.student}`),
      row.is_control && h("small", ` control${row.explains.length ? ` of ${row.explains.join(", ")}` : ""}`),
    ),
    [row.low, row.difference, row.high],
    { isSoft: row.is_control, words: row.seeds < expectedSeeds && `, ${seeds(row.seeds, expectedSeeds)}` },
  );

const numbers = (row) => [
  h("span", h("b", row.name), row.is_baseline && h("small", " baseline"), row.is_control && h("small", " control")),
  row.student,
  score(row.value),
  row.seeds,
  row.users?.toLocaleString(),
  row.difference === null ? null : signed(row.difference),
  row.difference === null ? null : `${signed(row.low)} to ${signed(row.high)}`,
  row.p === null ? null : row.p <= 0.0001 ? "≤ 0.0001" : row.p.toPrecision(2),
];
