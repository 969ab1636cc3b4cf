/**
 * A database that keeps its promises, in memory and in simulated time: delays, lost answers, writes that are applied long
 * after their caller has given up, reads as old as their level allows. What the checker must never accuse; with a `flaw`,
 * what it must.
 */
import type {
  DeleteOptions,
  GetOptions,
  Hit,
  InsertOptions,
  QueryOptions,
  Row,
  SearchOptions,
} from "../../../client/types.ts";
import type { Clock } from "../../clock.ts";
import { VdbError } from "../../errors.ts";
import { distanceOf } from "../exact-answers.ts";
import type { Level } from "./history.ts";
import { vectorOf } from "./row-vectors.ts";
import type { WorkloadClient } from "./workload.ts";

export type Flaw =
  | "acknowledged write is lost"
  | "half of a part is lost"
  | "Strong read is old"
  | "Session read is old"
  | "Bounded read is old"
  | "row is stored twice"
  | "deleted rows come back"
  | "search leaves a shard out"
  | "timestamps go back";

export interface ModelOptions {
  clock: Pick<Clock, "monotonic" | "sleep">;
  random: () => number;
  flaw?: Flaw;
  boundedStalenessMs?: number;
}

const SHARDS = 2;
const FLAW_SHARE = 0.05;
const LOST_SHARE = 0.08;

interface Change {
  at: number;
  version: number | null;
}

export function modelShardOf(key: number): number {
  return key % SHARDS;
}

/** A function that makes clients of one database. */
export function createModelDatabase(options: ModelOptions): () => WorkloadClient {
  const { clock, random, flaw, boundedStalenessMs = 5_000 } = options;
  const rows = new Map<number, Change[]>();
  let counter = 0;
  let doubled = 0;
  const isFlawed = (which: Flaw) => flaw === which && random() < FLAW_SHARE;
  const delay = (ms: number) => clock.sleep(random() * random() * ms);

  const valueAt = (key: number, at: number): number | null => {
    const changes = rows.get(key) ?? [];
    for (let i = changes.length - 1; i >= 0; i--) if (changes[i]!.at <= at) return changes[i]!.version;
    return null;
  };
  const set = (key: number, version: number | null) => {
    const changes = rows.get(key) ?? [];
    rows.set(key, changes);
    changes.push({ at: clock.monotonic(), version });
  };
  const later = (ms: number, act: () => void) => void clock.sleep(ms).then(act);

  /** Each shard's part at a moment of its own, whole. */
  async function apply(changes: readonly (readonly [number, number | null])[], isDelete: boolean): Promise<void> {
    const isLost = changes.length > 0 && isFlawed("acknowledged write is lost");
    const parts = Array.from({ length: SHARDS }, (_, s) => changes.filter(([key]) => modelShardOf(key) === s));
    const stored = (part: typeof changes) => {
      const kept = isFlawed("half of a part is lost") ? part.slice(0, Math.ceil(part.length / 2)) : part;
      for (const [key, version] of kept) {
        const before = valueAt(key, clock.monotonic());
        set(key, version);
        if (isDelete && before !== null && isFlawed("deleted rows come back")) later(200, () => set(key, before));
      }
      if (!isDelete && isFlawed("row is stored twice")) doubled++;
    };
    if (isLost) return delay(50);
    const isUnknown = random() < LOST_SHARE;
    await Promise.all(
      parts.map(async (part) => {
        await delay(50);
        if (!isUnknown) return stored(part);
        const fate = random();
        if (fate < 0.4) stored(part);
        else if (fate < 0.7) later(random() * 3_000, () => stored(part));
      }),
    );
    if (isUnknown) {
      await delay(500);
      throw new VdbError("deadline_exceeded", "no answer");
    }
  }

  return () => {
    let lastWriteAt = Number.NEGATIVE_INFINITY;
    let timestamp: bigint | undefined;

    async function write<T>(
      changes: readonly (readonly [number, number | null])[],
      isDelete: boolean,
      answer: T,
    ): Promise<T> {
      await apply(changes, isDelete);
      lastWriteAt = clock.monotonic();
      timestamp = BigInt(isFlawed("timestamps go back") ? 1 : ++counter + 10);
      await delay(30);
      return answer;
    }

    /** The moment as of which a shard answers. */
    async function moments(level: Level = "Strong"): Promise<number[]> {
      const startedAt = clock.monotonic();
      const list = await Promise.all(
        Array.from({ length: SHARDS }, async () => {
          await delay(50);
          const now = clock.monotonic();
          switch (level) {
            case "Strong":
              return isFlawed("Strong read is old") ? startedAt - 1_500 : now;
            case "Bounded":
              return startedAt - random() * (flaw === "Bounded read is old" ? 4 : 1) * boundedStalenessMs;
            case "Session":
              return isFlawed("Session read is old")
                ? lastWriteAt - 1_500
                : Math.max(lastWriteAt, now - random() * 10_000);
            case "Eventually":
              return now - random() * 20_000;
          }
        }),
      );
      await delay(30);
      if (random() < LOST_SHARE / 2) throw new VdbError("unavailable", "no answer");
      return list;
    }

    async function read(keysOf: () => Iterable<number>, level: Level | undefined): Promise<Row[]> {
      const at = await moments(level);
      const found: Row[] = [];
      for (const key of keysOf()) {
        const version = valueAt(key, at[modelShardOf(key)]!);
        if (version !== null) found.push({ id: key, version });
      }
      return found;
    }

    const matching = (filter: string) => () => keysMatching(filter, rows.keys());
    const changesOf = ({ data }: InsertOptions) =>
      (Array.isArray(data) ? (data as Row[]) : [data as Row]).map(
        ({ id, version }) => [Number(id), Number(version)] as const,
      );

    return {
      createCollection: () => Promise.resolve(),
      createIndex: () => Promise.resolve(),
      loadCollection: () => delay(100),
      flush: () => delay(100),
      insert: (request: InsertOptions) => write(changesOf(request), false, {}),
      upsert: (request: InsertOptions) => write(changesOf(request), false, {}),
      async delete({ filter }: DeleteOptions) {
        const listed = /in \[(.*)\]/.exec(filter)?.[1];
        const keys =
          listed === undefined
            ? (await read(matching(filter), "Strong")).map(({ id }) => Number(id))
            : listed.split(",").map(Number);
        return write(
          keys.map((key) => [key, null] as const),
          true,
          {},
        );
      },
      get: ({ id, consistencyLevel }: GetOptions) => read(() => id as number[], consistencyLevel),
      async query({ filter = "", outputFields, consistencyLevel }: QueryOptions) {
        const found = await read(matching(filter), consistencyLevel);
        return outputFields?.[0] === "count(*)"
          ? [{ "count(*)": found.length + (filter.includes("<") ? 0 : doubled) }]
          : found;
      },
      async search({ data, filter = "", limit = 10, consistencyLevel }: SearchOptions): Promise<Hit[][]> {
        const query = (data as Float32Array[])[0]!;
        const found = await read(matching(filter), consistencyLevel);
        const isPart = isFlawed("search leaves a shard out");
        const hits = found
          .filter(({ id }) => !isPart || modelShardOf(Number(id)) === 0)
          .map((row) => ({ ...row, distance: distanceOf("L2", query, vectorOf(Number(row.id), Number(row.version))) }));
        return [hits.sort((a, b) => a.distance - b.distance).slice(0, limit)];
      },
      lastTimestamp: () => timestamp,
    };
  };
}

/** Of the filters that the workload makes: bounds of `id`. */
function keysMatching(filter: string, keys: Iterable<number>): number[] {
  const bounds = [...filter.matchAll(/id (>=|<=|<) (\d+)/g)].map(([, sign, number]) => ({
    sign,
    number: Number(number),
  }));
  const isIn = (key: number) =>
    bounds.every(({ sign, number }) => (sign === ">=" ? key >= number : sign === "<=" ? key <= number : key < number));
  return [...keys].filter(isIn).sort((a, b) => a - b);
}
