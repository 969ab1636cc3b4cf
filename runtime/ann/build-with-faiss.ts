/** Builds an index with faiss-node: trains, adds, writes. In a child process only (see faiss.ts). */
import { type FileHandle, open } from "node:fs/promises";
import type { BuildJob } from "./build-index-child.ts";
import { type FaissIndex, NumberArrays, newFaissIndex, readFaissIndex } from "./faiss.ts";
import { inspectIndexFile, patchIndexFile } from "./index-file.ts";
import { defaultEffort, type IndexSpec } from "./index-params.ts";
import { normaliseRows } from "./normalise.ts";
import { decodeNumbers, rowBytes } from "./packed-vectors.ts";

/** FAISS warns when k-means has fewer training points than this for each centroid. */
const POINTS_PER_CENTROID_MIN = 39;

/** FAISS samples down to this many points for each centroid: reading more is useless. */
const POINTS_PER_CENTROID_MAX = 256;

/**
 * Numbers passed in one native call while adding: 2,048 rows of 256 dimensions. The binding holds about 32 bytes a
 * number during the call, so 16 MiB; larger blocks do not add faster, smaller ones leave OpenMP less to share.
 */
const BLOCK_NUMBERS_MAX = 524_288;

/** Training is one native call: 16 M numbers are about 512 MiB in the binding while it runs. */
const TRAINING_NUMBERS_MAX = 16_777_216;

export async function buildWithFaiss(job: BuildJob, onProgress: (rowsDone: number) => void): Promise<void> {
  const spec = trainableSpec(job.spec, job.rows);
  const index = await emptyIndex(job, spec);
  const vectors = await open(job.vectorsFile, "r");
  try {
    if (!index.isTrained()) index.train(await trainingSample(job, spec, vectors));
    await addAll(job, index, vectors, onProgress);
  } finally {
    await vectors.close();
  }
  index.write(job.outFile);
  const { effort } = await inspectIndexFile(job.outFile);
  // The file says its own search default, so that a search host can open it as it is.
  if (effort !== undefined) await patchIndexFile(job.outFile, effort, defaultEffort(spec));
}

/** What FAISS can train on these rows: Milvus, too, lowers nlist for small segments. */
function trainableSpec(spec: IndexSpec, rows: number): IndexSpec {
  const params = { ...spec.params };
  if (params.nlist !== undefined) {
    params.nlist = Math.max(1, Math.min(params.nlist, Math.floor(rows / POINTS_PER_CENTROID_MIN)));
  }
  // Each quantizer has 2^nbits centroids and FAISS refuses fewer training points than that.
  if (params.nbits !== undefined) params.nbits = Math.max(1, Math.min(params.nbits, Math.floor(Math.log2(rows))));
  return { type: spec.type, params };
}

/** efConstruction has no setter in the binding: it is written into the file of the empty index, which is read back. */
async function emptyIndex(job: BuildJob, spec: IndexSpec): Promise<FaissIndex> {
  const index = newFaissIndex(job.dimension, spec, job.metric);
  if (spec.params.efConstruction === undefined) return index;
  index.write(job.outFile);
  const { efConstruction } = await inspectIndexFile(job.outFile);
  if (efConstruction === undefined) throw new Error("an HNSW file has no efConstruction");
  await patchIndexFile(job.outFile, efConstruction, spec.params.efConstruction);
  return readFaissIndex(job.outFile);
}

/** Rows spread evenly over the file, as one plain array. */
async function trainingSample(job: BuildJob, spec: IndexSpec, vectors: FileHandle): Promise<number[]> {
  const { dimension, rows } = job;
  const centroids = Math.max(spec.params.nlist ?? 1, 2 ** (spec.params.nbits ?? 0));
  const wanted = Math.min(centroids * POINTS_PER_CENTROID_MAX, Math.floor(TRAINING_NUMBERS_MAX / dimension));
  const count = Math.min(rows, Math.max(wanted, centroids));
  const sample = new Array<number>(count * dimension).fill(0.5);
  const row = new Float32Array(dimension);
  for (let i = 0; i < count; i++) {
    await readRows(job, vectors, Math.floor((i * rows) / count), row);
    for (let j = 0; j < dimension; j++) sample[i * dimension + j] = row[j]!;
  }
  return sample;
}

async function addAll(
  job: BuildJob,
  index: FaissIndex,
  vectors: FileHandle,
  onProgress: (rowsDone: number) => void,
): Promise<void> {
  const { dimension, rows } = job;
  const blockRows = Math.max(1, Math.floor(BLOCK_NUMBERS_MAX / dimension));
  const arrays = new NumberArrays();
  const block = new Float32Array(Math.min(blockRows, rows) * dimension);
  for (let start = 0; start < rows; start += blockRows) {
    const part = block.subarray(0, Math.min(blockRows, rows - start) * dimension);
    await readRows(job, vectors, start, part);
    const numbers = arrays.of(part.length);
    for (let i = 0; i < part.length; i++) numbers[i] = part[i]!;
    index.add(numbers);
    onProgress(start + part.length / dimension);
  }
}

/** Fills `target` with whole rows from `startRow` on, as float32, normalised where the metric is COSINE. */
async function readRows(job: BuildJob, vectors: FileHandle, startRow: number, target: Float32Array): Promise<void> {
  const { vectorType, dimension, metric } = job;
  if (vectorType === "FloatVector") {
    await readBytes(job, vectors, startRow, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
  } else {
    const packed = new Uint8Array((target.length / dimension) * rowBytes(vectorType, dimension));
    await readBytes(job, vectors, startRow, packed);
    decodeNumbers(vectorType, packed, 0, target);
  }
  if (metric === "COSINE") normaliseRows(target, target, dimension);
}

async function readBytes(job: BuildJob, vectors: FileHandle, startRow: number, bytes: Uint8Array): Promise<void> {
  let filled = 0;
  // An offset into the vectors as if the parts lay one after the other.
  let position = startRow * rowBytes(job.vectorType, job.dimension);
  for (const part of job.vectorParts) {
    while (position < part.bytes && filled < bytes.length) {
      const wanted = Math.min(bytes.length - filled, part.bytes - position);
      const { bytesRead } = await vectors.read(bytes, filled, wanted, part.offset + position);
      if (bytesRead === 0) throw new Error(`${job.vectorsFile} ends before row ${job.rows}`);
      filled += bytesRead;
      position += bytesRead;
    }
    position -= part.bytes;
    if (filled === bytes.length) break;
  }
}
