/**
 * Who may do what, where callers are asked who they are: over HTTP and over NATS, through two proxies, one of which does
 * not see a change at once.
 */
import { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { connect, type NatsConnection, headers as natsHeaders } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PUBLIC_OPERATIONS } from "../../actors/proxy.ts";
import { VdbClient } from "../../client/client.ts";
import type { PublicOperation } from "../../runtime/protocol/public.ts";
import * as api from "../../runtime/protocol/public.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const ON = ["proxy.authorization=true", "proxy.http=127.0.0.1:0"];
const ROOT = "root:Milvus";

let cluster: TestCluster;
let nats: NatsConnection;
/** Base URLs of two proxies. */
let urls: string[];

interface Answer {
  status: number;
  code: number;
  message?: string;
  data?: unknown;
  details?: Record<string, unknown>;
}

/** Through one of the proxies, over HTTP. */
async function ask(operation: PublicOperation, body: object, who?: string, proxy = 0): Promise<Answer> {
  const response = await fetch(urls[proxy]! + api.httpPath(operation), {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(who === undefined ? {} : { Authorization: `Bearer ${who}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, ...((await response.json()) as Omit<Answer, "status">) };
}

async function done(operation: PublicOperation, body: object, who = ROOT): Promise<unknown> {
  const answer = await ask(operation, body, who);
  expect(answer).toMatchObject({ code: 0 });
  return answer.data;
}

async function overNats(operation: PublicOperation, body: object, authorization?: string): Promise<Answer> {
  const headers = natsHeaders();
  if (authorization !== undefined) headers.set("Authorization", authorization);
  const reply = await nats.request(`vdb.${operation.subject}`, JSON.stringify(body), { timeout: 60_000, headers });
  return reply.json() as Answer;
}

/** A user with a role of its own that has these grants. */
async function newUser(name: string, ...grants: object[]): Promise<string> {
  const password = `${name}-secret`;
  await done(api.createUser, { userName: name, password });
  if (grants.length > 0) {
    await done(api.createRole, { roleName: `${name}_role` });
    for (const grant of grants) await done(api.grantPrivilegeV2, { roleName: `${name}_role`, ...grant });
    await done(api.grantRole, { userName: name, roleName: `${name}_role` });
  }
  return `${name}:${password}`;
}

const SEARCH = { data: [[1, 0]], limit: 1, consistencyLevel: "Strong" };

beforeAll(async () => {
  const settings = [...ON, "coordinator.rolesMax=100"];
  cluster = await startTestCluster([["coordinator", "streaming", "query", "data", "proxy"], ["proxy"]], settings);
  urls = cluster.nodes.map((node) => `http://${(node.observe().proxy as { http: string }).http}`);
  nats = await connect({ servers: cluster.nats.url });
  for (const collectionName of ["books", "films"]) {
    await done(api.createCollection, { collectionName, dimension: 2 });
    await done(api.insertEntities, { collectionName, data: [{ id: 1, vector: [1, 0] }] });
  }
  await done(api.createAlias, { collectionName: "books", aliasName: "library" });
  await done(api.createDatabase, { dbName: "shop" });
  await done(api.createCollection, { dbName: "shop", collectionName: "books", dimension: 2 });
});

afterAll(async () => {
  await nats?.close();
  await cluster?.[Symbol.asyncDispose]();
});

describe("who asks", () => {
  test("says so, over HTTP", async () => {
    const refused = { status: 401, code: 1800 };
    expect(await ask(api.listCollections, {})).toMatchObject(refused);
    for (const who of ["root:wrong", "nobody:Milvus", "root", ":", "root:", "root:Milvus:"]) {
      expect(await ask(api.listCollections, {}, who), who).toMatchObject(refused);
    }
    expect(await ask(api.listCollections, {}, ROOT)).toMatchObject({ status: 200, code: 0, data: ["books", "films"] });
    const basic = { Authorization: `Basic ${Buffer.from(ROOT).toString("base64")}` };
    const response = await fetch(urls[0]! + api.httpPath(api.currentUser), {
      method: "POST",
      headers: basic,
      body: "{}",
    });
    expect(await response.json()).toMatchObject({ code: 0, data: { userName: "root", roles: ["admin", "public"] } });
  });

  test("says so, over NATS", async () => {
    expect(await overNats(api.listCollections, {})).toMatchObject({ code: 1800 });
    expect(await overNats(api.listCollections, {}, "Bearer root:wrong")).toMatchObject({ code: 1800 });
    expect(await overNats(api.listCollections, {}, `Bearer ${ROOT}`)).toMatchObject({ code: 0 });
    const credentials = { userName: "root", password: "Milvus" };
    const client = await VdbClient.connect({ servers: cluster.nats.url, credentials });
    expect(await client.listCollections()).toEqual(["books", "films"]);
    await client.close();
    const stranger = await VdbClient.connect({ servers: cluster.nats.url });
    await expect(stranger.listCollections()).rejects.toMatchObject({ kind: "unauthenticated" });
    await stranger.close();
  });

  test("and nothing of what is there is said to others", async () => {
    for (const operation of PUBLIC_OPERATIONS) {
      expect(await ask(operation, { collectionName: "books" }), operation.subject).toMatchObject({ code: 1800 });
    }
  });
});

describe("a user without a role", () => {
  test("may look, and nothing else", async () => {
    const who = await newUser("plain");
    expect(await ask(api.describeCollection, { collectionName: "books" }, who)).toMatchObject({ code: 0 });
    expect(await ask(api.listIndexes, { collectionName: "books" }, who)).toMatchObject({ code: 0 });
    expect(await ask(api.listCollections, {}, who)).toMatchObject({ code: 0, data: [] });
    expect(await ask(api.listDatabases, {}, who)).toMatchObject({ code: 0, data: [] });
    const open = new Set<PublicOperation>([
      ...[api.describeCollection, api.hasCollection, api.listIndexes, api.describeIndex, api.listAliases],
      ...[api.listCollections, api.listDatabases, api.getCompactionState, api.runAnalyzer, api.currentUser],
    ]);
    for (const operation of PUBLIC_OPERATIONS) {
      if (open.has(operation)) continue;
      // Refused before anything of the body is looked at.
      expect(await ask(operation, { collectionName: "books", userName: "root" }, who), operation.subject).toMatchObject(
        {
          code: 1401,
          message: expect.stringMatching(/^Privilege\w+: permission deny to plain in the `default` database$/),
        },
      );
    }
  });

  test("changes its own password and describes itself", async () => {
    const who = await newUser("selfish");
    expect(await ask(api.describeUser, { userName: "selfish" }, who)).toMatchObject({ code: 0, data: [] });
    const change = { userName: "selfish", password: "wrong-one", newPassword: "another-secret" };
    expect(await ask(api.updatePassword, change, who)).toMatchObject({ status: 401, code: 1400 });
    expect(await ask(api.updatePassword, { ...change, password: "selfish-secret" }, who)).toMatchObject({ code: 0 });
    expect(await ask(api.currentUser, {}, who)).toMatchObject({ code: 1800 });
    expect(await ask(api.currentUser, {}, "selfish:another-secret", 1)).toMatchObject({ code: 0 });
  });
});

describe("a grant", () => {
  test("is of one collection, under whatever name, and takes effect everywhere", async () => {
    const who = await newUser("reader", { privilege: "Search", collectionName: "books" });
    for (const proxy of [1, 0]) {
      expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "books" }, who, proxy)).toMatchObject({
        code: 0,
      });
      expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "library" }, who, proxy)).toMatchObject({
        code: 0,
      });
      for (const other of [{ collectionName: "films" }, { dbName: "shop", collectionName: "books" }]) {
        expect(await ask(api.searchEntities, { ...SEARCH, ...other }, who, proxy)).toMatchObject({ code: 1401 });
      }
    }
    const data = [{ id: 2, vector: [0, 1] }];
    expect(await ask(api.insertEntities, { collectionName: "books", data }, who)).toMatchObject({ code: 1401 });
    expect(await ask(api.listCollections, {}, who)).toMatchObject({ data: ["books"] });
    expect(await ask(api.listDatabases, {}, who)).toMatchObject({ data: ["default"] });

    await done(api.revokePrivilegeV2, { roleName: "reader_role", privilege: "Search", collectionName: "books" });
    expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "books" }, who)).toMatchObject({ code: 1401 });
    await expect
      .poll(async () => (await ask(api.searchEntities, { ...SEARCH, collectionName: "books" }, who, 1)).code)
      .toBe(1401);
  });

  test("is not widened by other names in the request", async () => {
    const who = await newUser("narrow", { privilege: "GetStatistics", collectionName: "books" });
    const { collectionID } = (await done(api.describeCollection, { collectionName: "films" })) as {
      collectionID: number;
    };
    const mixed = { collectionName: "books", collectionID };
    expect(await ask(api.describeSegments, mixed, who)).toMatchObject({ code: 1401 });
    expect(await ask(api.getCollectionStats, { collectionName: "films", COLLECTIONNAME: "books" }, who)).toMatchObject({
      code: 1401,
    });
    expect(await ask(api.getCollectionStats, { CollectionName: "books" }, who)).toMatchObject({ code: 0 });
  });

  test("of * is of every collection of its database, or of all", async () => {
    const here = await newUser("here", { privilege: "Search", collectionName: "*" });
    expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "films" }, here)).toMatchObject({ code: 0 });
    const inShop = { ...SEARCH, dbName: "shop", collectionName: "books" };
    expect(await ask(api.searchEntities, inShop, here)).toMatchObject({ code: 1401 });
    const everywhere = await newUser("everywhere", { privilege: "Search", dbName: "*", collectionName: "*" });
    expect(await ask(api.searchEntities, inShop, everywhere)).toMatchObject({ code: 0 });
  });

  test("may be of a group of privileges, built in or made", async () => {
    const reader = await newUser("group_reader", { privilege: "CollectionReadOnly", collectionName: "books" });
    const count = { collectionName: "books", filter: "", outputFields: ["count(*)"] };
    expect(await ask(api.queryEntities, count, reader)).toMatchObject({ code: 0 });
    expect(await ask(api.dropCollection, { collectionName: "books" }, reader)).toMatchObject({ code: 1401 });

    await done(api.createPrivilegeGroup, { privilegeGroupName: "seekers" });
    await done(api.addPrivileges, { privilegeGroupName: "seekers", privileges: ["Query", "Search"] });
    const seeker = await newUser("seeker", { privilege: "seekers", collectionName: "books" });
    expect(await ask(api.queryEntities, count, seeker)).toMatchObject({ code: 0 });
    await done(api.removePrivileges, { privilegeGroupName: "seekers", privileges: ["Query"] });
    expect(await ask(api.queryEntities, count, seeker)).toMatchObject({ code: 1401 });
  });

  test("of a cluster's privilege is not given by all privileges on a database", async () => {
    const who = await newUser("shopkeeper", { privilege: "*", dbName: "shop", collectionName: "*" });
    const created = { dbName: "shop", collectionName: "new", dimension: 2 };
    expect(await ask(api.createCollection, created, who)).toMatchObject({ code: 0 });
    expect(await ask(api.listUsers, {}, who)).toMatchObject({ code: 1401 });
    expect(await ask(api.createDatabase, { dbName: "mine" }, who)).toMatchObject({ code: 1401 });
    const away = { dbName: "shop", collectionName: "new", newCollectionName: "new", newDbName: "default" };
    expect(await ask(api.renameCollection, away, who)).toMatchObject({ code: 1401 });
  });
});

test("Milvus's own client says over gRPC who it is, and may what its user may", async () => {
  const address = urls[1]!.slice("http://".length);
  const as = (username: string, password: string) =>
    new MilvusClient({ address, username, password, maxRetries: 0, logLevel: "error" });
  const root = as("root", "Milvus");
  const stranger = as("root", "wrong");
  stranger.connectPromise.catch(() => undefined);
  const clients = [root, stranger];
  try {
    await root.connectPromise;
    expect(await root.createUser({ username: "caller", password: "caller-secret" })).toMatchObject({ code: 0 });
    expect(await root.createRole({ roleName: "caller_role" })).toMatchObject({ code: 0 });
    expect(await root.addUserToRole({ username: "caller", roleName: "caller_role" })).toMatchObject({ code: 0 });
    const grant = {
      role: "caller_role",
      privilege: "CollectionReadOnly",
      db_name: "default",
      collection_name: "books",
    };
    expect(await root.grantPrivilegeV2(grant)).toMatchObject({ code: 0 });

    await expect(stranger.listCollections()).rejects.toThrow(/auth check failure|UNAUTHENTICATED/);
    // It connects when it is made: before, it would be nobody.
    const reader = as("caller", "caller-secret");
    clients.push(reader);
    await reader.connectPromise;
    expect((await reader.listCollections()).data.map(({ name }) => name)).toEqual(["books"]);
    const count = { filter: "", output_fields: ["count(*)"] };
    expect((await reader.query({ collection_name: "books", ...count })).status).toMatchObject({ code: 0 });
    await expect(reader.query({ collection_name: "films", ...count })).rejects.toThrow(
      /PrivilegeQuery: permission deny/,
    );
    await expect(reader.dropCollection({ collection_name: "books" })).rejects.toThrow(/permission deny to caller/);
  } finally {
    for (const client of clients) await client.closeConnection();
  }
});

test("a user that is dropped, or gets another password, is nobody at once", async () => {
  const who = await newUser("fleeting", { privilege: "Search", collectionName: "books" });
  const search = () => ask(api.searchEntities, { ...SEARCH, collectionName: "books" }, who, 1);
  expect(await search()).toMatchObject({ code: 0 });
  let isDropped = false;
  const calls = Array.from({ length: 4 }, async () => {
    const codes: number[] = [];
    while (!isDropped || codes.at(-1) === 0) codes.push((await search()).code);
    return codes;
  });
  await done(api.dropUser, { userName: "fleeting" });
  isDropped = true;
  for (const codes of await Promise.all(calls))
    expect(new Set(codes.filter((code) => code !== 0))).toEqual(new Set([1800]));
  expect(await search()).toMatchObject({ status: 401, code: 1800 });
});

test("root stays", async () => {
  expect(await ask(api.dropUser, { userName: "root" }, ROOT)).toMatchObject({ code: 1401 });
  expect(await ask(api.revokeRole, { userName: "root", roleName: "admin" }, ROOT)).toMatchObject({ code: 1401 });
  for (const roleName of ["admin", "public"]) {
    expect(await ask(api.dropRole, { roleName, forceDrop: true }, ROOT)).toMatchObject({ code: 1401 });
  }
});

test("a flood of wrong passwords is turned away, and those who are known are served meanwhile", async () => {
  const who = await newUser("busy", { privilege: "Search", collectionName: "books" });
  const search = { ...SEARCH, collectionName: "books" };
  expect(await ask(api.searchEntities, search, who)).toMatchObject({ code: 0 });
  const flood = Promise.all(Array.from({ length: 60 }, (_, i) => ask(api.currentUser, {}, `busy:wrong-${i}`)));
  expect(await ask(api.searchEntities, search, who)).toMatchObject({ code: 0 });
  const answers = await flood;
  const limited = answers.filter(({ code }) => code === 8);
  expect(answers.every(({ code }) => code === 8 || code === 1800)).toBe(true);
  expect(limited.length).toBeGreaterThan(0);
  expect(limited[0]!.details).toMatchObject({ retryAfterMs: expect.any(Number) as number });
  // Nor does it tell whether there is such a user.
  expect(limited[0]!.message).not.toContain("busy");
});

test("users, roles and grants outlive the nodes", async () => {
  const who = await newUser("lasting", { privilege: "Search", collectionName: "books" });
  const node = await cluster.startNode(["proxy"], ON);
  const { http } = node.observe().proxy as { http: string };
  urls[2] = `http://${http}`;
  expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "books" }, who, 2)).toMatchObject({ code: 0 });
  expect(await ask(api.searchEntities, { ...SEARCH, collectionName: "films" }, who, 2)).toMatchObject({ code: 1401 });
});

test("a collection's rate is kept, and clients of ours wait for it", async () => {
  const property = { "collection.queryRate.max.qps": 3 };
  await done(api.alterCollectionProperties, { collectionName: "films", properties: property });
  const body = { collectionName: "films", filter: "id >= 0", consistencyLevel: "Eventually" };
  const query = async () => {
    const response = await fetch(urls[0]! + api.httpPath(api.queryEntities), {
      method: "POST",
      headers: { Authorization: `Bearer ${ROOT}` },
      body: JSON.stringify(body),
    });
    return { ...((await response.json()) as Answer), retryAfter: Number(response.headers.get("retry-after")) };
  };
  // So many at once that they are beyond the rate however slow the machine is.
  let refused: Awaited<ReturnType<typeof query>> | undefined;
  const askMany = async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, query));
    refused = answers.find(({ code }) => code === 8);
    return refused?.code;
  };
  await expect.poll(askMany).toBe(8);
  expect(refused!.message).toMatch(/^rate limit exceeded\[limit=collection\.queryRate\.max\.qps\]\[rate=3\]/);
  expect(refused!.retryAfter).toBeGreaterThan(0);
  const credentials = { userName: "root", password: "Milvus" };
  const client = VdbClient.inProcess(cluster.nodes[0]!.bus, { credentials });
  const all = { collectionName: "films", filter: "id >= 0" };
  for (let i = 0; i < 3; i++) expect(await client.query(all)).toHaveLength(1);
  const quotas = (await done(api.describeQuotas, {})) as { limits: object[] };
  expect(quotas.limits).toContainEqual({
    limit: "collection.queryRate.max.qps",
    rate: 3,
    dbName: "default",
    collectionName: "films",
  });
});

test("a collection that has its share of the disk takes no more rows", async () => {
  const collectionName = "full";
  await done(api.createCollection, { collectionName, dimension: 2 });
  const insert = { collectionName, data: [{ id: 1, vector: [1, 0] }] };
  await done(api.insertEntities, insert);
  const properties = { "collection.diskProtection.diskQuota.mb": 0 };
  await done(api.alterCollectionProperties, { collectionName, properties });
  const full = { code: 9, message: expect.stringContaining("disk quota exceeded") as string };
  expect(await ask(api.insertEntities, insert, ROOT)).toMatchObject(full);
  expect(await ask(api.deleteEntities, { collectionName, filter: "id == 1" }, ROOT)).toMatchObject({ code: 0 });
});
