/** One coordinator leads, whatever the others believe: hand-over, take-over, and a leader that was frozen meanwhile. */
import { afterEach, describe, expect, test } from "vitest";
import { ChannelAssigner, renewTerm } from "../../actors/coordinator/assign-channels.ts";
import { catalogChanges } from "../../actors/coordinator/change-catalog.ts";
import { LEASE_KEY, type Leadership, leadOnce } from "../../actors/coordinator/leadership.ts";
import { groupChanges } from "../../actors/coordinator/resource-groups.ts";
import { Window } from "../../actors/coordinator/window.ts";
import { VdbClient } from "../../client/client.ts";
import type { ActorContext, Role } from "../../runtime/actor.ts";
import { createNatsBlob } from "../../runtime/blob/nats-blob.ts";
import type { BlobPort } from "../../runtime/blob/port.ts";
import type { Bus } from "../../runtime/bus/bus.ts";
import { createNatsTransport } from "../../runtime/bus/nats-transport.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { isVdbError, type VdbError } from "../../runtime/errors.ts";
import { hostRoles } from "../../runtime/host-roles.ts";
import { createNatsLog } from "../../runtime/log/nats-log.ts";
import { createLogger } from "../../runtime/logger.ts";
import { createLocalMachine } from "../../runtime/machine/local-machine.ts";
import { startMetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog, putDoc } from "../../runtime/meta/catalog.ts";
import { createNatsLeases } from "../../runtime/meta/nats-lease.ts";
import { createNatsMeta } from "../../runtime/meta/nats-meta.ts";
import type { LeasePort, MetaPort } from "../../runtime/meta/port.ts";
import { connectNats } from "../../runtime/nats/connect.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { NodeRegistry } from "../../runtime/node-registry.ts";
import { decodeDoc, KEY_KINDS, metaKeys } from "../../runtime/protocol/catalog.ts";
import * as coordinator from "../../runtime/protocol/coordinator.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { Scope } from "../../runtime/scope.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { startTestNats } from "../../runtime/testing/nats-server.ts";
import { timestampOfMs } from "../../runtime/timestamps.ts";

const isLeading = (node: VdbNode): boolean => node.observe().coordinator?.isLeading === true;

describe("two coordinators", () => {
  let cluster: TestCluster;
  afterEach(() => cluster?.[Symbol.asyncDispose]());

  const leaders = (): VdbNode[] => cluster.nodes.filter(isLeading);

  test("the stand-by leads soon after the leader has stopped, and the catalogue goes on", async () => {
    cluster = await startTestCluster([["coordinator"], ["coordinator"], ["streaming", "query", "data", "proxy"]]);
    const client = await VdbClient.connect({ servers: cluster.nats.url });
    try {
      for (let life = 0; life < 3; life++) {
        await expect.poll(() => leaders().length).toBe(1);
        await client.createCollection({ collectionName: `life_${life}`, dimension: 2 });
        const stoppedAt = performance.now();
        await cluster.stopNode(leaders()[0]!);
        await expect.poll(() => leaders().length, { interval: 5 }).toBe(1);
        console.log(`handed over in ${Math.round(performance.now() - stoppedAt)} ms`);
        await cluster.startNode(["coordinator"]);
      }
      expect(await client.listCollections()).toEqual(["life_0", "life_1", "life_2"]);
      await client.insert({ collectionName: "life_0", data: { id: 1, vector: [1, 2] } });
    } finally {
      await client.close();
    }
  });

  test("eight who ask all the time are answered through five hand-overs, with timestamps that only grow", async () => {
    cluster = await startTestCluster([["coordinator"], ["coordinator"], ["data"], ["data"]]);
    const others = cluster.nodes.slice(2);
    const given: { first: bigint; count: number; sentAt: number; answeredAt: number }[] = [];
    const failures = new Map<string, number>();
    let isDone = false;
    const ask = async (asker: number): Promise<void> => {
      const { bus } = others[asker % others.length]!;
      for (let n = 0; !isDone; n++) {
        const count = 1 + (n % 5);
        const sentAt = performance.now();
        // Far longer than a hand-over takes: an ask that ends with its deadline was left waiting.
        const deadline = systemClock.monotonic() + 30_000;
        try {
          const { first } = await bus.ask(allocateTimestamps, {}, { count }, { deadline });
          given.push({ first, count, sentAt, answeredAt: performance.now() });
          await systemClock.yield();
        } catch (error) {
          const kind = isVdbError(error) ? error.kind : String(error);
          failures.set(kind, (failures.get(kind) ?? 0) + 1);
          await systemClock.sleep(5);
        }
      }
    };
    const asking = Array.from({ length: 8 }, (_, asker) => ask(asker));
    const more = async (): Promise<void> => {
      const before = given.length;
      await expect.poll(() => given.length).toBeGreaterThan(before + 100);
    };
    for (let life = 0; life < 5; life++) {
      await more();
      await expect.poll(() => leaders().length).toBe(1);
      await cluster.stopNode(leaders()[0]!);
      await cluster.startNode(["coordinator"]);
    }
    await more();
    isDone = true;
    await Promise.all(asking);
    console.log(
      `${given.length} answers; asks that had to be repeated: ${JSON.stringify(Object.fromEntries(failures))}`,
    );
    // An ask finds a leader, nobody, or one that stops: never silence.
    expect([...failures.keys()].filter((kind) => kind !== "not_ready" && kind !== "node_not_found")).toEqual([]);
    // Whatever was answered before an ask was sent is below what that ask was given.
    given.sort((a, b) => (a.first < b.first ? -1 : 1));
    const overlapping = given.filter(
      ({ first }, i) => i > 0 && first < given[i - 1]!.first + BigInt(given[i - 1]!.count),
    );
    expect(overlapping).toEqual([]);
    let newestSent = 0;
    for (const { sentAt, answeredAt } of given) {
      newestSent = Math.max(newestSent, sentAt);
      expect(answeredAt).toBeGreaterThanOrEqual(newestSent);
    }
  });
});

interface Freezer {
  freeze(): void;
  thaw(): void;
  /** What was sent to the store while it was frozen. */
  readonly attempts: Attempt[];
  /** Changes of the store arrive when it is thawed. */
  meta(meta: MetaPort): MetaPort;
  /** So do renewals. */
  leases(leases: LeasePort): LeasePort;
}

interface Attempt {
  keys: string[];
  isStored: boolean;
}

function freezer(): Freezer {
  const held: (() => void)[] = [];
  const attempts: Attempt[] = [];
  let isFrozen = false;
  return {
    attempts,
    freeze() {
      isFrozen = true;
    },
    thaw() {
      isFrozen = false;
      for (const go of held.splice(0)) go();
    },
    meta: (meta) => ({
      ...meta,
      async commit(ops) {
        const wasFrozen = isFrozen;
        const revision = await meta.commit(ops);
        if (wasFrozen) attempts.push({ keys: ops.map(({ key }) => key), isStored: revision !== null });
        return revision;
      },
      watch: (prefixes, handler) =>
        meta.watch(prefixes, (changes) => {
          if (isFrozen) held.push(() => handler(changes));
          else handler(changes);
        }),
    }),
    leases: (leases) => ({
      ...leases,
      async renew(...lease) {
        if (isFrozen) await new Promise<void>((resolve) => held.push(resolve));
        return leases.renew(...lease);
      },
    }),
  };
}

/** A node whose watches of the meta store and lease renewals stop while it is frozen: what it believes stays as it was. */
interface FreezableNode extends AsyncDisposable {
  readonly nodeId: string;
  readonly bus: Bus;
  readonly leases: LeasePort;
  readonly meta: MetaPort;
  readonly attempts: Attempt[];
  isLeading(): boolean;
  freeze(): void;
  thaw(): void;
}

async function startFreezable(
  url: string,
  roles: Role[],
  nodeId: string,
  options: { settings?: string[]; blobs?: Partial<BlobPort> } = {},
): Promise<FreezableNode> {
  const connections = await connectNats({ servers: url, name: nodeId });
  const world = { clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, { prefix: "vdb", ...world });
  const natsLeases = createNatsLeases(connections.control, { prefix: "vdb", ...world });
  const blobs = createNatsBlob(connections.bulk, { prefix: "vdb", ...world });
  const log = createNatsLog(connections, { prefix: "vdb", replicas: 1, maxBytes: 64 << 20 });
  for (const store of [meta, natsLeases, blobs]) await store.ensure({ replicas: 1 });
  await log.ensureChannels(4);
  const logger = createLogger({ level: "silent" });
  const { config } = loadConfig({ flags: ["node.leaseSeconds=10", ...(options.settings ?? [])] });
  const scope = new Scope(() => undefined);
  const sleep = freezer();
  const machine = createLocalMachine({ config, blobs, logger, ...world });
  const transport = createNatsTransport(connections.requests, "_INBOX", logger);
  const stores = {
    meta: sleep.meta(meta),
    leases: sleep.leases(natsLeases),
    blobs: { ...blobs, ...options.blobs },
    log,
  };
  const ports = { ...stores, machine, ...world };
  const hosted = await hostRoles({ roles, nodeId, config, logger, scope, transport, ports });
  return {
    nodeId,
    bus: hosted.bus,
    leases: natsLeases,
    meta,
    attempts: sleep.attempts,
    isLeading: () => hosted.observe().coordinator?.isLeading === true,
    freeze: sleep.freeze,
    thaw: sleep.thaw,
    async [Symbol.asyncDispose]() {
      sleep.thaw();
      await scope.close();
      await connections.close();
    },
  };
}

test("a leader that is replaced asks nobody to wait for what it has yet to end", async () => {
  await using nats = await startTestNats();
  // It is looking through the objects, and that takes long.
  let isLooking = false;
  let letGo = () => {};
  const looked = new Promise<never[]>((resolve) => {
    letGo = () => resolve([]);
  });
  const list = () => {
    isLooking = true;
    return looked;
  };
  const busy = { settings: ["coordinator.garbageIntervalMs=1000"], blobs: { list } };
  await using first = await startFreezable(nats.url, ["coordinator"], "first", busy);
  await using _end = { [Symbol.asyncDispose]: async () => letGo() };
  await expect.poll(() => first.isLeading() && isLooking).toBe(true);
  await using second = await startFreezable(nats.url, ["coordinator"], "second");
  await using asking = await startFreezable(nats.url, ["data"], "asking");
  const lease = await second.leases.get(LEASE_KEY);
  expect(await second.leases.release(LEASE_KEY, lease!.revision)).toBe(true);
  await expect.poll(() => second.isLeading() && !first.isLeading()).toBe(true);
  // The one that leads is the only one that answers: soon, and then always.
  let names = 0;
  const isServed = async () => {
    const asks = Array.from({ length: 10 }, () =>
      asking.bus.ask(coordinator.createCollection, {}, emptyCollection(`c${names++}`)).then(
        () => true,
        () => false,
      ),
    );
    return (await Promise.all(asks)).every(Boolean);
  };
  await expect.poll(isServed).toBe(true);
  expect(await isServed()).toBe(true);
});

/** A lease that outlasts its test, however slow the machine is: none ends but where it is taken away. */
const LONG_LEASE = ["node.leaseSeconds=60", "cluster.replicas=3"];

/** Ends the leader's lease as its time would, under whoever holds it. */
async function endLease({ ctx: { leases } }: Candidate): Promise<void> {
  const lease = await leases.get(LEASE_KEY);
  expect(await leases.release(LEASE_KEY, lease!.revision)).toBe(true);
}

/** A coordinator as its leadership sees it. Frozen as a stopped process is: its renewals go nowhere, and it hears nothing. */
interface Candidate extends AsyncDisposable {
  ctx: ActorContext;
  readonly attempts: Attempt[];
  /** Leads from then on, until it notices that it does not. */
  lead(): Promise<Leadership>;
  freeze(): void;
  thaw(): void;
}

async function startCandidate(url: string, nodeId: string): Promise<Candidate> {
  const connections = await connectNats({ servers: url, name: nodeId });
  const ports = { prefix: "vdb", clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, ports);
  const natsLeases = createNatsLeases(connections.control, ports);
  for (const store of [meta, natsLeases]) await store.ensure({ replicas: 1 });
  const stopped = new AbortController();
  const sleep = freezer();
  const cache = await startMetaCache({
    meta: sleep.meta(meta),
    prefixes: Object.values(KEY_KINDS).map(({ prefix }) => prefix),
    decode: decodeDoc,
    onCorrupt: (error) => {
      throw error;
    },
    clock: systemClock,
    signal: stopped.signal,
  });
  const leases = sleep.leases(natsLeases);
  const nodes = new NodeRegistry();
  await nodes.start(leases);
  const { config } = loadConfig({ flags: LONG_LEASE });
  const log = createNatsLog(connections, { prefix: "vdb", replicas: 1, maxBytes: 64 << 20 });
  await log.ensureChannels(1);
  const ctx = {
    nodeId,
    config,
    leases,
    nodes,
    log,
    meta: sleep.meta(meta),
    catalog: createCatalog(cache),
    clock: systemClock,
    random: systemRandom,
    logger: createLogger({ level: "silent" }),
    signal: stopped.signal,
  } as unknown as ActorContext;
  let leading: Promise<void> = Promise.resolve();
  return {
    ctx,
    attempts: sleep.attempts,
    lead() {
      return new Promise((resolve, reject) => {
        leading = leadOnce(ctx, stopped.signal, async (raiseEpoch) => {
          const leadership = await raiseEpoch();
          resolve(leadership);
          await new Promise<void>((done) => leadership.signal.addEventListener("abort", () => done(), { once: true }));
        }).catch(reject);
      });
    },
    freeze: sleep.freeze,
    thaw: sleep.thaw,
    async [Symbol.asyncDispose]() {
      sleep.thaw();
      stopped.abort();
      await leading;
      await nodes.close();
      await cache.close();
      await connections.close();
    },
  };
}

test("of two coordinators that both believe they lead, only the one with the newer epoch changes anything", async () => {
  await using nats = await startTestNats();
  await using first = await startFreezable(nats.url, ["coordinator"], "first");
  await expect.poll(first.isLeading).toBe(true);
  await using second = await startFreezable(nats.url, ["coordinator"], "second");
  const { collectionId } = await first.bus.ask(coordinator.createCollection, {}, emptyCollection("kept"));
  const index = { name: "vector", fieldId: 101, type: "HNSW", metric: "L2", params: {} } as const;
  await first.bus.ask(coordinator.createIndex, {}, { collectionId, index });

  // The lease is taken away under the first one's hands, and it hears nothing of it.
  first.freeze();
  const lease = await second.leases.get(LEASE_KEY);
  expect(await second.leases.release(LEASE_KEY, lease!.revision)).toBe(true);
  await expect.poll(second.isLeading).toBe(true);
  expect(first.isLeading()).toBe(true);
  await second.bus.ask(coordinator.loadCollection, {}, { collectionId, replicaNumber: 1, resourceGroups: [] });
  const collectionKey = metaKeys.collection(collectionId);
  const before = await second.meta.lastRevision();

  const deadline = systemClock.monotonic() + 30_000;
  const ask = <Request>(operation: Operation<`coordinator.${string}`, Request, unknown>, request: Request) =>
    first.bus.ask(operation, {}, request, { deadline }).catch((error: unknown) => (error as VdbError).kind);
  const asked = [
    ask(coordinator.createCollection, emptyCollection("stale")),
    ask(coordinator.dropCollection, { collectionId }),
    ask(coordinator.loadCollection, { collectionId, replicaNumber: 1, resourceGroups: [] }),
    ask(coordinator.dropIndex, { collectionId, indexName: "vector" }),
  ];
  // A streaming node comes: both see it, and both want to give it channels, the first one in vain.
  await using streaming = await startFreezable(nats.url, ["streaming"], "streaming");
  await expect.poll(async () => (await streaming.meta.get(metaKeys.channel(3))) !== null).toBe(true);
  await expect.poll(() => first.attempts.some(({ keys }) => keys.includes(metaKeys.channel(3)))).toBe(true);
  expect(first.isLeading()).toBe(true);
  expect(first.attempts.filter(({ isStored }) => isStored)).toEqual([]);
  first.thaw();
  expect(await Promise.all(asked)).toEqual(asked.map(() => "not_ready"));
  expect(await second.meta.get(metaKeys.name("default", "stale"))).toBeNull();
  expect((await second.meta.get(collectionKey))!.revision).toBeLessThanOrEqual(before);
  const terms = await Promise.all([0, 1, 2, 3].map((pchannel) => second.meta.get(metaKeys.channel(pchannel))));
  expect(terms.map((entry) => decodeDoc(entry!.key, entry!.value))).toEqual(
    terms.map(() => ({ nodeId: "streaming", term: 1 })),
  );
  await expect.poll(first.isLeading).toBe(false);
  expect(second.isLeading()).toBe(true);
  await second.bus.ask(coordinator.createCollection, {}, emptyCollection("next"));
});

const NO_NODES = { requests: 0, limits: 0, transferFrom: [], transferTo: [] };

function emptyCollection(name: string): (typeof coordinator.createCollection)["request"]["_output"] {
  const field = { description: "", nullable: false, isDynamic: false };
  return {
    database: "default",
    name,
    description: "",
    fields: [
      { ...field, name: "id", type: "Int64", isPrimary: true },
      { ...field, name: "vector", type: "FloatVector", isPrimary: false, dimension: 2 },
    ],
    autoId: false,
    enableDynamicField: false,
    shardCount: 1,
    consistencyLevel: "Bounded",
    properties: {},
  };
}

test("a leader that was frozen and replaced can change nothing, though it believes that it leads", async () => {
  await using nats = await startTestNats();
  await using first = await startCandidate(nats.url, "first");
  await using second = await startCandidate(nats.url, "second");
  const old = await first.lead();
  // Its clock stands, so that its window lasts as long as this test does.
  const frozenAt = systemClock.now();
  const oldTimestamps = Window.timestamps(first.ctx.catalog, old, { ...systemClock, now: () => frozenAt });
  const early = await oldTimestamps.allocate(10);
  const write = (leader: Leadership, { catalog }: ActorContext, pchannel: number, nodeId: string): Promise<boolean> =>
    leader.commit([putDoc(catalog.cache, metaKeys.channel(pchannel), { nodeId, term: leader.epoch })]);
  expect(await write(old, first.ctx, 0, "a")).toBe(true);

  const waiting = second.lead();
  first.freeze();
  await endLease(second);
  const next = await waiting;
  expect(next.epoch).toBe(old.epoch + 1);
  expect(old.signal.aborted).toBe(false);

  // What it still hands out lies below its persisted bound, where the next leader never goes.
  const late = await oldTimestamps.allocate(10);
  const nextTimestamps = Window.timestamps(second.ctx.catalog, next, systemClock);
  const firstOfNext = await nextTimestamps.allocate(10);
  expect(late).toBeGreaterThanOrEqual(early + 10n);
  expect(firstOfNext).toBeGreaterThanOrEqual(late + 10n);

  const stale = write(old, first.ctx, 1, "stale");
  stale.catch(() => undefined);
  first.thaw();
  await expect(stale).rejects.toMatchObject({ kind: "canceled" });
  expect(old.signal.aborted).toBe(true);
  await expect(oldTimestamps.allocate(1)).rejects.toMatchObject({ kind: "not_ready" });
  expect(await write(next, second.ctx, 1, "b")).toBe(true);
  await first.ctx.catalog.cache.sync(systemClock.monotonic() + 30_000);
  for (const { ctx } of [first, second]) {
    expect(ctx.catalog.channelOwner(0)).toEqual({ nodeId: "a", term: old.epoch });
    expect(ctx.catalog.channelOwner(1)).toEqual({ nodeId: "b", term: next.epoch });
  }
});

test("whatever a replaced leader tries to change, the store refuses it", async () => {
  await using nats = await startTestNats();
  await using first = await startCandidate(nats.url, "first");
  await using second = await startCandidate(nats.url, "second");
  const old = await first.lead();
  const nodes = { ofRole: () => [{ nodeId: "b", isDraining: false, state: {} }], has: () => false };
  const ctx = { ...first.ctx, nodes } as unknown as ActorContext;
  const { catalog } = ctx;
  const windows = {
    timestamps: Window.timestamps(catalog, old, systemClock),
    ids: Window.ids(catalog, old),
  };
  const changes = catalogChanges(ctx, old, windows);
  const groups = groupChanges(ctx, old);
  const index = { name: "vector", fieldId: 101, type: "HNSW", metric: "L2", params: {} } as const;
  const made: number[] = [];
  for (const name of ["plain", "indexed", "loaded"]) {
    const { collectionId } = await changes.createCollection(emptyCollection(name));
    if (name !== "plain") await changes.createIndex({ collectionId, index });
    if (name === "loaded") await changes.load({ collectionId, replicaNumber: 1, resourceGroups: [] });
    made.push(collectionId);
  }
  const [plain, indexed, loaded] = made as [number, number, number];
  await old.commit([
    putDoc(catalog.cache, metaKeys.cluster, { format: 1, clusterId: "c", walChannels: 1 }),
    putDoc(catalog.cache, metaKeys.channel(0), { nodeId: "a", term: 1 }),
  ]);
  await windows.timestamps.raise(timestampOfMs(systemClock.now() + 600_000));

  first.freeze();
  await endLease(second);
  const next = await second.lead();
  expect(old.signal.aborted).toBe(false);
  const before = await second.ctx.meta.lastRevision();
  const assigner = new ChannelAssigner(ctx, old, () => undefined);
  const of = (collectionId: number) => ({ collectionId });
  const named = (name: string) => ({ database: "default", name });
  // One each: changes by one wait for each other.
  const each = () => catalogChanges(ctx, old, windows);
  const attempted: [string, () => Promise<unknown>][] = [
    [metaKeys.name("default", "stale"), () => each().createCollection(emptyCollection("stale"))],
    [metaKeys.name("default", "plain"), () => each().dropCollection(of(plain))],
    [metaKeys.collection(plain), () => each().createIndex({ collectionId: plain, index })],
    [metaKeys.collection(indexed), () => each().load({ collectionId: indexed, replicaNumber: 1, resourceGroups: [] })],
    [metaKeys.collection(indexed), () => each().dropIndex({ ...of(indexed), indexName: "vector" })],
    [metaKeys.collection(loaded), () => each().release(of(loaded))],
    [metaKeys.name("default", "renamed"), () => each().renameCollection({ ...of(plain), ...named("renamed") })],
    [metaKeys.manifest(`${plain}v1`), () => each().truncateCollection({ ...of(plain), vchannels: [`${plain}v0`] })],
    [metaKeys.collection(plain), () => each().alterCollection({ ...of(plain), set: { timezone: "UTC" }, remove: [] })],
    [
      metaKeys.name("default", "alias"),
      () => each().createAlias({ ...of(plain), database: "default", alias: "alias" }),
    ],
    [metaKeys.database("d"), () => each().createDatabase({ databaseId: 9, name: "d", properties: {} })],
    [
      metaKeys.collection(indexed),
      () => each().alterIndex({ ...of(indexed), indexName: "vector", set: { warmup: "sync" }, remove: [] }),
    ],
    [metaKeys.resourceGroup("g"), () => groups.create({ name: "g", config: NO_NODES })],
    [metaKeys.channel(0), () => renewTerm(ctx, old, { pchannel: 0, nodeId: "a", term: 1 })],
    [metaKeys.channel(0), () => assigner.step()],
    [metaKeys.timestampWindow, () => windows.timestamps.raise(timestampOfMs(systemClock.now() + 3_600_000))],
    [metaKeys.idWindow, () => windows.ids.raise(1_000_000_000n)],
  ];
  const failed = attempted.map(([, attempt]) => attempt().catch((error: unknown) => error));
  await expect.poll(() => first.attempts.length).toBe(attempted.length);
  expect(first.attempts.map(({ isStored }) => isStored)).toEqual(attempted.map(() => false));
  const tried = first.attempts.flatMap(({ keys }) => keys);
  for (const [key] of attempted) expect(tried).toContain(key);
  expect(await second.ctx.meta.lastRevision()).toBe(before);

  first.thaw();
  for (const error of await Promise.all(failed)) expect(error).toMatchObject({ kind: "canceled" });
  expect(await second.ctx.meta.lastRevision()).toBe(before);
  expect(await next.commit([putDoc(second.ctx.catalog.cache, metaKeys.channel(0), { nodeId: "b", term: 2 })])).toBe(
    true,
  );
});

test("a leader that stops hands the lease back before it has ended what it does", async () => {
  await using nats = await startTestNats();
  await using first = await startCandidate(nats.url, "first");
  await using second = await startCandidate(nats.url, "second");
  const stop = new AbortController();
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let epoch = 0;
  const leading = leadOnce(first.ctx, stop.signal, async (raiseEpoch) => {
    ({ epoch } = await raiseEpoch());
    await ended;
  });
  await expect.poll(() => epoch).toBeGreaterThan(0);
  stop.abort();
  await expect.poll(() => second.ctx.leases.get(LEASE_KEY)).toBeNull();
  expect((await second.lead()).epoch).toBe(epoch + 1);
  end();
  await leading;
});
