// Entry point: opens the view named by the fragment of the address, and stores the key.
import { storeKey, readKey } from "./api.js";
import { openItems } from "./browse.js";
import { badge, byId, show } from "./dom.js";
import { openExperiments } from "./experiments.js";
import { forgetFilters } from "./filters.js";
import { openHealth, stateBadge } from "./health.js";
import { clearItems } from "./items.js";
import { forgetMap, openMap } from "./map.js";
import { openModels } from "./models.js";
import { openOverview } from "./overview.js";
import { openRefreshes } from "./refreshes.js";
import { openTry } from "./try.js";
import { openUser } from "./user.js";

const VIEWS = {
  overview: openOverview,
  try: openTry,
  items: openItems,
  map: openMap,
  models: openModels,
  experiments: openExperiments,
  user: openUser,
  refreshes: openRefreshes,
  health: openHealth,
};

function open() {
  const [, named, query] = /^#?([a-z]*)\??(.*)$/s.exec(location.hash) ?? [];
  const view = named in VIEWS ? named : "overview";
  for (const name of Object.keys(VIEWS)) byId(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  VIEWS[view](new URLSearchParams(query));
}

byId("key").value = readKey();
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  storeKey(byId("key").value.trim());
  byId("key").removeAttribute("aria-invalid");
  show(byId("key-state"));
  clearItems();
  forgetFilters();
  forgetMap();
  open();
});
addEventListener("hashchange", open);
// /health/ready requires no key, so that only the field shows whether the key is right
document.addEventListener("key-checked", ({ detail: isKnown }) => {
  byId("key").setAttribute("aria-invalid", String(!isKnown));
  show(byId("key-state"), isKnown ? null : badge("bad", "unknown key"));
});
document.addEventListener("server-down", () => show(byId("state"), badge("bad", "no answer")));
open();
show(byId("state"), await stateBadge());
