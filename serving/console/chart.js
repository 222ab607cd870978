// Small charts as SVG: a line over time with a reading under the pointer, a stacked bar, and intervals.
import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element; like h(), without classes in the name. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** A share in per cent, with a decimal below 10 %. */
export const percent = (share) => `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;

/** A relative difference in per cent, with its sign. */
export const signed = (share) => `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(100 * share).toFixed(1)} %`;

const [WIDTH, HEIGHT] = [600, 120];

/** A line with its area. values: numbers; names: text of each, shown under the pointer. */
export function sparkline(values, { label, names = [], format = String }) {
  const highest = Math.max(...values, 1e-9);
  const x = (at) => (values.length > 1 ? (at * WIDTH) / (values.length - 1) : WIDTH / 2);
  const y = (value) => HEIGHT - 4 - ((HEIGHT - 12) * value) / highest;
  const line = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const dot = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const words = h("output.reading", `${format(values.at(-1))}${names.length ? ` · ${names.at(-1)}` : ""}`);
  const picture = svg(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${label}: from ${format(Math.min(...values))} to ${format(highest)}, last ${format(values.at(-1))}`,
    },
    svg("polygon", { class: "area", points: `0,${HEIGHT} ${line} ${WIDTH},${HEIGHT}` }),
    svg("polyline", { class: "line", points: line }),
    dot,
  );
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = Math.round(((event.clientX - box.left) / box.width) * (values.length - 1));
    if (!(at in values)) return;
    dot.setAttribute("visibility", "visible");
    for (const end of ["x1", "x2"]) dot.setAttribute(end, x(at));
    words.textContent = [format(values[at]), names[at]].filter(Boolean).join(" · ");
  });
  picture.addEventListener("pointerleave", () => dot.setAttribute("visibility", "hidden"));
  return h("div.sparked", picture, words);
}

/** Shares of a whole as one bar with a legend. sums: [[name, value], …]. */
export function stackedBar(sums) {
  const all = sums.reduce((sum, [, value]) => sum + value, 0);
  const part = ([name, value], at) => {
    const element = h(`span.part.hue${at % 8}`, { title: `${name}: ${value.toLocaleString()}` });
    element.style.flexGrow = String(value); // the policy forbids inline styles in the page, not in scripts
    return element;
  };
  return h(
    "div",
    h("div.stacked", { "aria-hidden": "true" }, sums.map(part)),
    h(
      "ul.legend",
      sums.map(([name, value], at) =>
        h(
          "li",
          h(`span.dot.hue${at % 8}`, { "aria-hidden": "true" }),
          h("span", name.replaceAll("_", " ")),
          h("b", value.toLocaleString()),
          h("small", percent(value / all)),
        ),
      ),
    ),
  );
}

/** A 95 % interval around its middle with 0 marked; reach: the largest value on the axis, to both sides. */
export function interval({ low, middle, high, kind }, reach) {
  const x = (value) => 100 * (0.5 + value / (2.2 * Math.max(reach, 1e-12)));
  return svg(
    "svg",
    { class: `interval ${kind}`, viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 16 }),
    svg("line", { class: "span", x1: x(low), x2: x(high), y1: 8, y2: 8 }),
    svg("line", { class: "middle", x1: x(middle), x2: x(middle), y1: 3, y2: 13 }),
  );
}

/** A relative difference as a row of `forest`; words follow its numbers. An isSoft row is grey. */
export const difference = (name, [low, middle, high], { isSoft, words }) => ({
  name,
  low,
  middle,
  high,
  kind: isSoft ? "soft" : low > 0 ? "good" : high < 0 ? "bad" : "plain",
  words: h(
    "span",
    h("b", signed(middle)),
    ` [${signed(low)}, ${signed(high)}]`,
    low > 0 || high < 0 ? "" : " not significant",
    words,
  ),
});

/** Intervals on one axis. rows: [{name, low, middle, high, kind, words}]; kind: good, bad, soft or plain. */
export function forest(rows, { label }) {
  const reach = Math.max(
    ...rows
      .flatMap((row) => [row.low, row.high])
      .filter(Number.isFinite)
      .map(Math.abs),
    1e-12,
  );
  return h(
    "ul.forest",
    { "aria-label": label },
    rows.map((row) => h(`li.${row.kind}`, h("span.name", row.name), interval(row, reach), h("span.words", row.words))),
  );
}

/** Values in time as dots, joined within a group; the marked ones are larger. dots: [{time, value, name, group, isMarked}]. */
export function timeline(dots) {
  const sorted = [...dots].sort((a, b) => a.time - b.time);
  const [first, last] = [sorted[0].time, sorted.at(-1).time];
  const values = sorted.map((dot) => dot.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (dot, at) =>
    2 + 96 * (last > first ? (dot.time - first) / (last - first) : at / Math.max(sorted.length - 1, 1));
  const y = (dot) => (high > low ? 88 - (76 * (dot.value - low)) / (high - low) : 50);
  const groups = Map.groupBy ? [...Map.groupBy(sorted, (dot) => dot.group).values()] : [sorted];
  const corner = (dot) => `${x(dot, sorted.indexOf(dot)).toFixed(2)},${y(dot).toFixed(2)}`;
  const lines = groups.map((group) => svg("polyline", { class: "line", points: group.map(corner).join(" ") }));
  const mark = (dot, at) => {
    const words = `${dot.name}: ${dot.value.toFixed(4)}, ${new Date(dot.time).toLocaleString()}`;
    const element = h(dot.isMarked ? "span.point.marked" : "span.point", { title: words });
    element.style.left = `${x(dot, at)}%`;
    element.style.top = `${y(dot)}%`;
    return element;
  };
  return h(
    "div",
    h(
      "div.timeline",
      { role: "img", "aria-label": `${sorted.length} versions from ${low.toFixed(4)} to ${high.toFixed(4)}` },
      svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, lines),
      sorted.map(mark),
    ),
    h("p.axis.hint", h("span", dayOrTime(first, last)), h("span", dayOrTime(last, first))),
  );
}

/** The day, or the time of day where the other end of the axis is on the same day. */
function dayOrTime(end, other) {
  const [day, otherDay] = [end, other].map((time) => new Date(time).toLocaleDateString());
  return day === otherDay ? new Date(end).toLocaleTimeString() : day;
}
