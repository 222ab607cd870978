// Models view, registry: versions in time, their difference from the champion, promotion and rollback.
import { ApiError, call, problem, words } from "./api.js";
import { interval, signed, timeline } from "./chart.js";
import { badge, byId, h, show, when } from "./dom.js";

const COMPARED = 12; // newest versions, one comparison each
const ALIAS = "champion";
const place = byId("versions");
let latest = 0;

export async function showVersions() {
  const mine = ++latest;
  try {
    const answer = await call("versions");
    if (mine !== latest) return;
    show(
      place,
      answer.versions.length
        ? registry(answer)
        : h(
            "p.card.empty",
            "No version is published yet: ",
            h("code", "retort run RECIPE --publish"),
            " publishes one.",
          ),
    );
    await compareAll(answer.versions, mine);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (mine !== latest) return;
    const isExpected = error.status === 403 || error.status === 503;
    const reason = error.status === 403 ? "Versions and promotions require a key with the admin scope." : error.message;
    show(place, isExpected ? h("p.card.hint", words(reason)) : problem(error));
  }
}

function registry({ versions, promotions }) {
  const metric = versions.flatMap((version) => Object.keys(version.test)).find((name) => name.startsWith("ndcg@"));
  const dots = versions
    .filter((version) => metric in version.test)
    .map((version) => ({
      time: Date.parse(version.created_at),
      value: version.test[metric],
      name: nameOf(version),
      group: version.name,
      isMarked: version.aliases.includes(ALIAS),
    }));
  return [
    dots.length > 1 &&
      h(
        "article.card",
        h("h2", "Versions in time", h("small", `${metric.toUpperCase()} of each version's own test`)),
        timeline(dots),
      ),
    h(
      "article.card",
      h("h2", "Versions", h("small", `difference from the ${ALIAS}, paired by user, with its 95 % interval`)),
      h(
        "ul.versions",
        versions.map((version) => row(version, metric)),
      ),
    ),
    promotions.length > 0 &&
      h("article.card", h("h2", "Promotions", rollbackButton(promotions)), h("ol.steps", promotions.map(historyRow))),
  ];
}

const nameOf = (version) => `${version.name}@${version.version}`;

function row(version, metric) {
  const outcome = h("div.outcome", { "aria-live": "polite" });
  return h(
    "li",
    { "data-bundle": version.bundle_id },
    h(
      "div.name",
      h("b", nameOf(version)),
      version.aliases.map((alias) => badge("good", alias)),
      h("small", `${when(version.created_at)} · `, h("code", version.bundle_id.slice(0, 8))),
    ),
    h("div.value", metric in version.test && [h("b", version.test[metric].toFixed(4)), h("small", metric.toUpperCase())]),
    h("div.delta"),
    h("div.act", !version.aliases.includes(ALIAS) && promoteButton(version, outcome)),
    outcome,
  );
}

/** One comparison after the other: each may take a second of the server. */
async function compareAll(versions, mine) {
  for (const version of versions.filter(({ aliases }) => !aliases.includes(ALIAS)).slice(0, COMPARED)) {
    const cell = place.querySelector(`[data-bundle="${version.bundle_id}"] .delta`);
    try {
      const verdict = await call("comparison", { query: { bundle_id: version.bundle_id, alias: ALIAS } });
      if (mine !== latest || !cell) return;
      show(cell, verdictView(verdict));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (cell) show(cell, h("small", error.message));
    }
  }
}

function verdictView(verdict) {
  const state = verdict.passed ? badge("good", "gate: passes") : badge("bad", "gate: refuses");
  if (verdict.metric === null) return [state, h("small", words(verdict.reason))];
  const share = (value) => value / verdict.champion;
  const [low, middle, high] = [verdict.low, verdict.challenger - verdict.champion, verdict.high];
  const kind = low > 0 ? "good" : high < 0 ? "bad" : "soft";
  const numbers = verdict.champion
    ? `${signed(share(middle))} [${signed(share(low))}, ${signed(share(high))}]`
    : verdict.reason;
  return [
    interval({ low, middle, high, kind }, Math.max(Math.abs(low), Math.abs(high))),
    h("span", numbers),
    state,
    h("small", `${verdict.users.toLocaleString()} users`),
  ];
}

function promoteButton(version, outcome) {
  const ask = () =>
    show(
      outcome,
      h(
        "div.bar",
        h("span", `${nameOf(version)} becomes the ${ALIAS} of every server.`),
        h("button.primary", { type: "button", onclick: () => promote(version, outcome) }, "Confirm"),
      ),
    );
  return h("button", { type: "button", onclick: ask }, "Promote");
}

/** Promote; if the gate refuses, show the form for a promotion by force. */
async function promote(version, outcome, forced = {}) {
  try {
    const moved = await call("promote", {
      places: { alias: ALIAS },
      body: { bundle_id: version.bundle_id, ...forced },
    });
    await showVersions();
    announce(`${moved.model} is the ${ALIAS}; servers follow within seconds.`);
  } catch (error) {
    show(outcome, problem(error), error.status === 409 && forceForm(version, outcome));
  }
}

function forceForm(version, outcome) {
  const reason = h("input", { name: "because", required: true, maxlength: 500, autocomplete: "off" });
  return h(
    "form.bar",
    {
      onsubmit: (event) => {
        event.preventDefault();
        promote(version, outcome, { force: true, because: reason.value.trim() });
      },
    },
    h("label", h("span", "Reason, stored with the promotion"), reason),
    h("button.danger", "Promote by force"),
  );
}

function rollbackButton(promotions) {
  const valid = promotions.filter((change) => change.alias === ALIAS && !change.withdrawn_at);
  if (valid.length < 2) return null;
  const target = valid[1].model;
  return h("button.aside", { type: "button", onclick: (event) => rollBack(event.currentTarget, target) }, "Roll back");
}

async function rollBack(button, target) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = `Confirm: ${ALIAS} returns to ${target}`;
    return;
  }
  try {
    const moved = await call("rollback", { places: { alias: ALIAS } });
    await showVersions();
    announce(`The ${ALIAS} is ${moved.model} again; servers follow within seconds.`);
  } catch (error) {
    show(byId("rolled"), problem(error));
  }
}

const announce = (sentence) => show(byId("rolled"), h("p.card.verdict", badge("good", "done"), h("span", sentence)));

/** A promotion in a list; more elements may follow its own. */
export const promotionRow = (change, ...more) =>
  h(
    "li",
    h("b", change.alias),
    " → ",
    h("span", change.model),
    change.withdrawn_at && badge("plain", "rolled back"),
    change.forced && badge("warn", "forced"),
    h("small", [when(change.set_at), change.set_by && `by ${change.set_by}`].filter(Boolean).join(" ")),
    more,
  );

const historyRow = (change) => promotionRow(change, change.reason && h("p.hint", change.reason));
