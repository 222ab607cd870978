// What a shop's server does with the client; compiled and run by test_typescript.py. Prints one JSON object.
import { createRetortClient, RetortProblem, unwrap, type Schemas } from "./index.js";

declare const process: { argv: string[] };
declare const console: { log(text: string): void };

const [, , baseUrl = "", apiKey = ""] = process.argv;
const client = createRetortClient(baseUrl, { apiKey });

const sent = await unwrap(
  client.POST("/events", {
    body: [
      { user_id: "ann", item_id: "i1", event_id: "e1" },
      { user_id: "ann", item_id: "i2", event_id: "e2", event_type: "purchase" },
    ],
  }),
);
const list = await unwrap(client.POST("/recommend", { body: { user_id: "ann", k: 3, fields: ["title"] } }));
const similar = await unwrap(client.GET("/similar/{item_id}", { params: { path: { item_id: "i1" }, query: { k: 2 } } }));

// @ts-expect-error a value of another type is refused by the compiler
void (() => client.POST("/recommend", { body: { user_id: 5 } }));
// @ts-expect-error and a field that the request does not have, where its type is named
void ({ user: "ann" } satisfies Schemas["RecommendRequest"]);
const wrong = client.POST("/recommend", { body: { user: "ann" } as Schemas["RecommendRequest"] });
const problem = await unwrap(wrong).catch((error: unknown) => error);

const stranger = createRetortClient(baseUrl);
const refused = await unwrap(stranger.POST("/recommend", { body: { user_id: "ann" } })).catch((error: unknown) => error);

console.log(
  JSON.stringify({
    stored: sent.accepted,
    source: list.source,
    items: list.items.map((item) => [item.item_id, item.fields?.["title"]]),
    similar: similar.items.length,
    problem: problem instanceof RetortProblem ? [problem.status, problem.message] : String(problem),
    refused: refused instanceof RetortProblem ? refused.status : String(refused),
  }),
);
