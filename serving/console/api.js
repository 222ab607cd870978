// API client of the console: routes, key and errors.
import { h } from "./dom.js";

const ROUTES = {
  recommend: ["POST", "/recommend"],
  event: ["POST", "/events"],
  users: ["GET", "/users"],
  search: ["GET", "/items"],
  item: ["GET", "/items/{item_id}"],
  similar: ["GET", "/similar/{item_id}"],
  facets: ["GET", "/facets"],
  map: ["GET", "/map"],
  colours: ["GET", "/map/colours"],
  points: ["GET", "/map/items"],
  mapUsers: ["GET", "/map/users"],
  history: ["GET", "/users/{user_id}/history"],
  known: ["GET", "/users/{user_id}"],
  profile: ["GET", "/users/{user_id}/profile"],
  erase: ["DELETE", "/users/{user_id}"],
  erasure: ["GET", "/users/{user_id}/erasure"],
  models: ["GET", "/models"],
  experiments: ["GET", "/experiments"],
  offline: ["GET", "/experiments/offline"],
  versions: ["GET", "/models/versions"],
  comparison: ["GET", "/models/comparison"],
  promote: ["POST", "/models/aliases/{alias}/promotion"],
  rollback: ["POST", "/models/aliases/{alias}/rollback"],
  infer: ["POST", "/v2/models/{name}/versions/{version}/infer"],
  refreshes: ["GET", "/refreshes"],
  refresh: ["GET", "/refreshes/{refresh_id}"],
  cancel: ["POST", "/refreshes/{refresh_id}/cancel"],
  ready: ["GET", "/health/ready"],
  metrics: ["GET", "/metrics"],
};
const KEY = "retort-key";

/** An error response; the message is the detail of its problem document. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Stored for this tab; in memory only when the browser stores nothing.
let key = "";
try {
  key = sessionStorage.getItem(KEY) ?? "";
} catch {
  /* in memory only */
}

export const readKey = () => key;

export function storeKey(value) {
  key = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    /* in memory only */
  }
}

/** The address of a route, relative to the page, so that a proxy may add a prefix. */
function address(route, places, query = {}) {
  const path = ROUTES[route][1].replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(places[name]));
  const url = new URL(path.slice(1), document.baseURI);
  url.hash = "";
  url.search = new URLSearchParams(Object.entries(query));
  return url;
}

/** Call a route. Places fill its path, the body is sent as JSON.
 * Returns JSON, an ArrayBuffer for binary data, or text for other media types. */
export async function call(route, { places = {}, query, body, quiet = [] } = {}) {
  for (const place of Object.values(places)) {
    // browsers remove these path segments, even encoded ones
    if (place === "." || place === "..") throw new ApiError(422, `A path cannot hold the id “${place}”.`);
  }
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(address(route, places, query), {
      method: ROUTES[route][0],
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    document.dispatchEvent(new Event("server-down"));
    throw new ApiError(0, "The server is down.");
  }
  if (key) document.dispatchEvent(new CustomEvent("key-checked", { detail: response.status !== 401 }));
  const type = response.headers.get("content-type") ?? "";
  if (response.ok && type.includes("octet-stream")) return response.arrayBuffer();
  const text = await response.text();
  const isJson = /json/.test(type);
  if (response.ok) return isJson ? JSON.parse(text) : text;
  if (quiet.includes(response.status)) return null;
  throw new ApiError(
    response.status,
    (isJson && JSON.parse(text).detail) || response.statusText || "The request failed.",
  );
}

/** The answer or the ApiError of a call, as {answer} or {error}. */
export const attempt = (promise) =>
  promise.then(
    (answer) => ({ answer }),
    (error) => {
      if (!(error instanceof ApiError)) throw error;
      return { error };
    },
  );

/** The same request as a curl command, without the key. */
export function curlLine(route, body) {
  const quoted = `'${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  const header = key ? ` -H "authorization: Bearer $RETORT_API_KEY"` : "";
  return `curl -s ${address(route, {})}${header} -H 'content-type: application/json' -d ${quoted}`;
}

/** A message of the API, with text in backticks as code. */
export const words = (sentence) =>
  h(
    "span",
    sentence.split("`").map((part, at) => (at % 2 ? h("code", part) : part)),
  );

/** An error with its status and, for a wrong key, a remedy. */
export function problem(error) {
  if (!(error instanceof ApiError)) throw error;
  const scope = error.status === 403 && /no (\w+) scope/.exec(error.message)?.[1];
  const advice =
    error.status === 401
      ? key
        ? "The key that you entered is not one of this server; correct it at the top of the page and press Enter."
        : "Enter a key at the top of the page and press Enter."
      : scope
        ? `Use a key that has the ${scope} scope; create one with retort-serve key.`
        : null;
  return h(
    "p.problem",
    { role: "alert" },
    error.status ? h("b", String(error.status)) : null,
    words(error.message),
    advice && h("span", advice),
  );
}
