/** The list of RPCs in docs/compatibility.md is true: it names every method, and says of each whether it is there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RPCS } from "../../actors/proxy/grpc/server.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";
import { type GrpcCaller, METHODS, statusIn } from "./call.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";

const UNIMPLEMENTED = 10;
/** Of the call itself, for those whose reply has no place for a status. */
const WIRE_UNIMPLEMENTED = 12;

let node: GrpcNode;
let caller: GrpcCaller;

beforeAll(async () => {
  node = await startGrpcNode();
  ({ caller } = node);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

/** Method to "yes", "differs" or "unimplemented", in the order of the document. */
function documented(): [string, string][] {
  const document = readFileSync(join(PROJECT_FOLDER, "docs/compatibility.md"), "utf8");
  const section = document.split("\n## gRPC\n")[1]!.split("\n## ")[0]!;
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) => {
    const [names, answer] = row.split("|").slice(1, 3);
    return [...names!.matchAll(/`(\w+)`/g)].map((match): [string, string] => [match[1]!, answer!.trim()]);
  });
}

async function isImplemented(name: string): Promise<boolean> {
  const method = METHODS.find((each) => each.name === name)!;
  if (method.isRequestStream || method.isReplyStream) return (await caller.stream(name)).code !== WIRE_UNIMPLEMENTED;
  try {
    return statusIn(await caller.call(name)).code !== UNIMPLEMENTED;
  } catch (error) {
    if ((error as { code?: number }).code === WIRE_UNIMPLEMENTED) return false;
    throw error;
  }
}

test("every method is named once", () => {
  const names = documented().map(([name]) => name);
  expect(new Set(names)).toEqual(new Set(METHODS.map(({ name }) => name)));
  expect(names).toHaveLength(METHODS.length);
});

test("every RPC that is served is a method of the service, and served once", () => {
  const names = RPCS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.filter((name) => !METHODS.some((method) => method.name === name))).toEqual([]);
});

test("what the document says is unimplemented answers so, and nothing else", async () => {
  const said = documented().map(([name, answer]) => [name, answer !== "unimplemented"]);
  const found: [string, boolean][] = [];
  for (const [name] of documented()) found.push([name, await isImplemented(name)]);
  expect(found).toEqual(said);
});
