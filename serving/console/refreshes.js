// How far refreshes of profiles are, and calling one off.
import { call, problem } from "./api.js";
import { badge, bar, byId, facts, h, show, when } from "./dom.js";

const UNFINISHED = ["asked", "pending", "running"];
const AGAIN_MS = 5000;
const KINDS = { done: "good", running: "good", failed: "bad" };
let timer = 0;

export function openRefreshes() {
  look();
}

async function look() {
  clearTimeout(timer);
  try {
    const { refreshes } = await call("refreshes");
    show(
      byId("refreshes"),
      refreshes.length
        ? h("div.cards.wide", refreshes.map(card))
        : h(
            "p.card.empty",
            "No refresh is known. The first of a name is started by ",
            h("code", "retort refresh start"),
            ".",
          ),
    );
    if (refreshes.some((one) => UNFINISHED.includes(one.status))) timer = setTimeout(lookWhileSeen, AGAIN_MS);
  } catch (error) {
    show(byId("refreshes"), problem(error));
  }
}

function lookWhileSeen() {
  if (!byId("view-refreshes").hidden && !document.hidden) look();
}

function card(one) {
  const share = one.users ? one.users_done / one.users : 0;
  const outcome = h("div", { "aria-live": "polite" });
  return h(
    "article.card",
    h("h2", one.name, badge(KINDS[one.status] ?? "plain", one.status)),
    h(
      "p.progress",
      bar(share),
      h(
        "span",
        one.status === "asked"
          ? "no worker has taken it up yet"
          : `${one.users_done.toLocaleString()} of ${one.users.toLocaleString()} users`,
      ),
    ),
    one.error && h("p.problem", one.error),
    facts([
      ["texts written", one.written],
      ["found ready", one.reused],
      ["failed", one.failed],
      ["tokens", (one.prompt_tokens + one.completion_tokens).toLocaleString()],
      ["cost", one.cost_usd ? `$${one.cost_usd.toFixed(2)}` : null],
      [
        "budget",
        one.budget_usd ? `$${one.budget_usd}` : one.budget_tokens && `${one.budget_tokens.toLocaleString()} tokens`,
      ],
      ["users a second", one.users_per_s ? one.users_per_s.toFixed(1) : null],
      ["time left", one.seconds_left === null ? null : `${Math.ceil(one.seconds_left / 60)} min`],
      ["started", when(one.started_at ?? one.created_at)],
      ["ended", when(one.ended_at)],
    ]),
    h("p", h("code", one.id)),
    outcome,
    h(
      "div.bar",
      h("button.quiet", { type: "button", onclick: () => why(one.id, outcome) }, "Why users have none"),
      UNFINISHED.includes(one.status) &&
        h("button.danger", { type: "button", onclick: (event) => callOff(event.target, one.id, outcome) }, "Cancel"),
    ),
  );
}

async function why(id, outcome) {
  try {
    const { problems } = await call("refresh", { places: { refresh_id: id } });
    const found = Object.entries(problems);
    show(
      outcome,
      found.length ? facts(found) : h("p.hint", "No user is without a profile for a reason that was noted."),
    );
  } catch (error) {
    show(outcome, problem(error));
  }
}

/** Asked twice: the first press says what the second will do. */
async function callOff(button, id, outcome) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = "Really cancel? What was written is kept";
    return;
  }
  try {
    await call("cancel", { places: { refresh_id: id } });
    look();
  } catch (error) {
    show(outcome, problem(error));
  }
}

byId("refreshes-again").addEventListener("click", look);
