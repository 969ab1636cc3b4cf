/** Every method of the client that Milvus publishes for Node.js is called by a test here, or there is a reason why not. */
import { readdirSync, readFileSync } from "node:fs";
import { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { expect, test } from "vitest";

const INSIDE = "a step of a public method";
const GLOBAL = "of several clusters behind one address, which this database is not";

const LEFT_OUT: Record<string, string> = {
  connect: "called when a client is made",
  createChannelPool: INSIDE,
  metadataListener: INSIDE,
  _getServerInfo: INSIDE,
  _createCollection: INSIDE,
  _createIndex: INSIDE,
  _insert: INSIDE,
  normalizeFieldOps: INSIDE,
  _initGlobalConnection: GLOBAL,
  reconnectToPrimary: GLOBAL,
  _attachFailoverHandler: GLOBAL,
};

function methods(): string[] {
  const names = new Set<string>();
  let prototype: object = MilvusClient.prototype;
  while (prototype !== Object.prototype) {
    for (const name of Object.getOwnPropertyNames(prototype)) if (name !== "constructor") names.add(name);
    prototype = Object.getPrototypeOf(prototype) as object;
  }
  return [...names];
}

/** Of variables of the tests that hold such a client. */
function called(): Set<string> {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts"));
  const sources = files.map((name) => readFileSync(`${import.meta.dirname}/${name}`, "utf8"));
  const calls = /\b(?:client|there|root|reader)\s*\.\s*(\w+)\(/g;
  return new Set(sources.flatMap((source) => [...source.matchAll(calls)].map(([, name]) => name!)));
}

test("every method is called, or left out for a reason", () => {
  const seen = called();
  const notCalled = methods().filter((name) => !seen.has(name));
  expect(new Set(notCalled)).toEqual(new Set(Object.keys(LEFT_OUT)));
});
