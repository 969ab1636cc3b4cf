/** The API's description: of all operations, and true to what requests are accepted. */
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PUBLIC_OPERATIONS } from "../../actors/proxy.ts";
import { ROLES } from "../../runtime/actor.ts";
import { httpPath } from "../../runtime/protocol/public.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { readScenarios } from "./scenario.ts";

interface Document {
  openapi: string;
  paths: Record<string, { post: { requestBody: { content: { "application/json": { schema: object } } } } }>;
}

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
  const wrong: string[] = [];
  let count = 0;
  for (const { file, setup, cases } of readScenarios()) {
    for (const { post, body, expect: wanted } of [...setup, ...cases]) {
      if ((wanted as { code?: unknown } | undefined)?.code !== 0 || JSON.stringify(body).includes("$")) continue;
      const { schema } = document.paths[`/v2/vectordb/${post}`]!.post.requestBody.content["application/json"];
      const validate = ajv.compile(schema);
      count++;
      if (!validate(body)) wrong.push(`${file}: ${post} ${JSON.stringify(body)}: ${ajv.errorsText(validate.errors)}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(count).toBeGreaterThan(10);
});

test("describes what a body must have", () => {
  const { schema } = document.paths["/v2/vectordb/common/run_analyzer"]!.post.requestBody.content["application/json"];
  expect(schema).toMatchObject({
    type: "object",
    required: ["text"],
    properties: { withHash: expect.anything() as unknown },
  });
});
