/**
 * Imports files through the data nodes: they are put into the object store and read by a job, whose rows all become
 * visible at once. Far faster than inserts, and when a file has a bad row, nothing is imported.
 */
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import type { VdbClient } from "../../../client/client.ts";
import type { ImportJob, ImportJobOptions } from "../../../client/types.ts";
import type { Cluster } from "../../backup/cluster.ts";
import { errorMessage, VdbError } from "../../errors.ts";
import { FILE_BYTES_MAX, formatOf, uploadedObject, uploadName } from "../../import/names.ts";
import { metaKeys } from "../../protocol/catalog.ts";

const CHUNK_BYTES = 1 << 20;

/** How far a job is, is asked so often; that it has ended is heard of at once. */
const ASK_MS = 1_000;

export interface BulkImportOptions {
  files: readonly string[];
  collection: string;
  partition?: string | undefined;
  options: NonNullable<ImportJobOptions["options"]>;
  onUpload: (bytes: number, fraction: number) => void;
  onProgress: (rows: number, fraction: number) => void;
}

export interface BulkImportResult {
  rows: number;
  bytes: number;
  uploadSeconds: number;
  /** From the job's making to its rows being seen. */
  seconds: number;
}

/** @throws VdbError of the cluster, import_failed with what is wrong with a file; Error when a file cannot be read */
export async function runBulkImport(
  { client, store }: { client: VdbClient; store: Pick<Cluster, "blobs" | "catalog" | "clock" | "random"> },
  options: BulkImportOptions,
): Promise<BulkImportResult> {
  const { clock } = store;
  // Before anything is sent.
  await client.describeCollection({ collectionName: options.collection });
  const sizes = options.files.map(sizeOf);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const folder = store.random.ulid();
  const names = options.files.map((file, i) => uploadName(`${folder}/${i}-${plain(basename(file))}`));
  try {
    const began = clock.monotonic();
    let sent = 0;
    for (const [i, file] of options.files.entries()) {
      await store.blobs.put(
        uploadedObject(names[i]!)!,
        chunksOf(file, (bytes) => {
          sent += bytes;
          options.onUpload(sent, total === 0 ? 1 : sent / total);
        }),
      );
    }
    const uploaded = clock.monotonic();
    const job = await runJob(client, store, options, names);
    const ended = clock.monotonic();
    const [uploadSeconds, seconds] = [(uploaded - began) / 1000, (ended - uploaded) / 1000];
    return { rows: job.importedRows, bytes: total, uploadSeconds, seconds };
  } catch (error) {
    // Those of a job that has completed are the cluster's to remove.
    for (const name of names) await store.blobs.remove(uploadedObject(name)!).catch(() => undefined);
    throw error;
  }
}

async function runJob(
  client: VdbClient,
  { catalog, clock }: Pick<Cluster, "catalog" | "clock">,
  { collection, partition, options, files, onProgress }: BulkImportOptions,
  names: readonly string[],
): Promise<ImportJob> {
  const { jobId } = await client.createImportJob({
    collectionName: collection,
    ...(partition === undefined ? {} : { partitionName: partition }),
    files: names.map((name) => [name]),
    options,
  });
  for (;;) {
    const changed = new AbortController();
    using _watch = catalog.cache.subscribe(metaKeys.importJob(Number(jobId)), () => changed.abort());
    const job = await client.describeImportJob({ jobId });
    onProgress(job.importedRows, job.progress / 100);
    if (job.state === "Completed") return job;
    if (job.state === "Failed") throw failure(job, files, names);
    await clock.sleep(ASK_MS, changed.signal).catch(() => undefined);
  }
}

/** In the words of whoever named the files. */
function failure({ reason = "" }: ImportJob, files: readonly string[], names: readonly string[]): VdbError {
  const message = names.reduce((text, name, i) => text.replaceAll(name, files[i]!), reason);
  return new VdbError("import_failed", message);
}

function sizeOf(file: string): number {
  let size: number;
  try {
    size = statSync(file).size;
  } catch (error) {
    throw new Error(`cannot read ${file}: ${errorMessage(error)}`);
  }
  formatOf(file);
  if (size <= FILE_BYTES_MAX) return size;
  throw new Error(`${file} has ${size} bytes, at most ${FILE_BYTES_MAX} can be imported: split it`);
}

async function* chunksOf(file: string, onBytes: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES })) {
      yield chunk as Buffer;
      onBytes((chunk as Buffer).length);
    }
  } catch (error) {
    throw new Error(`cannot read ${file}: ${errorMessage(error)}`);
  }
}

/** The ending stays: it tells the format. */
function plain(name: string): string {
  return name.replace(/[^\w.-]/g, "_").slice(-100);
}
