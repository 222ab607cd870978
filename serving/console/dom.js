// Builds elements. Texts become text nodes, always: titles and profiles are strangers' words.

/** h("p.hint", {id: "x", onclick}, "text", element, [more]); attributes may be missing, null and false are left out. */
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

/** Put these children in place of what the element holds. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/** A table whose cells may be elements. */
export function table(head, rows, caption) {
  return h(
    "div.scroll",
    h(
      "table",
      caption && h("caption", caption),
      h(
        "thead",
        h(
          "tr",
          head.map((one) => h("th", { scope: "col" }, one)),
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

/** Terms and what they are; pairs whose value is null or undefined are left out. */
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

/** A share of a whole as a bar; its width is data, so it is set on the element and not written as a style. */
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
      // no clipboard outside a secure context: the text stands there to be selected
      button.textContent = "Select it by hand";
    }
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
  return button;
}
