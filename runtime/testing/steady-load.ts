/**
 * A steady load of writers and readers on a collection, and the account of what was acknowledged: for tests that break
 * a cluster under it. Writers insert, now and then delete, and read their own writes back; each has a range of ids of
 * its own. Readers search. Every client call retries as a user's would; what still fails is noted.
 */
import { setTimeout as pause } from "node:timers/promises";
import { VdbClient } from "../../client/client.ts";
import type { Row } from "../../client/types.ts";

const DIMENSION = 8;
const BATCH_ROWS = 10;

/** Between two operations of a client: the load is to be steady, not to fill the machine. */
const PAUSE_MS = 15;

/** Ids of a writer: writer * ID_STEP and up. */
const ID_STEP = 1_000_000;

/** Hits that every search must give: there are more rows from the beginning. */
const HITS = 10;

export interface SteadyLoad {
  /** Rows that must be there: acknowledged, and not deleted. Stable once the load has stopped. */
  expectedIds(): number[];
  /** The first calls that failed, or that gave a wrong answer. */
  readonly failures: string[];
  /** How many writes and searches were answered. */
  readonly answered: { writes: number; searches: number };
  /** Milliseconds that the unluckiest insert and search took of those answered since a performance.now(), tries included. */
  longestWait(since: number): { insertMs: number; searchMs: number };
  /** Resolves when every writer and reader has been answered a request that it sent after now. */
  everybodyServed(timeoutMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** A client of the load: when its calls were answered. */
interface Member {
  client: VdbClient;
  isWriter: boolean;
  /** performance.now() of each answer, and when its request was sent. */
  answers: { sentAt: number; at: number }[];
}

export async function createLoadedCollection(
  client: VdbClient,
  collectionName: string,
  replicaNumber = 2,
): Promise<void> {
  await client.createCollection({
    collectionName,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "writer", dataType: "Int32" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
      ],
    },
    params: { shardsNum: 2 },
  });
  const indexParams = [{ fieldName: "vector", indexType: "HNSW" as const, metricType: "L2" as const }];
  await client.createIndex({ collectionName, indexParams });
  await client.loadCollection({ collectionName, replicaNumber });
}

export async function startSteadyLoad(options: {
  servers: string;
  collectionName: string;
  writers: number;
  readers: number;
}): Promise<SteadyLoad> {
  const { servers, collectionName } = options;
  const stopping = new AbortController();
  const present = new Set<number>();
  const failures: string[] = [];
  const answered = { writes: 0, searches: 0 };
  const members: Member[] = [];
  for (let m = 0; m < options.writers + options.readers; m++) {
    members.push({ client: await VdbClient.connect({ servers }), isWriter: m < options.writers, answers: [] });
  }

  const fail = (what: string, error: unknown) => {
    if (failures.length < 20) failures.push(`${new Date().toISOString()} ${what}: ${String(error)}`);
  };
  const timed = async <T>(member: Member, call: () => Promise<T>): Promise<T> => {
    const sentAt = performance.now();
    const answer = await call();
    member.answers.push({ sentAt, at: performance.now() });
    return answer;
  };

  const write = async (member: Member, writer: number): Promise<void> => {
    for (let batch = 0; !stopping.signal.aborted; batch++) {
      const first = writer * ID_STEP + batch * BATCH_ROWS;
      const data = Array.from({ length: BATCH_ROWS }, (_, i) => rowOf(first + i, writer));
      try {
        await timed(member, () => member.client.insert({ collectionName, data }));
        answered.writes++;
        for (const { id } of data) present.add(id);
        // One of this batch, fresh, and one that has been sealed long since.
        for (const gone of batch % 3 === 0 ? [first + 1, first + 2 - 100 * BATCH_ROWS] : []) {
          if (!present.has(gone)) continue;
          await member.client.delete({ collectionName, filter: `id in [${gone}]` });
          present.delete(gone);
        }
        const newest = {
          collectionName,
          filter: `id >= ${first} and id < ${first + BATCH_ROWS}`,
          outputFields: ["id"],
        };
        const found = await member.client.query({ ...newest, consistencyLevel: "Session" });
        const wanted = data.filter(({ id }) => present.has(id)).map(({ id }) => id);
        const ids = found.map(({ id }) => id);
        if (String(ids) !== String(wanted)) fail(`read of the writer's own rows gave ${ids}`, `wanted ${wanted}`);
      } catch (error) {
        fail(`writer ${writer} at row ${first}`, error);
      }
      await pause(PAUSE_MS);
    }
  };
  const read = async (member: Member): Promise<void> => {
    for (let n = 0; !stopping.signal.aborted; n++) {
      try {
        const request = { collectionName, data: [vectorOf(n)], limit: HITS };
        const [hits = []] = await timed(member, () => member.client.search(request));
        answered.searches++;
        if (new Set(hits.map(({ id }) => id)).size !== HITS) fail("search", `${hits.length} hits instead of ${HITS}`);
      } catch (error) {
        fail("search", error);
      }
      await pause(PAUSE_MS);
    }
  };

  // Before the readers begin there are rows enough for every search.
  const seeds = Array.from({ length: 10 * HITS }, (_, i) => rowOf(-1 - i, -1));
  await members[0]!.client.insert({ collectionName, data: seeds });
  for (const { id } of seeds) present.add(id);
  const running = members.map((member, m) => (member.isWriter ? write(member, m) : read(member)));

  return {
    failures,
    answered,
    expectedIds: () => [...present].sort((a, b) => a - b),
    longestWait(since) {
      const longest = (isWriter: boolean) =>
        Math.max(0, ...members.flatMap((member) => (member.isWriter === isWriter ? waits(member, since) : [])));
      return { insertMs: longest(true), searchMs: longest(false) };
    },
    async everybodyServed(timeoutMs) {
      const since = performance.now();
      const isServed = ({ answers }: Member) => (answers.at(-1)?.sentAt ?? 0) >= since;
      while (!members.every(isServed)) {
        if (performance.now() - since > timeoutMs) {
          throw new Error(`some clients were not served for ${timeoutMs} ms: ${failures.join("\n")}`);
        }
        await pause(20);
      }
    },
    async stop() {
      stopping.abort();
      await Promise.all(running);
      await Promise.all(members.map(({ client }) => client.close()));
    },
  };
}

function rowOf(id: number, writer: number): Row & { id: number } {
  return { id, writer, vector: vectorOf(id) };
}

/** Different for every id, and near those of some others. */
function vectorOf(id: number): Float32Array {
  return Float32Array.from({ length: DIMENSION }, (_, i) => Math.sin((id % 997) * (i + 1)) + id / 1e7);
}

function waits({ answers }: Member, since: number): number[] {
  return answers.filter(({ at }) => at >= since).map(({ sentAt, at }) => at - sentAt);
}
