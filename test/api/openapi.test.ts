/** The API's description: of all operations, and true to what requests are accepted. */
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PUBLIC_OPERATIONS } from "../../actors/proxy.ts";
import { ROLES } from "../../runtime/actor.ts";
import { httpPath } from "../../runtime/protocol/public.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { readScenarios, ScenarioRun } from "./scenario.ts";

interface Schema {
  properties?: object;
}

interface Document {
  openapi: string;
  paths: Record<string, { post: { requestBody: { content: { "application/json": { schema: Schema } } } } }>;
}

/** Lists of what the cluster has. */
const WITHOUT_BODY = [
  ...["quotacenter/describe", "resource_groups/list"],
  ...["users/list", "users/current", "roles/list", "privilege_groups/list", "rbac/backup"],
];

let cluster: TestCluster;
let document: Document;

beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["proxy.http=127.0.0.1:0"]);
  const { http } = cluster.nodes[0]!.observe().proxy as { http: string };
  document = (await (await fetch(`http://${http}/openapi.json`)).json()) as Document;
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

test("describes every operation", () => {
  expect(document.openapi).toMatch(/^3\.1\./);
  expect(new Set(Object.keys(document.paths))).toEqual(new Set(PUBLIC_OPERATIONS.map(httpPath)));
});

test("describes the bodies that scenarios send with success", () => {
  const ajv = new Ajv2020({ strict: false });
  const validators = new Map(Object.keys(document.paths).map((path) => [path, ajv.compile(schemaOf(path))]));
  const wrong: string[] = [];
  let count = 0;
  for (const { file, post, body } of succeedingRequests()) {
    const path = `/v2/vectordb/${post}`;
    // Keys are known in any case, which a schema cannot say.
    if (!hasKeysAsDescribed(schemaOf(path), body)) continue;
    count++;
    const validate = validators.get(path)!;
    if (!validate(body)) wrong.push(`${file}: ${post} ${shown(body)}: ${ajv.errorsText(validate.errors)}`);
  }
  expect(wrong).toEqual([]);
  expect(count).toBeGreaterThan(1_000);
});

test("describes the fields of every body that has any", () => {
  const without = Object.keys(document.paths).filter((path) => schemaOf(path).properties === undefined);
  expect(new Set(without)).toEqual(new Set(WITHOUT_BODY.map((operation) => `/v2/vectordb/${operation}`)));
});

test("names every field that scenarios send", () => {
  const unknown = new Set<string>();
  for (const { post, body } of succeedingRequests()) {
    const { properties = {} } = schemaOf(`/v2/vectordb/${post}`);
    const known = new Set(Object.keys(properties).map((name) => name.toLowerCase()));
    for (const name of Object.keys(body)) if (!known.has(name.toLowerCase())) unknown.add(`${post}: ${name}`);
  }
  expect([...unknown]).toEqual([]);
});

test("describes what a body must have", () => {
  const { schema } = document.paths["/v2/vectordb/common/run_analyzer"]!.post.requestBody.content["application/json"];
  expect(schema).toMatchObject({
    type: "object",
    required: ["text"],
    properties: { withHash: expect.anything() as unknown },
  });
});

function hasKeysAsDescribed({ properties = {} }: Schema, body: unknown): boolean {
  const names = Object.keys(properties);
  const inLowerCase = new Set(names.map((name) => name.toLowerCase()));
  return Object.keys(body as object).every((key) => names.includes(key) || !inLowerCase.has(key.toLowerCase()));
}

/** Requests that are answered with code 0, as they are sent. */
function* succeedingRequests(): Generator<{ file: string; post: string; body: Record<string, unknown> }> {
  for (const { file, setup, cases } of readScenarios()) {
    const run = new ScenarioRun(() => Promise.reject(new Error("nothing is sent")));
    const requests = [...setup, ...cases.flatMap(({ before, ...request }) => [...before, request])];
    for (const { post, body, expect: wanted = { code: 0 } } of requests) {
      // What an earlier reply says is not known here.
      if ((wanted as { code?: unknown }).code !== 0 || shown(body).includes("${")) continue;
      yield { file, post, body: run.bodyOf(body) as Record<string, unknown> };
    }
  }
}

function schemaOf(path: string): Schema {
  return document.paths[path]!.post.requestBody.content["application/json"].schema;
}

function shown(body: unknown): string {
  return JSON.stringify(body, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}
