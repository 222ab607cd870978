// Suggestions under a text field: arrow keys choose, Enter takes, Escape closes (ARIA combobox with a list).
import { h, show } from "./dom.js";

const DELAY_MS = 120;
let lists = 0;

/** find(text) resolves to [{value, label, hint}], and take(value) is called with the chosen one. */
export function typeahead(input, { find, take }) {
  const list = h("ul.suggestions", {
    id: `suggestions-${++lists}`,
    role: "listbox",
    "aria-label": "Suggestions",
    hidden: true,
  });
  input.parentElement.classList.add("suggesting");
  input.after(list);
  const attributes = {
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  let [active, options, timer, latest] = [-1, [], 0, 0];

  function close() {
    latest++;
    clearTimeout(timer);
    list.hidden = true;
    [active, options] = [-1, []];
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(position) {
    active = position;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    const option = list.children[active];
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    return option.scrollIntoView({ block: "nearest" });
  }

  function choose(option) {
    close();
    take(option.value);
  }

  async function suggest() {
    const mine = ++latest;
    let found = [];
    try {
      found = await find(input.value);
    } catch {
      // a key without the scope has no suggestions; the request itself says what is wrong
    }
    if (mine !== latest || document.activeElement !== input) return;
    options = found;
    show(
      list,
      found.map((option, at) =>
        h(
          "li",
          {
            id: `${list.id}-${at}`,
            role: "option",
            "aria-selected": "false",
            onmousedown: (event) => event.preventDefault(), // the field keeps the focus
            onclick: () => choose(option),
          },
          h("bdi", option.label),
          option.hint && h("small", option.hint),
        ),
      ),
    );
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    mark(-1);
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(suggest, DELAY_MS);
  }

  input.addEventListener("input", later);
  input.addEventListener("focus", later);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown") mark((active + 1) % options.length);
    else if (event.key === "ArrowUp") mark((active <= 0 ? options.length : active) - 1);
    else if (event.key === "Enter" && active >= 0) choose(options[active]);
    else return;
    event.preventDefault();
  });
}
