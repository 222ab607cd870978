// Refreshes view: progress and cancellation of refreshes of profiles.
import { call, problem } from "./api.js";
import { badge, bar, byId, facts, h, show, when } from "./dom.js";

const UNFINISHED = ["asked", "pending", "running"];
const INTERVAL_MS = 5000;
const KINDS = { done: "good", running: "good", failed: "bad" };
let timer = 0;

export function openRefreshes() {
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  try {
    const { refreshes } = await call("refreshes");
    show(
      byId("refreshes"),
      refreshes.length
        ? h("div.cards.wide", refreshes.map(card))
        : h(
            "p.card.empty",
            "There is no refresh. Start the first one of a name with ",
            h("code", "retort refresh start"),
            ".",
          ),
    );
    if (refreshes.some((job) => UNFINISHED.includes(job.status))) timer = setTimeout(refreshIfVisible, INTERVAL_MS);
  } catch (error) {
    show(byId("refreshes"), problem(error));
  }
}

function refreshIfVisible() {
  if (!byId("view-refreshes").hidden && !document.hidden) refresh();
}

function card(job) {
  const share = job.users ? job.users_done / job.users : 0;
  const outcome = h("div", { "aria-live": "polite" });
  return h(
    "article.card",
    h("h2", job.name, badge(KINDS[job.status] ?? "plain", job.status)),
    h(
      "p.progress",
      bar(share),
      h(
        "span",
        job.status === "asked"
          ? "not started by a worker yet"
          : `${job.users_done.toLocaleString()} of ${job.users.toLocaleString()} users`,
      ),
    ),
    job.error && h("p.problem", job.error),
    facts([
      ["texts written", job.written],
      ["reused", job.reused],
      ["failed", job.failed],
      ["tokens", (job.prompt_tokens + job.completion_tokens).toLocaleString()],
      ["cost", job.cost_usd ? `$${job.cost_usd.toFixed(2)}` : null],
      [
        "budget",
        job.budget_usd ? `$${job.budget_usd}` : job.budget_tokens && `${job.budget_tokens.toLocaleString()} tokens`,
      ],
      ["users per second", job.users_per_s ? job.users_per_s.toFixed(1) : null],
      ["time left", job.seconds_left === null ? null : `${Math.ceil(job.seconds_left / 60)} min`],
      ["started", when(job.started_at ?? job.created_at)],
      ["ended", when(job.ended_at)],
    ]),
    h("p", h("code", job.id)),
    outcome,
    h(
      "div.bar",
      h("button.quiet", { type: "button", onclick: () => showFailures(job.id, outcome) }, "Show failures"),
      UNFINISHED.includes(job.status) &&
        h("button.danger", { type: "button", onclick: (event) => cancel(event.target, job.id, outcome) }, "Cancel"),
    ),
  );
}

async function showFailures(id, outcome) {
  try {
    const { problems } = await call("refresh", { places: { refresh_id: id } });
    const found = Object.entries(problems);
    show(
      outcome,
      found.length ? facts(found) : h("p.hint", "No failure is recorded."),
    );
  } catch (error) {
    show(outcome, problem(error));
  }
}

/** Cancel after a second press that confirms it. */
async function cancel(button, id, outcome) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = "Confirm: cancel and keep written profiles";
    return;
  }
  try {
    await call("cancel", { places: { refresh_id: id } });
    refresh();
  } catch (error) {
    show(outcome, problem(error));
  }
}

byId("refreshes-again").addEventListener("click", refresh);
