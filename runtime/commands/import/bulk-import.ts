/**
 * Imports files through the data nodes: they are put into the object store and read by a job, whose rows all become
 * visible at once. Far faster than inserts, and when a file has a bad row, nothing is imported.
 */
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import type { VdbClient } from "../../../client/client.ts";
import type { ImportJob, ImportJobOptions } from "../../../client/types.ts";
import type { Cluster } from "../../backup/cluster.ts";
import type { BlobPort } from "../../blob/port.ts";
import { asVdbError, errorMessage, VdbError } from "../../errors.ts";
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
  const began = clock.monotonic();
  let uploaded: number;
  let jobId: string;
  try {
    await upload(store.blobs, options, names, total);
    uploaded = clock.monotonic();
    jobId = await createJob(client, options, names);
  } catch (error) {
    // What ended without an answer may have made the job: it needs them, and nobody else keeps them for more than a day.
    if (!(error instanceof VdbError && error.retriable)) await remove(store.blobs, names);
    throw error;
  }
  const job = await untilEnded(client, store, jobId, options.onProgress);
  // Those of a job that has completed are the cluster's to remove.
  if (job.state === "Failed") {
    await remove(store.blobs, names);
    throw failure(job, options.files, names);
  }
  const [uploadSeconds, seconds] = [(uploaded - began) / 1000, (clock.monotonic() - uploaded) / 1000];
  return { rows: job.importedRows, bytes: total, uploadSeconds, seconds };
}

async function upload(
  blobs: BlobPort,
  { files, onUpload }: BulkImportOptions,
  names: readonly string[],
  total: number,
): Promise<void> {
  let sent = 0;
  for (const [i, file] of files.entries()) {
    await blobs.put(
      uploadedObject(names[i]!)!,
      chunksOf(file, (bytes) => {
        sent += bytes;
        onUpload(sent, total === 0 ? 1 : sent / total);
      }),
    );
  }
}

async function remove(blobs: BlobPort, names: readonly string[]): Promise<void> {
  for (const name of names) await blobs.remove(uploadedObject(name)!).catch(() => undefined);
}

async function createJob(
  client: VdbClient,
  { collection, partition, options }: BulkImportOptions,
  names: readonly string[],
): Promise<string> {
  const { jobId } = await client.createImportJob({
    collectionName: collection,
    ...(partition === undefined ? {} : { partitionName: partition }),
    files: names.map((name) => [name]),
    options,
  });
  return jobId;
}

/** @throws VdbError when nobody tells how far it is: the job goes on */
async function untilEnded(
  client: VdbClient,
  { catalog, clock }: Pick<Cluster, "catalog" | "clock">,
  jobId: string,
  onProgress: BulkImportOptions["onProgress"],
): Promise<ImportJob> {
  for (;;) {
    const changed = new AbortController();
    using _watch = catalog.cache.subscribe(metaKeys.importJob(Number(jobId)), () => changed.abort());
    const job = await client.describeImportJob({ jobId }).catch((error: unknown) => {
      const { kind, message } = asVdbError(error);
      throw new VdbError(kind, `how far job ${jobId} is cannot be told, it goes on: ${message}`, { cause: error });
    });
    onProgress(job.importedRows, job.progress / 100);
    if (job.state === "Completed" || job.state === "Failed") return job;
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
