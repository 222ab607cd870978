// Builds elements. Texts always become text nodes, because titles and profiles are untrusted.

/** h("p.hint", {id: "x", onclick}, "text", element, [more]); attributes are optional, null and false are left out. */
export function h(tag, ...children) {
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

export const byId = (id) => document.getElementById(id);

/** The address that opens a view: #items?id=i7. */
export const viewAddress = (view, parameters) => `#${view}?${new URLSearchParams(parameters)}`;

/** Replace the children of an element. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/** A table; cells may be elements. */
export function table(head, rows, caption) {
  return h(
    "div.scroll",
    { tabindex: "0" }, // keys scroll it where it is wider than the window
    h(
      "table",
      caption && h("caption", caption),
      h(
        "thead",
        h(
          "tr",
          head.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        rows.map((row) =>
          h(
            "tr",
            row.map((cell) => h("td", cell ?? "–")),
          ),
        ),
      ),
    ),
  );
}

/** A list of names and values; null and undefined values are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h(
    "dl.facts",
    known.map(([term, value]) => h("", h("dt", term), h("dd", value))),
  );
}

export function badge(kind, text, title) {
  return h(`span.badge.${kind}`, { title }, text);
}

/** A share as a bar. The policy forbids inline styles, so the width is set on the element. */
export function bar(share) {
  const filled = h("span.filled");
  filled.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span.meter", { "aria-hidden": "true" }, filled);
}

export const when = (time) => (time ? new Date(time).toLocaleString() : null);

export function copyButton(text) {
  const button = h("button.quiet", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // there is no clipboard outside a secure context
      button.textContent = "Select and copy the text";
    }
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
  return button;
}
