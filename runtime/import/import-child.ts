/**
 * The process that reads one file of an import: parses, checks, cuts, and writes segments as local files. Its parent stores
 * them, and gives it ids. What leaks, blocks or needs memory here costs this job.
 */
import { exitWithParent } from "../child-process.ts";
import { asVdbError, type WireError } from "../errors.ts";
import type { ImportOptions } from "../protocol/catalog.ts";
import type { CollectionSchema } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { type ImportFormat, importFailed } from "./names.ts";
import type { FieldsByName, RowSource } from "./row-source.ts";
import { rowsToBatch } from "./rows-to-batch.ts";
import { type SegmentFile, ShardWriter } from "./shard-writer.ts";

export interface ChildJob {
  path: string;
  format: ImportFormat;
  options: ImportOptions;
  schema: CollectionSchema;
  shardCount: number;
  partitionCount: number;
  targetBytes: number;
  memoryBytes: number;
  folder: string;
  ts: bigint;
}

export type FromChild =
  | { kind: "ids"; count: number }
  /** A segment's file has been started, has this many bytes, is complete. */
  | { kind: "begun"; segment: SegmentFile }
  | { kind: "grown"; path: string; bytes: number }
  | { kind: "ended"; path: string; rowCount: number }
  | { kind: "progress"; rows: number; fraction: number }
  | { kind: "done"; rows: number }
  | { kind: "failed"; error: WireError };

export type ToChild =
  | { kind: "job"; job: ChildJob }
  /** Answers the oldest `ids`. */
  | { kind: "ids"; first: number }
  /** A segment has been stored, and its file is gone. */
  | { kind: "stored" };

/** Most segments that are complete and not stored yet: with more, reading pauses. */
const WAITING_MAX = 2;
/** Ids requested at a time: unused ones are lost. */
const IDS_TOGETHER = 65_536;
const PROGRESS_MS = 250;

/** The parent's answers as promises. */
class Parent {
  #ids: ((first: number) => void) | undefined;
  #onStored: () => void = () => undefined;
  #waiting = 0;

  send(message: FromChild): void {
    process.send?.(message);
  }

  receive(message: ToChild): void {
    if (message.kind === "ids") this.#ids?.(message.first);
    if (message.kind !== "stored") return;
    this.#waiting--;
    this.#onStored();
  }

  newIds(count: number): Promise<number> {
    const first = new Promise<number>((resolve) => {
      this.#ids = resolve;
    });
    this.send({ kind: "ids", count });
    return first;
  }

  async ended(path: string, rowCount: number): Promise<void> {
    this.#waiting++;
    this.send({ kind: "ended", path, rowCount });
    await this.#atMost(WAITING_MAX);
  }

  allStored(): Promise<void> {
    return this.#atMost(0);
  }

  async #atMost(count: number): Promise<void> {
    while (this.#waiting > count) {
      await new Promise<void>((resolve) => {
        this.#onStored = resolve;
      });
    }
  }
}

async function openSource({ path, format, options }: ChildJob, fields: FieldsByName): Promise<RowSource> {
  // Each format's library takes a while to load.
  switch (format) {
    case "parquet":
      return (await import("./read-parquet.ts")).readParquet(path, fields);
    case "arrow":
      return (await import("./read-arrow.ts")).readArrow(path, fields);
    case "csv":
      return (await import("./read-csv.ts")).readCsv(path, fields, options);
    default:
      return (await import("./read-json.ts")).readJson(path, fields, format === "lines");
  }
}

async function run(job: ChildJob, parent: Parent): Promise<number> {
  const { schema } = job;
  const fields = new Map(schema.fields.filter(({ isDynamic }) => !isDynamic).map((field) => [field.name, field]));
  const takeIds = idTaker(parent);
  const source = await openSource(job, fields);
  const writer = new ShardWriter({
    ...job,
    onBegin: (segment) => parent.send({ kind: "begun", segment }),
    onGrown: (path, bytes) => parent.send({ kind: "grown", path, bytes }),
    onEnd: (path, rowCount) => parent.ended(path, rowCount),
  });
  let rows = 0;
  let toldAt = 0;
  try {
    for await (const batch of source.batches()) {
      await writer.add(await rowsToBatch(schema, batch, rows, { clock: systemClock, takeIds }));
      rows += batch.length;
      const now = systemClock.monotonic();
      if (now - toldAt < PROGRESS_MS) continue;
      toldAt = now;
      parent.send({ kind: "progress", rows, fraction: source.fraction() });
    }
    await writer.end();
  } finally {
    await writer.close();
    await source.close();
  }
  await parent.allStored();
  return rows;
}

function idTaker(parent: Parent): (count: number) => Promise<number> {
  let next = 0;
  let end = 0;
  return async (count) => {
    if (next + count > end) {
      const size = Math.max(IDS_TOGETHER, count);
      next = await parent.newIds(size);
      end = next + size;
    }
    next += count;
    return next - count;
  };
}

/** An error of the system about a file that cannot be read is a fault of the file. */
function wireError(error: unknown): WireError {
  const isSystem = error instanceof Error && "syscall" in error && (error as NodeJS.ErrnoException).code === "ENOENT";
  return (isSystem ? importFailed("there is no such file", error) : asVdbError(error)).toWire();
}

exitWithParent();
const parent = new Parent();
process.on("message", (message: ToChild) => {
  if (message.kind !== "job") return parent.receive(message);
  run(message.job, parent)
    .then((rows) => parent.send({ kind: "done", rows }))
    .catch((error: unknown) => parent.send({ kind: "failed", error: wireError(error) }));
});
