// Generates src/schema.ts from openapi.json. All error responses of an operation become one, the problem document.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const SOURCE = new URL("../../docs/reference/http/openapi.json", import.meta.url);
const TARGET = new URL("./src/schema.ts", import.meta.url);
const HEAD = "// Generated from openapi.json by `make typescript-client`; do not edit.\n/* eslint-disable */\n";
const OTHER_CLIENTS = /^\/v2(\/|$)/; // KServe has clients of its own

const document = JSON.parse(await readFile(SOURCE, "utf8"));
for (const path of Object.keys(document.paths)) {
  if (OTHER_CLIENTS.test(path)) delete document.paths[path];
}
for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
  const failed = Object.keys(operation.responses).filter((status) => Number(status) >= 400);
  const one = operation.responses[failed[0]];
  for (const status of failed) delete operation.responses[status];
  if (one) operation.responses.default = { description: "Problem", content: one.content };
  delete operation.description;
}
const types = await openapiTS(document, { excludeDeprecated: true, defaultNonNullable: false });
// What an operation does not have need not be listed.
const short = astToString(types)
  .replace(/^ +(get|put|post|delete|options|head|patch|trace|query|header|path|cookie)\?: never;\n/gm, "")
  .replace(/^ +parameters: \{\n +\};\n/gm, "")
  .replace(/^( +)/gm, (spaces) => " ".repeat(spaces.length / 2));
await writeFile(TARGET, HEAD + short);
