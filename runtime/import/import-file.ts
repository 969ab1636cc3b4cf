/**
 * Reads one file of an import in a child process and stores the resulting segments: the child parses while this process stores
 * what is ready.
 */
import { mkdir, realpath, rm, stat } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import type { BlobPort, ObjectRef } from "../blob/port.ts";
import { describeExit, forkModule, stderrTail } from "../child-process.ts";
import { isVdbError, VdbError } from "../errors.ts";
import type { ImportFileJob, ImportHost, ImportReport } from "../machine/port.ts";
import { FollowedFile } from "./follow-file.ts";
import type { ChildJob, FromChild, ToChild } from "./import-child.ts";
import { FILE_BYTES_MAX, formatOf, importFailed } from "./names.ts";
import type { SegmentFile } from "./shard-writer.ts";

/** Bytes of rows that wait to become segments, and of the segment being assembled. */
const MEMORY_BYTES = 256 << 20;
/** Heap of V8, which does not include columns. */
const HEAP_MB = 1024;
/**
 * Rows live for one batch: if the young generation has room for one, they are gone before the collector looks for them, which
 * saves a tenth of the CPU.
 */
const YOUNG_MB = { min: 16, max: 64 };

export interface ImportTools {
  blobs: BlobPort;
  /** Below which paths may name files; empty: none may. */
  importDir: string;
  /** Called with a stored segment before its file is removed: may take the file. */
  keep(object: ObjectRef, path: string): void;
  /** A folder for this job alone: created, and removed at the end. */
  folder: string;
}

/**
 * @throws VdbError import_failed (of the file: what is wrong with it will stay wrong), canceled, unavailable, internal
 *   (the process died)
 */
export async function importFile(
  tools: ImportTools,
  job: ImportFileJob,
  host: ImportHost,
  signal: AbortSignal,
  onProgress: (report: ImportReport) => void,
): Promise<{ rows: number; bytes: number }> {
  const { folder } = tools;
  await mkdir(folder, { recursive: true });
  try {
    const path =
      job.object === undefined ? await pathBelow(tools.importDir, job.name) : join(folder, baseName(job.name));
    if (job.object !== undefined) await fetchUpload(tools.blobs, job.object, path, signal);
    const { size: bytes } = await stat(path);
    if (bytes > FILE_BYTES_MAX) {
      throw importFailed(`the file has ${bytes} bytes, at most ${FILE_BYTES_MAX} are allowed`);
    }
    const { schema, shardCount, partitionCount, targetBytes, options, ts } = job;
    const child: ChildJob = {
      ...{ path, format: formatOf(job.name), options, schema, shardCount, partitionCount, targetBytes, ts, folder },
      memoryBytes: MEMORY_BYTES,
    };
    onProgress({ rows: 0, fraction: 0, bytes });
    const report = (rows: number, fraction: number) => onProgress({ rows, fraction, bytes });
    return { rows: await runChild(child, tools, host, signal, report), bytes };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fetchUpload(blobs: BlobPort, object: ObjectRef, path: string, signal: AbortSignal): Promise<void> {
  if (object.bytes > FILE_BYTES_MAX)
    throw importFailed(`the file has ${object.bytes} bytes, at most ${FILE_BYTES_MAX} are allowed`);
  await blobs.getFile(object, path, signal);
}

/** The file's ending tells how to read it. */
function baseName(name: string): string {
  return `upload-${name.slice(name.lastIndexOf("/") + 1)}`;
}

/** The file's path with links resolved: only files below the folder are ever read. @throws VdbError import_failed */
async function pathBelow(importDir: string, name: string): Promise<string> {
  if (importDir === "") throw importFailed("data nodes read no paths: upload the file, or set data.importDir");
  let root: string;
  let path: string;
  try {
    root = await realpath(importDir);
  } catch (error) {
    throw new VdbError("unavailable", `data.importDir ${importDir} cannot be read`, { cause: error });
  }
  const outside = () => importFailed("the path is outside of data.importDir");
  if (!resolve(root, name).startsWith(root + sep)) throw outside();
  try {
    path = await realpath(resolve(root, name));
  } catch (error) {
    throw importFailed("there is no such file below data.importDir", error);
  }
  if (!path.startsWith(root + sep)) throw outside();
  if (!(await stat(path)).isFile()) throw importFailed("it is no file");
  return path;
}

function runChild(
  job: ChildJob,
  tools: ImportTools,
  host: ImportHost,
  signal: AbortSignal,
  report: (rows: number, fraction: number) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new VdbError("canceled", "the import was stopped"));
    const child = forkModule(new URL("./import-child.ts", import.meta.url), {
      execArgv: [
        `--max-old-space-size=${HEAP_MB}`,
        `--min-semi-space-size=${YOUNG_MB.min}`,
        `--max-semi-space-size=${YOUNG_MB.max}`,
      ],
    });
    const stderr = stderrTail(child);
    const kill = () => child.kill("SIGKILL");
    signal.addEventListener("abort", kill, { once: true });
    let rows: number | undefined;
    let failure: Error | undefined;
    const fail = (error: Error) => {
      failure ??= error;
      kill();
    };
    const send = (message: ToChild) => {
      if (child.connected) child.send(message, (error) => error !== null && kill());
    };
    // By path. There are only as many as the child lets grow or wait: few.
    const files = new Map<string, { content: FollowedFile; rowCount: number; stored: Promise<void> }>();
    const store = ({ shard, partition, path }: SegmentFile) => {
      const content = new FollowedFile(path);
      const stored = (async () => {
        const object = await putFollowed(tools.blobs, host.newObjectName(shard), content);
        host.stored({ shard, partition, rowCount: files.get(path)!.rowCount, object });
        tools.keep(object, path);
        await rm(path, { force: true });
        send({ kind: "stored" });
      })()
        .catch(fail)
        .finally(() => files.delete(path));
      files.set(path, { content, rowCount: 0, stored });
    };
    child.on("message", (message: FromChild) => {
      switch (message.kind) {
        case "ids":
          host.takeIds(message.count).then((first) => send({ kind: "ids", first }), fail);
          break;
        case "begun":
          store(message.segment);
          break;
        case "grown":
          files.get(message.path)?.content.grow(message.bytes);
          break;
        case "ended": {
          const file = files.get(message.path);
          if (file === undefined) break;
          file.rowCount = message.rowCount;
          file.content.end();
          break;
        }
        case "progress":
          report(message.rows, message.fraction);
          break;
        case "failed":
          fail(VdbError.fromWire(message.error));
          break;
        case "done":
          rows = message.rows;
          // Everything is reported and stored; tearing down V8 with a large heap would only take time.
          kill();
      }
    });
    child.once("error", fail);
    // close, not exit: stderr has been read to its end by then.
    child.once("close", (code, exitSignal) => {
      signal.removeEventListener("abort", kill);
      if (rows === undefined)
        failure ??= new VdbError("internal", `the import's process ${describeExit(code, exitSignal, stderr())}`);
      if (failure !== undefined) for (const { content } of files.values()) content.fail(failure);
      // A running put ends first: nothing of a job happens after the job's end.
      void Promise.all([...files.values()].map(({ stored }) => stored)).then(() => {
        if (rows !== undefined && failure === undefined) return resolve(rows);
        if (signal.aborted) return reject(new VdbError("canceled", "the import was stopped"));
        reject(failure);
      });
    });
    send({ kind: "job", job });
  });
}

/** Stored while it grows; if the store was unavailable for a while, once more when it is complete. */
async function putFollowed(blobs: BlobPort, name: string, content: FollowedFile): Promise<ObjectRef> {
  try {
    return await blobs.put(name, content);
  } catch (error) {
    if (!isVdbError(error, "unavailable")) throw error;
  }
  await content.whole();
  return await blobs.putFile(name, content.path);
}
