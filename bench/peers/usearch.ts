/** usearch: the library, through its own npm package. Its Node binding has no filters. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingPackage, requirePeer, versionOf } from "./packages.ts";
import { EF_CONSTRUCTION, M, type Peer, type SearchEffort } from "./peer.ts";

interface UsearchIndex {
  save(path: string): void;
  load(path: string): void;
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
  search(
    queries: Float32Array,
    k: number,
    threads: number,
  ): { keys: BigUint64Array; counts?: BigUint64Array; distances: Float32Array };
}

interface Usearch {
  Index: new (config: {
    dimensions: number;
    metric: "l2sq" | "cos";
    quantization: "f32" | "f16";
    connectivity: number;
    expansion_add: number;
    expansion_search: number;
    multi: boolean;
  }) => UsearchIndex;
}

/** A batch is one call, which blocks this thread: short enough to stop in time. */
const BATCH = 500;

export function usearchPeer(name: string, quantization: "f32" | "f16"): Peer {
  return {
    name,
    describe: () => `usearch ${versionOf("usearch")}, ${quantization}, its own threads`,
    missing: async () => missingPackage("usearch"),
    async open({ dimension, metric, vectors, rows }, threads) {
      const { Index } = requirePeer<Usearch>("usearch");
      const make = (expansion: number) =>
        new Index({
          dimensions: dimension,
          metric: metric === "L2" ? "l2sq" : "cos",
          quantization,
          connectivity: M,
          expansion_add: EF_CONSTRUCTION,
          expansion_search: expansion,
          multi: false,
        });
      const folder = await mkdtemp(join(tmpdir(), "vdb-usearch-"));
      const path = join(folder, "index");
      // The binding fixes the expansion when an index is made, so there is one for searches beside the one that was built.
      let open = { ef: 1, index: make(1) };
      const find = (queries: Float32Array, { k, ef }: SearchEffort, searchThreads: number) => {
        if (open.ef !== ef) {
          open = { ef, index: make(ef) };
          // The previous one holds memory that the garbage collector does not know of.
          globalThis.gc?.();
          open.index.load(path);
        }
        const { keys, counts } = open.index.search(queries, k, searchThreads);
        const nq = queries.length / dimension;
        return Array.from({ length: nq }, (_, q) => {
          const found = counts === undefined ? keys.length : Number(counts[q]!);
          return Array.from({ length: found }, (_unused, i) => Number(keys[q * k + i]!));
        });
      };
      return {
        filters: false,
        async buildIndex() {
          const keys = BigUint64Array.from({ length: rows }, (_, row) => BigInt(row));
          open.index.add(keys, vectors, threads);
          open.index.save(path);
        },
        async search(query, effort) {
          return find(query, effort, 1)[0] ?? [];
        },
        async searchMany(queries, effort) {
          const found: number[][] = [];
          for (let start = 0; start < queries.length; start += BATCH * dimension) {
            const part = queries.subarray(start, Math.min(queries.length, start + BATCH * dimension));
            found.push(...find(part, effort, effort.threads));
          }
          return found;
        },
        async close() {
          await rm(folder, { recursive: true, force: true });
        },
      };
    },
  };
}
