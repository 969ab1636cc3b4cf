/**
 * What a read sees of writes that another proxy has acknowledged: two proxies, each asked by its own address, so that
 * none of them knows what the other one did.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const ROUNDS = 30;
const collectionName = "levels";

type Reply = { code: number; message?: string; data: never; sessionTs?: number };

let cluster: TestCluster;
let proxies: string[];

beforeAll(async () => {
  cluster = await startTestCluster([ROLES.filter((role) => role !== "proxy")]);
  const own = ["proxy.http=127.0.0.1:0"];
  const nodes = [await cluster.startNode(["proxy"], own), await cluster.startNode(["proxy"], own)];
  proxies = nodes.map((node) => (node.observe().proxy as { http: string }).http);
  await ask(0, "collections/create", { dimension: 2, metricType: "L2", params: { shardsNum: 2 } });
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

async function ask(proxy: number, path: string, body: object): Promise<Reply> {
  const response = await fetch(`http://${proxies[proxy]}/v2/vectordb/${path}`, {
    method: "POST",
    body: JSON.stringify({ collectionName, ...body }),
  });
  const reply = (await response.json()) as Reply;
  expect(reply).toMatchObject({ code: 0 });
  return reply;
}

async function counted(proxy: number, level: object): Promise<number> {
  const { data } = await ask(proxy, "entities/query", { outputFields: ["count(*)"], ...level });
  return (data as { "count(*)": number }[])[0]!["count(*)"];
}

test("a Strong read sees every write that any proxy has acknowledged", async () => {
  for (let n = 0; n < ROUNDS; n++) {
    await ask(n % 2, "entities/insert", { data: [{ id: n, vector: [n, 0] }] });
    expect(await counted((n + 1) % 2, { consistencyLevel: "Strong" })).toBe(n + 1);
    const search = { data: [[n, 0]], limit: 1, consistencyLevel: "Strong" };
    expect((await ask((n + 1) % 2, "entities/search", search)).data).toMatchObject([{ id: n, distance: 0 }]);
    const upsert = { data: [{ id: n, vector: [n, 0.5] }] };
    await ask(n % 2, "entities/upsert", upsert);
    expect((await ask((n + 1) % 2, "entities/search", search)).data).toMatchObject([{ id: n, distance: 0.25 }]);
  }
});

test("a session that brings its last write's timestamp sees that through any proxy", async () => {
  for (let n = 0; n < ROUNDS; n++) {
    const { sessionTs } = await ask(0, "entities/delete", { filter: `id == ${n}` });
    const level = { consistencyLevel: "Session", guaranteeTimestamp: String(sessionTs) };
    expect(await counted(1, level)).toBe(ROUNDS - n - 1);
    const customised = { consistencyLevel: "Customized", guaranteeTimestamp: String(sessionTs) };
    expect(await counted(1, customised)).toBe(ROUNDS - n - 1);
  }
});

test("reads that promise less see it in the end", async () => {
  await ask(0, "entities/insert", { data: [{ id: 1000, vector: [0, 0] }] });
  for (const consistencyLevel of ["Bounded", "Eventually"]) {
    await expect.poll(() => counted(1, { consistencyLevel })).toBe(1);
  }
});

test("an alias is pointed elsewhere for the writes and the Strong reads of every proxy", async () => {
  const alias = { collectionName: "current" };
  const versions = ["levels_a", "levels_b"];
  const schema = { dimension: 2, metricType: "L2" };
  for (const [n, version] of versions.entries()) {
    await ask(0, "collections/create", { collectionName: version, ...schema });
    await ask(0, "entities/insert", { collectionName: version, data: [{ id: n, vector: [n, 0] }] });
  }
  await ask(0, "aliases/create", { aliasName: "current", collectionName: versions[0] });
  for (let n = 1; n <= ROUNDS; n++) {
    const target = n % 2;
    await ask(target, "aliases/alter", { aliasName: "current", collectionName: versions[target] });
    const other = 1 - target;
    const read = { ...alias, filter: "id < 2", outputFields: ["id"], consistencyLevel: "Strong" };
    expect((await ask(other, "entities/query", read)).data).toEqual([{ id: target }]);
    await ask(target, "aliases/alter", { aliasName: "current", collectionName: versions[other] });
    await ask(other, "entities/insert", { ...alias, data: [{ id: 100 + n, vector: [0, 1] }] });
    const written = { collectionName: versions[other], filter: `id == ${100 + n}`, consistencyLevel: "Strong" };
    expect((await ask(target, "entities/query", written)).data).toHaveLength(1);
  }
});
