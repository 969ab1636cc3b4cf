/** The choice of engine: the native one if it loads, else FAISS through faiss-node; either can be requested. */
import { VdbError } from "../errors.ts";
import type { MappedEngine, SearchEngine } from "./engine.ts";
import { createFaissEngine, type FaissEngineOptions } from "./faiss-engine.ts";
import { loadNativeAddon } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";

export const ENGINES = ["auto", "native", "faiss"] as const;
export type EngineChoice = (typeof ENGINES)[number];

/** @throws VdbError not_ready when the native engine is asked for and does not load */
export async function createSearchEngine(
  options: FaissEngineOptions & { engine?: EngineChoice; mapped?: boolean },
): Promise<SearchEngine> {
  const { engine = "auto", mapped = false, ...faissOptions } = options;
  if (engine === "faiss") return createFaissEngine(faissOptions);
  const addon = loadNativeAddon();
  if (!(addon instanceof Error)) {
    const { clock, threads, logger } = options;
    logger.info({ kernels: addon.kernels, threads, mapped }, "native search engine");
    return createNativeEngine({ addon, clock, threads, mapped });
  }
  if (engine === "native") throw new VdbError("not_ready", addon.message);
  options.logger.warn({ reason: addon.message }, "searching with faiss-node");
  return createFaissEngine(faissOptions);
}

/**
 * How many threads the mapped engine has for each one of the engine in memory: its threads wait for the disk, and a waiting one
 * must not stop the others. It is an engine of its own, so that searches in memory never queue behind it.
 */
const THREADS_FOR_ONE = 2;
const MAPPED_THREADS_MIN = 4;

/** Undefined without the native engine: no other searches mapped files. */
export function createMappedEngine(
  options: Pick<FaissEngineOptions, "clock" | "threads"> & { engine?: EngineChoice },
): MappedEngine | undefined {
  const { engine = "auto", clock, threads } = options;
  const addon = engine === "faiss" ? undefined : loadNativeAddon();
  if (addon === undefined || addon instanceof Error) return undefined;
  const enough = Math.max(MAPPED_THREADS_MIN, THREADS_FOR_ONE * threads);
  return createNativeEngine({ addon, clock, threads: enough, mapped: true });
}
