/** The benchmark's data: 50,000 Debian packages with 256-d embeddings, 1,000 queries and their exact neighbours (bench/data). */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Row } from "../client/types.ts";
import { PROJECT_FOLDER } from "../runtime/version.ts";

const unzip = promisify(gunzip);
const FOLDER = join(PROJECT_FOLDER, "bench", "data");

export const DIMENSION = 256;
/** Neighbours that the truth files list for each query. */
const TRUTH_WIDTH = 100;

export interface Dataset {
  /** The packages with their vectors, which are views of one array. */
  rows: Row[];
  queries: Float32Array[];
}

export interface FilterCase {
  name: string;
  filter: string;
  truth: string;
}

/** Filters with exact answers, by the share of rows that they keep. */
export const FILTERS: FilterCase[] = [
  { name: "2 %", filter: "installed_kb > 50000", truth: "truth_installed_kb_gt_50000" },
  { name: "7 %", filter: 'section == "python"', truth: "truth_section_python" },
  { name: "27 %", filter: "installed_kb > 1000", truth: "truth_installed_kb_gt_1000" },
];

export async function readDataset(): Promise<Dataset> {
  const vectors = await floats("packages.f32.gz");
  const records = await readRecords();
  const rows = records.map((record, i) => ({
    ...record,
    vector: vectors.subarray(i * DIMENSION, (i + 1) * DIMENSION),
  }));
  const flat = await floats("queries.f32.gz");
  const queries = Array.from({ length: flat.length / DIMENSION }, (_, i) =>
    flat.subarray(i * DIMENSION, (i + 1) * DIMENSION),
  );
  return { rows, queries };
}

/** The packages without their vectors: name, title, section and so on. */
export async function readRecords(): Promise<Row[]> {
  const text = (await unzip(await readFile(join(FOLDER, "packages.ndjson.gz")))).toString("utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
}

/** The exact neighbours of each query, best first. */
export async function readTruth(name = "truth_all"): Promise<Int32Array[]> {
  const bytes = await unzip(await readFile(join(FOLDER, `${name}.i32.gz`)));
  const all = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return Array.from({ length: all.length / TRUTH_WIDTH }, (_, i) =>
    all.subarray(i * TRUTH_WIDTH, (i + 1) * TRUTH_WIDTH),
  );
}

/** The share of the k true neighbours that were found. */
export function recallAt(k: number, found: readonly number[], truth: Int32Array): number {
  const wanted = new Set(truth.subarray(0, k));
  return found.slice(0, k).filter((id) => wanted.has(id)).length / k;
}

async function floats(file: string): Promise<Float32Array> {
  const bytes = await unzip(await readFile(join(FOLDER, file)));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
