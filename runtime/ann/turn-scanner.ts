/** Exact search in JavaScript, in turns of the event loop: used without the native engine. */
import type { Clock } from "../clock.ts";
import { isDescending } from "../schema.ts";
import { TopK } from "../topk.ts";
import { takeTurn } from "../turns.ts";
import { distanceRange } from "./distance-range.ts";
import type { ExactScan, ExactScanner, Neighbours } from "./engine.ts";
import { prepareQueries, scanExact, scanRowsMax } from "./exact.ts";
import { vectorWidth } from "./packed-vectors.ts";

export function createTurnScanner(clock: Clock): ExactScanner {
  return { scanExact: (scan) => scanInTurns(scan, clock) };
}

async function scanInTurns(scan: ExactScan, clock: Clock): Promise<Neighbours> {
  const { metric, vectorType = "FloatVector", dimension, queries, k, blocks } = scan;
  const range = distanceRange(metric, scan);
  const width = vectorWidth(vectorType, dimension);
  const nq = queries.length / width;
  const heaps = Array.from({ length: nq }, () => new TopK(k, isDescending(metric)));
  // As many queries per turn as the largest block allows within the bound of a scan.
  const blockRows = blocks.reduce((most, { vectors }) => Math.max(most, vectors.length / width), 1);
  const groupSize = Math.max(1, Math.floor(scanRowsMax(1, dimension) / blockRows));
  const groups: { prepared: ReturnType<typeof prepareQueries>; heaps: TopK[] }[] = [];
  for (let from = 0; from < nq; from += groupSize) {
    const to = Math.min(nq, from + groupSize);
    const part = queries.subarray(from * width, to * width);
    groups.push({ prepared: prepareQueries(metric, part, dimension, vectorType), heaps: heaps.slice(from, to) });
  }
  for (const { vectors, norms, allow, firstRow } of blocks) {
    const chunk = {
      vectors,
      rowCount: vectors.length / width,
      firstRow,
      ...(norms === undefined ? {} : { norms }),
    };
    for (const group of groups) {
      await takeTurn(clock);
      scanExact(group.prepared, chunk, allow, group.heaps, range);
    }
  }
  return neighboursOf(heaps, k);
}

function neighboursOf(heaps: readonly TopK[], k: number): Neighbours {
  const rows = new Int32Array(heaps.length * k).fill(-1);
  const distances = new Float32Array(heaps.length * k);
  heaps.forEach((heap, query) => {
    const top = heap.drain();
    rows.set(top.rows, query * k);
    distances.set(top.distances, query * k);
  });
  return { rows, distances };
}
