// Typed client of a Retort server: openapi-fetch over the types that openapi.json gives.
import createClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";
export type Schemas = components["schemas"];
export type RetortClient = Client<paths>;

/** An error response; `problem` is its RFC 9457 document. */
export class RetortProblem extends Error {
  constructor(
    readonly status: number,
    readonly problem: unknown,
  ) {
    const detail = (problem as { detail?: unknown } | null)?.detail;
    super(typeof detail === "string" ? detail : `the server answered ${status}`);
    this.name = "RetortProblem";
  }
}

/** Create a client. `apiKey` is required if the server has API keys; keep it out of browsers. */
export function createRetortClient(baseUrl: string, options: ClientOptions & { apiKey?: string } = {}): RetortClient {
  const { apiKey, headers, ...rest } = options;
  const authorization = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  return createClient<paths>({ ...rest, baseUrl, headers: { ...authorization, ...(headers as Record<string, string>) } });
}

/** Return the data of an answer, or throw its problem: `await unwrap(client.POST("/recommend", { body }))`. */
export async function unwrap<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (data === undefined || error !== undefined) throw new RetortProblem(response.status, error ?? null);
  return data;
}
