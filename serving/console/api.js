// The one door to the API: every route that the console asks, the key, and errors as what they say.
import { h } from "./dom.js";

const ROUTES = {
  recommend: ["POST", "/recommend"],
  event: ["POST", "/events"],
  history: ["GET", "/users/{user_id}/history"],
  known: ["GET", "/users/{user_id}"],
  profile: ["GET", "/users/{user_id}/profile"],
  erase: ["DELETE", "/users/{user_id}"],
  erasure: ["GET", "/users/{user_id}/erasure"],
  models: ["GET", "/models"],
  infer: ["POST", "/v2/models/{name}/versions/{version}/infer"],
  refreshes: ["GET", "/refreshes"],
  refresh: ["GET", "/refreshes/{refresh_id}"],
  cancel: ["POST", "/refreshes/{refresh_id}/cancel"],
  ready: ["GET", "/health/ready"],
  metrics: ["GET", "/metrics"],
};
const KEY = "retort-key";

/** An answer other than success; the message is the API's own sentence. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// A tab's own, gone with the tab; where the browser keeps nothing at all, gone with the page.
let key = "";
try {
  key = sessionStorage.getItem(KEY) ?? "";
} catch {
  /* kept in memory */
}

export const readKey = () => key;

export function keepKey(given) {
  key = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    /* kept in memory */
  }
}

/** The address of a route, relative to the page so that a proxy may put a prefix before both. */
function address(route, places) {
  const path = ROUTES[route][1].replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(places[name]));
  const url = new URL(path.slice(1), document.baseURI);
  url.hash = "";
  return url;
}

/** Ask a route. Places fill its path; a body is sent as JSON; the answer is JSON, or text where it is none. */
export async function call(route, { places = {}, body, quiet = [] } = {}) {
  for (const place of Object.values(places)) {
    // a browser would take them out of any address, however they are written
    if (place === "." || place === "..") throw new ApiError(422, `No address can hold the id “${place}”.`);
  }
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(address(route, places), {
      method: ROUTES[route][0],
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new ApiError(0, "The server does not answer.");
  }
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  if (response.ok) return isJson ? JSON.parse(text) : text;
  if (quiet.includes(response.status)) return null;
  throw new ApiError(response.status, (isJson && JSON.parse(text).detail) || response.statusText || "It failed.");
}

/** The same question as a line for a shell. The key is never in it. */
export function curlLine(route, body) {
  const quoted = `'${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  const door = key ? ` -H "authorization: Bearer $RETORT_API_KEY"` : "";
  return `curl -s ${address(route, {})}${door} -H 'content-type: application/json' -d ${quoted}`;
}

/** A sentence of the API, with what stands between backticks as code. */
const words = (sentence) =>
  h(
    "span",
    sentence.split("`").map((part, at) => (at % 2 ? h("code", part) : part)),
  );

/** An error as a sentence with its status, and for a key that will not do, what would. */
export function problem(error) {
  if (!(error instanceof ApiError)) throw error;
  const scope = error.status === 403 && /no (\w+) scope/.exec(error.message)?.[1];
  const advice =
    error.status === 401
      ? "Type a key at the top of the page and press Enter."
      : scope
        ? `Use a key that has the ${scope} scope; keys are made by retort-serve key.`
        : null;
  return h(
    "p.problem",
    { role: "alert" },
    error.status ? h("b", String(error.status)) : null,
    words(error.message),
    advice && h("span", advice),
  );
}
