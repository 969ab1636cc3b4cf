/**
 * The data that every peer gets: vectors, queries, scalar fields, and the exact answers. Generated vectors and exact
 * answers are made once and kept in .vdb-tools/bench-data.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { seeded } from "../../runtime/sim/seeded.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";
import { readDataset } from "../dataset.ts";
import { generateVectors, type Shape } from "./generate.ts";
import { exactNeighbours, type Rows } from "./truth.ts";

/** Neighbours asked for. */
export const K = 10;
/** Number of buckets, evenly filled: `bucket < 10` keeps 1 % of the rows. */
export const BUCKETS = 1000;
/** Bounds on the bucket for filters that keep all, half, a tenth, a hundredth. */
export const BOUNDS = [BUCKETS, 500, 100, 10] as const;
const QUERIES = 1000;
const SEED = 20_240_601;
const CACHE = join(PROJECT_FOLDER, ".vdb-tools", "bench-data");

export interface PeerData extends Rows {
  name: string;
  rows: number;
  /** A second scalar field, which nobody filters. */
  titles: string[];
  queries: Float32Array;
  /** The exact neighbours of a query among the rows whose bucket is below one of BOUNDS; row numbers, -1 for none. */
  truth(query: number, below: number): Int32Array;
}

export interface DataSet {
  name: string;
  description: string;
  rows: number;
  metric: Rows["metric"];
  /** For generated vectors; otherwise they are the packages of bench/data. */
  shape?: Shape;
  /** Generated queries; 1,000 when absent. */
  queries?: number;
}

export const DATA_SETS: readonly DataSet[] = [
  {
    name: "smoke",
    description: "5,000 x 32, L2, generated: to see that everything runs",
    rows: 5000,
    metric: "L2",
    shape: { dimension: 32, clusters: 50, latent: 16, spread: 1, normalised: false },
  },
  {
    name: "l2-128",
    description: "100,000 x 128, L2, generated",
    rows: 100_000,
    metric: "L2",
    shape: { dimension: 128, clusters: 200, latent: 48, spread: 1, normalised: false },
  },
  {
    name: "cosine-768",
    description: "50,000 x 768, cosine, generated",
    rows: 50_000,
    metric: "COSINE",
    shape: { dimension: 768, clusters: 200, latent: 64, spread: 1, normalised: true },
  },
  {
    name: "packages-256",
    description: "50,000 x 256, cosine, embeddings of Debian packages",
    rows: 50_000,
    metric: "COSINE",
  },
];

/** @throws Error when there is no data set of that name. */
export function dataSet(name: string): DataSet {
  const set = DATA_SETS.find((one) => one.name === name);
  if (set === undefined) throw new Error(`no data set ${name}: one of ${DATA_SETS.map((one) => one.name).join(", ")}`);
  return set;
}

export async function readPeerData(set: DataSet): Promise<PeerData> {
  const { name } = set;
  const { vectors, queries, titles, dimension } = set.shape === undefined ? await packages() : await generated(set);
  const rows = titles.length;
  const buckets = bucketsOf(rows);
  const base: Rows = { dimension, metric: set.metric, vectors, buckets };
  const nq = queries.length / dimension;
  const exact = await cached(`${keyOf(set)}-truth`, () => {
    process.stderr.write(`${name}: scanning for the exact neighbours, once\n`);
    return exactNeighbours(base, queries, K, BOUNDS);
  });
  return {
    ...base,
    name,
    rows,
    titles,
    queries,
    truth: (query, below) => {
      const start = (BOUNDS.indexOf(below as (typeof BOUNDS)[number]) * nq + query) * K;
      return exact.subarray(start, start + K);
    },
  };
}

function bucketsOf(rows: number): Int32Array {
  const { int } = seeded(SEED, "buckets");
  return Int32Array.from({ length: rows }, () => int(BUCKETS));
}

async function generated(set: DataSet) {
  const shape = set.shape!;
  const part = async (name: string, rows: number) => {
    const bytes = await cached(`${keyOf(set)}-${name}`, () => {
      const vectors = generateVectors(shape, { rows, seed: SEED, part: name });
      return new Int32Array(vectors.buffer);
    });
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length);
  };
  return {
    dimension: shape.dimension,
    vectors: await part("rows", set.rows),
    queries: await part("queries", set.queries ?? QUERIES),
    titles: Array.from({ length: set.rows }, (_, row) => `row ${row} of ${set.name}`),
  };
}

async function packages() {
  const { rows, queries } = await readDataset();
  const dimension = queries[0]!.length;
  const titles = rows.map((row) => String(row.title));
  return { dimension, vectors: flat(rows.map((row) => row.vector as Float32Array)), queries: flat(queries), titles };
}

function flat(list: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(list.length * list[0]!.length);
  list.forEach((vector, i) => {
    all.set(vector, i * vector.length);
  });
  return all;
}

/** Changes with everything that the data depends on. */
function keyOf({ name, rows, shape, queries = QUERIES }: DataSet): string {
  const numbers = shape === undefined ? [] : [shape.dimension, shape.clusters, shape.latent, shape.spread];
  return [name, rows, queries, ...numbers, SEED].join("-");
}

async function cached(name: string, make: () => Int32Array): Promise<Int32Array> {
  const path = join(CACHE, `${name}.bin`);
  if (!existsSync(path)) {
    await mkdir(CACHE, { recursive: true });
    const made = make();
    // Written to another name and renamed: a stopped run leaves no partial file.
    const aside = `${path}.${process.pid}`;
    await writeFile(aside, new Uint8Array(made.buffer, made.byteOffset, made.byteLength));
    await rename(aside, path);
  }
  const bytes = await readFile(path);
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}
