/**
 * Builds one index file in a child process of its own, so that a crash or a leak in native code costs a job, not a
 * node. The file is a plain FAISS file that any FAISS reads; for COSINE it holds inner products and normalised rows, but
 * for rows that are kept as they are (HNSW and FLAT of float16, bfloat16 and int8).
 */
import { rm, stat } from "node:fs/promises";
import { describeExit, forkModule, stderrTail } from "../child-process.ts";
import { VdbError } from "../errors.ts";
import type { Metric } from "../schema.ts";
import type { FilePart } from "../segment/find-vectors.ts";
import type { BuildJob, BuildReply } from "./build-index-child.ts";
import type { EngineChoice } from "./create-engine.ts";
import { inspectIndexFile } from "./index-file.ts";
import type { IndexSpec } from "./index-params.ts";
import { type DenseVectorType, rowBytes } from "./packed-vectors.ts";

export interface BuildOptions {
  spec: IndexSpec;
  metric: Metric;
  /** Default FloatVector. */
  vectorType?: DenseVectorType;
  dimension: number;
  rows: number;
  /** Holds the rows, row-major [rows, dimension], in the whole file or in `vectorParts`, one after the other. */
  vectorsFile: string;
  vectorParts?: readonly FilePart[];
  /** Overwritten. A failure removes it. */
  outFile: string;
  /** The child's threads. */
  threads: number;
  /** The builder of HNSW and FLAT. Default "auto": our own addon if it loads, else faiss-node. */
  engine?: EngineChoice;
  signal?: AbortSignal;
  /** Rows in the index so far, about every 2,000 rows. */
  onProgress?: (rowsDone: number) => void;
}

export interface BuiltIndex {
  bytes: number;
  /** Time of the work in the child, without its start. */
  seconds: number;
}

/**
 * @throws VdbError canceled when the signal aborts (the child is killed); invalid_parameter when there are not
 *   rows x dimension numbers; internal, with what the child said, when the build fails
 */
export async function buildIndex(options: BuildOptions): Promise<BuiltIndex> {
  const { spec, metric, vectorType = "FloatVector", dimension, rows, vectorsFile, outFile } = options;
  const { threads, engine = "auto", signal } = options;
  const vectorParts = options.vectorParts ?? [{ offset: 0, bytes: (await stat(vectorsFile)).size }];
  const expectedBytes = rows * rowBytes(vectorType, dimension);
  const bytes = vectorParts.reduce((sum, part) => sum + part.bytes, 0);
  if (rows < 1 || bytes !== expectedBytes) {
    throw new VdbError(
      "invalid_parameter",
      `vectors must be ${rows} x ${dimension} of ${vectorType} (${expectedBytes} bytes, at least one row), they are ${bytes} bytes`,
    );
  }
  const job = { spec, metric, vectorType, dimension, rows, vectorsFile, vectorParts, outFile, threads, engine };
  try {
    const seconds = await runChild(job, options);
    const info = await inspectIndexFile(outFile);
    if (info.rows !== rows || info.dimension !== dimension) {
      throw new VdbError(
        "internal",
        `built index has ${info.rows} x ${info.dimension}, expected ${rows} x ${dimension}`,
      );
    }
    return { bytes: info.bytes, seconds };
  } catch (error) {
    await rm(outFile, { force: true });
    if (signal?.aborted) throw new VdbError("canceled", "index build was stopped", { cause: error });
    throw error;
  }
}

function runChild(job: BuildJob, { threads, signal, onProgress }: BuildOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new VdbError("canceled", "index build was stopped"));
    const child = forkModule(new URL("./build-index-child.ts", import.meta.url), {
      env: nativeThreadsEnv(threads),
      // Training holds up to 16 M numbers as a plain array and as boxed values at once.
      execArgv: ["--max-old-space-size=2048"],
    });
    const stderr = stderrTail(child);
    const kill = () => child.kill("SIGKILL");
    signal?.addEventListener("abort", kill, { once: true });
    let outcome: BuildReply | undefined;
    child.on("message", (reply: BuildReply) => {
      if (reply.kind === "progress") return onProgress?.(reply.rowsDone);
      outcome = reply;
      // Everything is reported and on disk; tearing down V8 with a large heap would only take time.
      kill();
    });
    child.once("error", reject);
    // close, not exit: stderr has been read to its end by then.
    child.once("close", (code, exitSignal) => {
      signal?.removeEventListener("abort", kill);
      if (outcome?.kind === "done") return resolve(outcome.seconds);
      const why = outcome?.kind === "failed" ? outcome.message : describeExit(code, exitSignal, stderr());
      reject(new VdbError("internal", `index build failed: ${why}`));
    });
    child.send(job, (error) => {
      if (error !== null) kill();
    });
  });
}

/** OpenMP runs FAISS's loops, OpenBLAS its matrix products. Passive waiting: idle threads must not spin on shared cores. */
export function nativeThreadsEnv(threads: number): Record<string, string> {
  const count = String(threads);
  return { OMP_NUM_THREADS: count, OPENBLAS_NUM_THREADS: count, OMP_WAIT_POLICY: "passive" };
}
