// Map view: all items as points, coloured by an attribute; hover names an item, a click opens it, search finds it.
import { ApiError, call, problem, words } from "./api.js";
import { knowledge } from "./answer.js";
import { byId, h, show, viewAddress } from "./dom.js";
import { titleOf } from "./items.js";
import { drawMarks, paletteOf } from "./marks.js";
import { attachNavigation, zoomMiddle } from "./navigation.js";
import { Points } from "./points.js";
import { suggestItems } from "./request_form.js";
import { typeahead } from "./typeahead.js";

const NAMED = 12; // values of an attribute that have a colour of their own
const REACH = 14; // pixels around the pointer
const CLOSE = 8; // zoom at which an item that was searched is shown
const canvas = byId("map");
const overlay = byId("map-marks");
const label = byId("map-label");
const attribute = byId("map-colour");
const state = { points: null, users: [], hovered: -1, chosen: -1 };
let facets = [];
let latest = 0; // number of the latest hover: a slow answer must not name an earlier point

export async function openMap(parameters) {
  try {
    if (!state.points) await load();
    resize();
    if (parameters.has("id")) await find(parameters.get("id"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    byId("map-frame").hidden = true;
    show(byId("map-state"), error.status === 404 ? h("p.card.empty", words(error.message)) : problem(error));
  }
}

/** Another key may belong to another tenant. */
export function forgetMap() {
  Object.assign(state, { points: null, users: [], hovered: -1, chosen: -1 });
  byId("map-users").checked = false;
}

async function load() {
  byId("map-frame").hidden = true;
  show(byId("map-state"), h("p.hint", "Loading the map …"));
  const [places, known] = await Promise.all([call("map"), call("facets")]);
  facets = known.facets.filter((facet) => facet.kind !== "text" || (facet.n_values > 1 && facet.values[0].items > 1));
  show(byId("map-state"));
  byId("map-frame").hidden = false;
  state.points = new Points(canvas, new Uint16Array(places));
  state.points.ondraw = () => drawMarks(overlay, state);
  byId("map-count").textContent =
    `${state.points.count.toLocaleString()} items. Near points are alike for the student; far ones need not differ.`;
  show(
    attribute,
    facets.map((facet) => h("option", { value: facet.name }, facet.name.replaceAll("_", " "))),
  );
  const first = facets.find((facet) => facet.kind === "text" && facet.n_values <= 40) ?? facets[0];
  if (first) attribute.value = first.name;
  await colour();
}

async function colour() {
  const { points } = state;
  const facet = facets.find(({ name }) => name === attribute.value);
  points.only = 0;
  if (!facet) return points.setColours(new Uint8Array(points.count), paletteOf(NAMED));
  const numbers = new Uint8Array(await call("colours", { query: { attribute: facet.name } }));
  const shades = facet.kind === "number" || facet.kind === "time";
  if (!shades) for (let at = 0; at < numbers.length; at++) if (numbers[at] > NAMED) numbers[at] = 0;
  points.setColours(numbers, { ...paletteOf(NAMED), shades });
  const others = facet.n_values - NAMED;
  show(
    byId("map-legend"),
    shades ? ramp(facet) : facet.values.slice(0, NAMED).map(legendEntry),
    !shades && others > 0 && h("li.hint", `${others.toLocaleString()} other values are grey.`),
  );
}

/** A value of the attribute; pressed, it alone has its colour. */
function legendEntry({ value, items }, at) {
  const press = () => {
    state.points.only = state.points.only === at + 1 ? 0 : at + 1;
    [...byId("map-legend").querySelectorAll("button")].forEach((button, place) =>
      button.setAttribute("aria-pressed", String(state.points.only === place + 1)),
    );
    state.points.draw();
  };
  const mark = h(`span.dot.hue${at}`, { "aria-hidden": "true" });
  return h(
    "li",
    h(
      "button.entry",
      { type: "button", "aria-pressed": "false", onclick: press },
      mark,
      h("bdi", String(value)),
      h("small", items.toLocaleString()),
    ),
  );
}

function ramp(facet) {
  const words = (value) => (typeof value === "string" ? value.slice(0, 10) : (value?.toLocaleString() ?? ""));
  return h(
    "li.ramp",
    h("span", words(facet.low)),
    h("span.gradient", { "aria-hidden": "true" }),
    h("span", words(facet.high)),
  );
}

function resize() {
  if (!state.points || byId("map-frame").hidden || byId("view-map").hidden) return;
  const box = canvas.parentElement.getBoundingClientRect();
  for (const layer of [canvas, overlay]) {
    layer.width = Math.round(box.width * devicePixelRatio);
    layer.height = Math.round(box.height * devicePixelRatio);
  }
  state.points.draw();
}

function userAt(px, py) {
  const distance = ({ x, y }) => {
    const [ux, uy] = state.points.toPixel(x, y);
    return Math.hypot(ux - px, uy - py);
  };
  return state.users.find((user) => distance(user) < 8 * devicePixelRatio);
}

async function hover(px, py, event) {
  const mine = ++latest;
  const user = userAt(px, py);
  const point = user ? -1 : state.points.nearest(px, py, REACH * devicePixelRatio);
  if (point !== state.hovered) {
    state.hovered = point;
    drawMarks(overlay, state);
  }
  canvas.classList.toggle("pointing", point >= 0 || Boolean(user));
  if (user) return name(event, user.user_id, user.theme ?? `user, by ${user.by}`);
  if (point < 0) {
    label.hidden = true;
    return undefined;
  }
  const { items } = await call("points", { query: { point } }).catch(() => ({ items: [] }));
  if (mine !== latest || !items.length) return undefined;
  return name(event, items[0].title ?? items[0].item_id, `${items[0].popularity.toLocaleString()} events`);
}

function name(event, title, hint) {
  const box = canvas.getBoundingClientRect();
  show(label, h("b", h("bdi", title)), h("small", h("bdi", hint)));
  label.hidden = false;
  label.style.left = `${Math.max(0, Math.min(event.clientX - box.left + 14, box.width - 220))}px`;
  label.style.top = `${event.clientY - box.top + 16}px`;
}

async function click(px, py) {
  const user = userAt(px, py);
  if (user) {
    location.hash = viewAddress("try", { user: user.user_id });
    return;
  }
  const point = state.points.nearest(px, py, REACH * devicePixelRatio);
  if (point < 0) return;
  try {
    const { items } = await call("points", { query: { point } });
    if (items.length) open(items[0].item_id);
  } catch (error) {
    show(byId("map-item"), problem(error));
  }
}

/** Show an item at the side; its point gets a ring. */
async function open(id) {
  try {
    const item = await call("item", { places: { item_id: id } });
    state.chosen = item.point;
    state.points.draw();
    show(
      byId("map-item"),
      h("h2", h("bdi", titleOf(item))),
      h("p.hint", h("code", h("bdi", id)), ` · ${item.popularity.toLocaleString()} events`),
      knowledge(item.fields),
      h(
        "p.actions",
        h("a.button", { href: viewAddress("try", { history: id }) }, "Try"),
        h("a", { href: viewAddress("items", { id }) }, "Details"),
      ),
    );
  } catch (error) {
    show(byId("map-item"), problem(error));
  }
}

async function find(id) {
  await open(id);
  if (state.chosen >= 0) state.points.lookAt(state.chosen, CLOSE);
}

/** How the shown users are placed. */
function placesOf(users) {
  if (!users.length) return "No user has a history of these items yet.";
  const byProfile = users.filter((user) => user.by === "profile").length;
  const rest = users.length - byProfile;
  return [
    byProfile && `${byProfile.toLocaleString()} among the items whose texts are nearest to their profile`,
    rest && `${rest.toLocaleString()} at a typical item of their history`,
  ]
    .filter(Boolean)
    .join(", ")
    .concat(byProfile ? "." : "; this bundle shows no profile of them.");
}

async function showUsers() {
  const isOn = byId("map-users").checked;
  try {
    state.users = isOn ? (await call("mapUsers")).users : [];
    show(byId("map-problem"), isOn && h("p.hint", placesOf(state.users)));
  } catch (error) {
    byId("map-users").checked = false;
    show(byId("map-problem"), problem(error));
  }
  state.points?.draw();
}

attachNavigation(canvas, () => state.points, { onhover: hover, onclick: click });
attribute.addEventListener("change", colour);
byId("map-users").addEventListener("change", showUsers);
byId("map-in").addEventListener("click", () => zoomMiddle(state.points, 1.6));
byId("map-out").addEventListener("click", () => zoomMiddle(state.points, 1 / 1.6));
byId("map-all").addEventListener("click", () => {
  state.points.home();
  state.points.draw();
});
typeahead(byId("map-find"), {
  find: suggestItems,
  take: (id) => {
    byId("map-find").value = "";
    find(id);
  },
});
addEventListener("resize", resize);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.points && colour());
