// Try view: request recommendations, click an item, and see how the list changes.
import { answerHead, answerList, leftOut, movesBetween, sameByCurl, showUnknown } from "./answer.js";
import { ApiError, call, problem } from "./api.js";
import {
  FieldError,
  updateLabels,
  eventType,
  fillForm,
  formAddress,
  ids,
  readForm,
  setSubject,
  subject,
  subjectKind,
  suggestSubjects,
} from "./request_form.js";
import { byId, h, show, when } from "./dom.js";
import { openFilters } from "./filters.js";
import { isUnknownItem, itemName, loadTitles, recommend } from "./items.js";
import { joinedLists } from "./joined.js";

const NEWEST = 50;
const place = byId("answer");
let latest = 0; // number of the latest request: a slow response must not overwrite a later one
let last = null; // {kind, id, items, body} of the list on screen
let live = []; // models that serve
let clicks = []; // of a session, whose stored history no route shows

/** Open the view; an address with a user, session or history is requested at once. */
export function openTry(parameters) {
  if (fillForm(parameters)) request();
  else if (!last) welcome();
  openFilters();
  offerTwoModels();
}

function welcome() {
  show(
    place,
    h(
      "div.card.empty",
      h("h2", "Request recommendations"),
      h(
        "p",
        "Choose a user on the left. A click on an item stores an event and repeats the request; the new list " +
          "shows what has moved. Looking is not recorded.",
      ),
      h("p", "Without an id: choose “Given items” and click items to build a history that is not stored."),
    ),
  );
  show(byId("history"), h("p.hint", "The history is shown here."));
}

/** The button that compares; a server with one bundle has nothing to compare. */
async function offerTwoModels() {
  const { models } = await call("models").catch(() => ({ models: [] }));
  live = models.filter((model) => model.version);
  byId("two-models").hidden = live.length < 2;
}

/** The same history by two models; the stored history of a session cannot be read. */
async function compareModels() {
  const mine = ++latest;
  const [kind, id] = [subjectKind(), subject()];
  place.setAttribute("aria-busy", "true");
  try {
    if (kind === "session")
      throw new FieldError("The history of a session cannot be read: choose a user, or give items.");
    if (kind === "user" && !id) throw new FieldError("Enter a user id.");
    const stored = kind === "user" ? (await call("history", { places: { user_id: id } })).events : [];
    const items = kind === "user" ? stored.map((event) => event.item_id) : ids(id);
    const champion = live.filter((model) => model.alias === "champion");
    const pair = [...champion, ...live.filter((model) => model.alias !== "champion")].slice(0, 2);
    const lists = await joinedLists(pair, items, readForm().k);
    if (mine !== latest) return;
    place.parentElement.classList.add("wide");
    show(place, lists);
  } catch (error) {
    if (mine === latest) showError(error);
  } finally {
    if (mine === latest) place.removeAttribute("aria-busy");
  }
}

const showError = (error) =>
  show(place, error instanceof FieldError ? h("p.problem", { role: "alert" }, error.message) : problem(error));

async function request({ isAgain = false } = {}) {
  const mine = ++latest;
  place.setAttribute("aria-busy", "true");
  try {
    const body = readForm();
    history.replaceState(null, "", formAddress());
    const [kind, id] = [subjectKind(), subject()];
    const isSame = last?.kind === kind && (kind === "history" || last.id === id);
    if (!isSame) clicks = [];
    const answer = await recommend(body);
    await loadTitles(answer.items.flatMap((item) => (item.reason?.because ?? []).map((cause) => cause.item_id)));
    if (mine !== latest) return;
    const before = isAgain && isSame ? last.items : null;
    last = { kind, id, body, source: answer.source, items: shownBy(answer) };
    showAnswer(answer, before);
    showHistory(mine);
  } catch (error) {
    if (mine !== latest) return;
    show(byId("history"));
    showError(error);
  } finally {
    if (mine === latest) place.removeAttribute("aria-busy");
  }
}

/** Each item keeps the impression of its list, which events about it return. */
const shownBy = (answer) => answer.items.map((item) => ({ ...item, impression: answer.impression }));

const verb = () => (last.kind === "history" ? "Add to the history:" : `Send ${eventType()}:`);

function showAnswer(answer, before) {
  const tops = rowTops();
  const moves = before && movesBetween(before, last.items);
  place.parentElement.classList.remove("wide");
  const list = answerList(last.items, { moves, onclick: click, verb: verb() });
  show(
    place,
    answerHead(answer),
    last.items.length ? list : h("p.card.empty", "The list is empty."),
    before && leftOut(before.slice(0, last.body.k), last.items),
    answer.next && moreButton(answer.next, list),
    sameByCurl(answer.body),
  );
  byId("announcement").textContent = `${last.items.length} items, answered by ${answer.source}.`;
  if (!before && matchMedia("(max-width: 720px)").matches) place.scrollIntoView(); // below the form on a phone
  if (!before) return;
  slide(list, tops);
  list.querySelector("button")?.focus({ preventScroll: true }); // the pressed button no longer exists
}

const rowTops = () =>
  new Map([...place.querySelectorAll("[data-item]")].map((row) => [row.dataset.item, row.offsetTop]));

/** Animate the rows from their previous positions. */
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
    const mine = latest;
    try {
      const answer = await recommend({ ...last.body, next: token });
      if (mine !== latest) return;
      const items = shownBy(answer);
      last.items.push(...items);
      list.append(...answerList(items, { onclick: click, verb: verb() }).children);
      button.replaceWith(answer.next ? moreButton(answer.next, list) : h("p.hint", "There are no more items."));
    } catch (error) {
      button.replaceWith(problem(error));
    }
  });
  return button;
}

/** Send an event of the user of the list, even if the form has changed since. */
async function click(item) {
  if (place.hasAttribute("aria-busy")) return; // ignores the second click of a double click
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
  request({ isAgain: true });
}

function eventOf(item) {
  // with an id, so that an event that is sent twice counts once
  const event_id = `console-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const event = { event_id, [`${last.kind}_id`]: last.id, item_id: item.item_id, event_type: eventType() };
  // a dry run has no exposure
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
    await loadTitles(newest.map((event) => event.item_id));
    if (mine !== latest) return;
    const unknown = newest.filter((event) => isUnknownItem(event.item_id)).length;
    showUnknown(last.source, newest.length, unknown);
    show(
      panel,
      unknown
        ? h("p.hint", `The bundle does not have ${unknown} of these items; the student does not read them.`)
        : null,
      h(
        "p.hint",
        {
          user: `${events.length} stored, newest first.`,
          history: "Not stored; newest first.",
          session: "The API does not return session histories; these are the clicks of this page.",
        }[kind],
      ),
      h(
        "ol.events",
        newest.map((event) => h("li", { title: when(event.time_ms) }, itemName(event.item_id))),
      ),
      kind === "history" && events.length
        ? h("button.quiet", { type: "button", onclick: startEmpty }, "Start over")
        : null,
    );
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    show(panel, problem(error));
  }
}

function startEmpty() {
  setSubject("history", "");
  request();
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  request();
});
byId("ask").addEventListener("input", updateLabels);
byId("empty-history").addEventListener("click", startEmpty);
byId("two-models").addEventListener("click", compareModels);
suggestSubjects(request);
