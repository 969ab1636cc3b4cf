/**
 * The process of one index build: reads vectors, builds, writes a plain FAISS file, says so, and ends. The native code is alone
 * here: a leak or an abort costs only this job.
 *
 * HNSW and FLAT are built by our own addon where it loads, the rest by faiss-node. Both write what any FAISS reads. The addon
 * keeps float16, bfloat16 and int8 as they are; faiss-node's indexes hold float32 instead (IVF_FLAT: two or four times as
 * much), or codes. For bits, the file is the rows themselves.
 */
import { exitWithParent } from "../child-process.ts";
import type { Metric } from "../schema.ts";
import type { FilePart } from "../segment/find-vectors.ts";
import type { EngineChoice } from "./create-engine.ts";
import { defaultEffort, type IndexSpec } from "./index-params.ts";
import { loadNativeAddon, type NativeAddon } from "./native-addon.ts";
import type { DenseVectorType } from "./packed-vectors.ts";
import { writeBitsFile } from "./write-bits-file.ts";

export interface BuildJob {
  spec: IndexSpec;
  metric: Metric;
  vectorType: DenseVectorType;
  dimension: number;
  rows: number;
  vectorsFile: string;
  /** The parts of that file, which together are row-major [rows, dimension] of that type. */
  vectorParts: readonly FilePart[];
  outFile: string;
  threads: number;
  engine: EngineChoice;
}

export type BuildReply =
  | { kind: "progress"; rowsDone: number }
  | { kind: "done"; seconds: number }
  | { kind: "failed"; message: string };

async function build(job: BuildJob, onProgress: (rowsDone: number) => void): Promise<void> {
  const { type } = job.spec;
  if (type === "BIN_FLAT") return writeBitsFile(job);
  if ((type === "HNSW" || type === "FLAT") && job.engine !== "faiss") {
    const addon = loadNativeAddon();
    if (!(addon instanceof Error)) return buildNatively(addon, type, job, onProgress);
    if (job.engine === "native") throw addon;
  }
  // Loaded only now: FAISS and its libraries take a while.
  const { buildWithFaiss } = await import("./build-with-faiss.ts");
  await buildWithFaiss(job, onProgress);
}

const ELEMENTS = { FloatVector: "f32", Float16Vector: "f16", BFloat16Vector: "bf16", Int8Vector: "i8" } as const;

async function buildNatively(
  addon: NativeAddon,
  type: "HNSW" | "FLAT",
  job: BuildJob,
  onProgress: (rowsDone: number) => void,
): Promise<void> {
  const { spec, metric, vectorType, dimension, rows, vectorsFile, outFile, threads } = job;
  const shape = {
    type,
    metric: metric === "L2" ? "L2" : "IP",
    normalises: metric === "COSINE",
    element: ELEMENTS[vectorType as keyof typeof ELEMENTS],
    dimension,
    rows,
  } as const;
  const { M = 0, efConstruction = 0 } = spec.params;
  const parts = Float64Array.from(job.vectorParts.flatMap(({ offset, bytes }) => [offset, bytes]));
  const effort = { M, efConstruction, efSearch: defaultEffort(spec), threads };
  await addon.buildIndexFile({ ...shape, ...effort, vectorsFile, parts, outFile }, onProgress);
  // The last progress calls may be lost: the promise overtakes them.
  onProgress(rows);
}

exitWithParent();
process.once("message", (job: BuildJob) => {
  const report = (reply: BuildReply) => process.send?.(reply);
  const startedAt = performance.now();
  build(job, (rowsDone) => report({ kind: "progress", rowsDone }))
    .then(() => report({ kind: "done", seconds: (performance.now() - startedAt) / 1000 }))
    .catch((error: unknown) =>
      report({ kind: "failed", message: error instanceof Error ? error.message : String(error) }),
    );
});
