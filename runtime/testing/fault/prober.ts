/**
 * Measures when service is back: short writes and searches, sent all the time from the moment of a fault on, each of which
 * needs every shard. What they see goes into the history like everything else.
 */
import type { VdbClient } from "../../../client/client.ts";
import { errorMessage } from "../../errors.ts";
import { systemClock as clock } from "../../system-clock.ts";
import type { History } from "./history.ts";
import { exactNearest, problemOfHits, vectorOf } from "./row-vectors.ts";
import { rowOf, STATIC_ROWS, WIDE_SEARCH } from "./workload.ts";

const INTERVAL_MS = 300;
const CALL_TIMEOUT_MS = 5_000;
const IN_FLIGHT_MAX = 6;

/** Beside the workload's rows: enough keys for both shards, counted by nobody. */
const FIRST_KEY = 1_000;
const KEYS = 16;
const CLIENT = 900;

export interface Answered {
  start: number;
  end: number;
}

export interface Prober {
  /** Of the calls that were answered, by their end. */
  readonly writes: readonly Answered[];
  readonly searches: readonly Answered[];
  stop(): Promise<void>;
}

let nextVersion = 900_000_000_000;

export function startProber(client: VdbClient, collectionName: string, history: History): Prober {
  const writes: Answered[] = [];
  const searches: Answered[] = [];
  const inFlight = new Set<Promise<void>>();
  let isOver = false;

  const write = async (): Promise<void> => {
    const rows = Array.from({ length: KEYS }, (_, i) => ({ key: FIRST_KEY + i, version: nextVersion++ }));
    const start = clock.monotonic();
    const call = { kind: "upsert" as const, client: CLIENT, start, rows };
    try {
      await client.upsert({ collectionName, data: rows.map(rowOf), timeoutMs: CALL_TIMEOUT_MS });
      const end = clock.monotonic();
      writes.push({ start, end });
      history.operations.push({ ...call, end, outcome: "ok" });
    } catch (error) {
      history.operations.push({ ...call, end: clock.monotonic(), outcome: "info", error: errorMessage(error) });
    }
  };
  const search = async (): Promise<void> => {
    const query = vectorOf(1, 0);
    const start = clock.monotonic();
    const call = { kind: "static" as const, client: CLIENT, level: "Strong" as const, start, what: "probe" };
    try {
      const [hits = []] = await client.search({
        collectionName,
        data: [query],
        limit: STATIC_ROWS,
        filter: `id >= 0 and id < ${STATIC_ROWS}`,
        outputFields: ["id", "version"],
        consistencyLevel: "Strong",
        searchParams: WIDE_SEARCH,
        timeoutMs: CALL_TIMEOUT_MS,
      });
      const end = clock.monotonic();
      searches.push({ start, end });
      const problem = problemOfHits(query, hits, exactNearest(query, STATIC_ROWS, STATIC_ROWS), STATIC_ROWS);
      history.operations.push({ ...call, end, outcome: "ok", ...(problem === null ? {} : { problem }) });
    } catch (error) {
      history.operations.push({ ...call, end: clock.monotonic(), outcome: "info", error: errorMessage(error) });
    }
  };
  const running = (async () => {
    while (!isOver) {
      for (const probe of [write, search]) {
        if (inFlight.size >= 2 * IN_FLIGHT_MAX) break;
        const call = probe().finally(() => inFlight.delete(call));
        inFlight.add(call);
      }
      await clock.sleep(INTERVAL_MS);
    }
  })();
  return {
    writes,
    searches,
    async stop() {
      isOver = true;
      await running;
      await Promise.all(inFlight);
    },
  };
}

/** Milliseconds from `since` to the first answer of a call that began after it; null: there is none yet. */
export function firstAnswer(answers: readonly Answered[], since: number): number | null {
  const first = answers.find(({ start }) => start >= since);
  return first === undefined ? null : first.end - since;
}
