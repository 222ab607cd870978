// Ask, click, ask again: the recommender at work.
import { answerHead, answerList, leftOut, movesBetween, sameByCurl } from "./answer.js";
import { ApiError, call, problem } from "./api.js";
import {
  FieldError,
  dressForm,
  eventType,
  fillForm,
  formAddress,
  ids,
  readForm,
  setSubject,
  subject,
  subjectKind,
} from "./ask.js";
import { byId, h, show, when } from "./dom.js";
import { fieldNames, itemName, learnTitles, recommend } from "./items.js";

const NEWEST = 50;
const place = byId("answer");
let asked = 0; // a slow answer must not overwrite a later one
let last = null; // {kind, id, items, body} of the list on screen
let clicks = []; // of a session, whose stored history no route shows

/** Open the view; an address that names somebody is asked at once. */
export function openTry(parameters) {
  if (fillForm(parameters)) ask();
  else if (!last) welcome();
  hintAttributes();
}

function welcome() {
  show(
    place,
    h(
      "div.card.empty",
      h("h2", "Ask for somebody"),
      h(
        "p",
        "Type a user's id on the left. Click an item of the answer: the event is stored, the question asked again, " +
          "and the new list says what moved.",
      ),
      h("p", "No id at hand? Begin as a stranger, and click your way to a history of your own; it is stored nowhere."),
    ),
  );
  show(byId("history"), h("p.hint", "Whose history it is shows here."));
}

async function hintAttributes() {
  const names = await fieldNames().catch(() => []);
  byId("attributes").textContent = names.length ? `Items have: ${names.join(", ")}.` : "";
}

async function ask({ isAgain = false } = {}) {
  const mine = ++asked;
  place.setAttribute("aria-busy", "true");
  try {
    const body = readForm();
    history.replaceState(null, "", formAddress());
    const [kind, id] = [subjectKind(), subject()];
    const isSame = last?.kind === kind && (kind === "history" || last.id === id);
    if (!isSame) clicks = [];
    const answer = await recommend(body);
    await learnTitles(answer.items.flatMap((item) => (item.reason?.because ?? []).map((one) => one.item_id)));
    if (mine !== asked) return;
    const before = isAgain && isSame ? last.items : null;
    last = { kind, id, body, items: shownBy(answer) };
    showAnswer(answer, before);
    showHistory(mine);
  } catch (error) {
    if (mine !== asked) return;
    show(byId("history"));
    show(place, error instanceof FieldError ? h("p.problem", { role: "alert" }, error.message) : problem(error));
  } finally {
    if (mine === asked) place.removeAttribute("aria-busy");
  }
}

/** Each item remembers its list: events about it hand the list's impression back. */
const shownBy = (answer) => answer.items.map((item) => ({ ...item, impression: answer.impression }));

const verb = () => (last.kind === "history" ? "Add to the history:" : `Send ${eventType()}:`);

function showAnswer(answer, before) {
  const tops = rowTops();
  const moves = before && movesBetween(before, last.items);
  const list = answerList(last.items, { moves, onclick: click, verb: verb() });
  show(
    place,
    answerHead(answer),
    last.items.length ? list : h("p.card.empty", "The list is empty."),
    before && leftOut(before.slice(0, last.body.k), last.items),
    answer.next && moreButton(answer.next, list),
    sameByCurl(answer.asked),
  );
  byId("told").textContent = `${last.items.length} items, answered by ${answer.source}.`;
  if (!before) return;
  slide(list, tops);
  list.querySelector("button")?.focus({ preventScroll: true }); // the one that was pressed is gone
}

const rowTops = () =>
  new Map([...place.querySelectorAll("[data-item]")].map((row) => [row.dataset.item, row.offsetTop]));

/** Rows glide from where they stood, so that the eye can follow who moved. */
function slide(list, tops) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const row of list.children) {
    const from = tops.get(row.dataset.item);
    const start = from === undefined ? { opacity: 0 } : { transform: `translateY(${from - row.offsetTop}px)` };
    row.animate([start, {}], { duration: 350, easing: "ease-out" });
  }
}

function moreButton(token, list) {
  const button = h("button.more", { type: "button" }, "More");
  button.addEventListener("click", async () => {
    button.disabled = true;
    const mine = asked;
    try {
      const answer = await recommend({ ...last.body, next: token });
      if (mine !== asked) return;
      const items = shownBy(answer);
      last.items.push(...items);
      list.append(...answerList(items, { onclick: click, verb: verb() }).children);
      button.replaceWith(answer.next ? moreButton(answer.next, list) : h("p.hint", "That is all."));
    } catch (error) {
      button.replaceWith(problem(error));
    }
  });
  return button;
}

/** An event of whoever the list was made for, whatever has been typed since. */
async function click(item) {
  if (place.hasAttribute("aria-busy")) return; // a double click is one
  const { kind, id } = last;
  if (kind === "history") {
    setSubject(kind, [...last.body.history, item.item_id].join(", "));
  } else {
    place.setAttribute("aria-busy", "true");
    setSubject(kind, id);
    try {
      await call("event", { body: eventOf(item) });
    } catch (error) {
      place.prepend(problem(error));
      place.removeAttribute("aria-busy");
      return;
    }
    clicks.push({ item_id: item.item_id, time_ms: Date.now() });
  }
  ask({ isAgain: true });
}

function eventOf(item) {
  // named, so that a browser which sends it twice is counted once
  const event_id = `console-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const event = { event_id, [`${last.kind}_id`]: last.id, item_id: item.item_id, event_type: eventType() };
  // a list that was not shown cannot be clicked
  return last.body.dry_run ? event : { ...event, impression: item.impression };
}

async function showHistory(mine) {
  const panel = byId("history");
  const kind = subjectKind();
  try {
    let events = clicks;
    if (kind === "user") events = (await call("history", { places: { user_id: subject() } })).events;
    if (kind === "history") events = ids(subject()).map((id) => ({ item_id: id }));
    const newest = events.slice(-NEWEST).reverse();
    await learnTitles(newest.map((event) => event.item_id));
    if (mine !== asked) return;
    show(
      panel,
      h(
        "p.hint",
        {
          user: `${events.length} stored, newest first.`,
          history: "Stored nowhere; newest first.",
          session: "The API shows no session's history; these are the clicks of this page.",
        }[kind],
      ),
      h(
        "ol.events",
        newest.map((event) => h("li", { title: when(event.time_ms) }, itemName(event.item_id))),
      ),
      kind === "history" && events.length
        ? h("button.quiet", { type: "button", onclick: stranger }, "Start over")
        : null,
    );
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    show(panel, problem(error));
  }
}

function stranger() {
  setSubject("history", "");
  ask();
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("ask").addEventListener("input", dressForm);
byId("stranger").addEventListener("click", stranger);
