/**
 * The files of a backup: safely on disk before they count, checked by digest when they are read. Two runs into one
 * folder do no harm: each file appears whole, and only one of the two descriptions. Files in the folder that cannot be
 * a backup's are left alone.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { formatDigest } from "../blob/object-layout.ts";
import type { BlobPort } from "../blob/port.ts";
import { errorMessage, VdbError } from "../errors.ts";
import { BACKUP_FILE, type BackupObject, OBJECTS_FOLDER, objectPath } from "./format.ts";

/** Below `objects`, what a backup's objects are named by first. */
const KINDS = ["segment", "compacted", "imported", "deletes", "delta"];

/**
 * Copies an object unless its file is there already. Returns whether it had to.
 * @throws VdbError corrupt (also when absent), unavailable, canceled, memory_limit (the disk is full)
 */
export async function fetchObject(
  blobs: BlobPort,
  folder: string,
  object: BackupObject,
  signal: AbortSignal,
): Promise<boolean> {
  const path = objectPath(folder, object);
  if ((await whyNotWhole(path, object)) === null) return false;
  await mkdir(dirname(path), { recursive: true });
  const own = `${path}.${randomUUID()}`;
  try {
    await blobs.getFile(object, own, signal);
    await syncPath(own);
    await rename(own, path);
  } catch (error) {
    await rm(own, { force: true });
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    const message = `the disk under ${folder} is full: make room and call again with the same folder, what is there is kept`;
    throw new VdbError("memory_limit", message, { cause: error });
  }
  return true;
}

/** The content of a file that is what it should be. @throws VdbError corrupt, naming the file */
export async function readObject(folder: string, object: BackupObject): Promise<Uint8Array> {
  const path = objectPath(folder, object);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new VdbError("corrupt", `the backup lacks ${path}: ${errorMessage(error)}`, { cause: error });
  }
  const digest = formatDigest(createHash("sha256").update(bytes).digest());
  if (bytes.length === object.bytes && digest === object.digest) return bytes;
  throw new VdbError(
    "corrupt",
    `${path} is damaged: ${bytes.length} bytes with ${digest}, expected ${object.bytes} with ${object.digest}`,
  );
}

/** @throws VdbError corrupt when a file is not there or has another size: before work begins, not in the middle of it */
export async function requireFiles(folder: string, objects: readonly BackupObject[]): Promise<void> {
  for (const object of objects) {
    const path = objectPath(folder, object);
    const size = await sizeOf(path);
    if (size === null) throw new VdbError("corrupt", `the backup lacks ${path}`);
    if (size !== object.bytes)
      throw new VdbError("corrupt", `${path} is damaged: ${size} bytes, expected ${object.bytes}`);
  }
}

/** Removes what other attempts have left and the finished backup does not name. */
export async function removeOthers(folder: string, objects: readonly BackupObject[]): Promise<void> {
  const wanted = new Set(objects.map((object) => objectPath(folder, object)));
  for (const kind of KINDS) {
    const options = { recursive: true, withFileTypes: true } as const;
    for (const entry of await readdir(join(folder, OBJECTS_FOLDER, kind), options).catch(() => [])) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && !wanted.has(path)) await rm(path, { force: true });
    }
  }
}

/**
 * Once it is done, the folder is a backup, also after the machine loses its power.
 * @throws VdbError unexpected when another run has made one of it meanwhile
 */
export async function writeDescription(folder: string, text: string, objects: readonly BackupObject[]): Promise<void> {
  const folders = new Set([folder]);
  for (const object of objects) {
    for (let at = dirname(objectPath(folder, object)); at.length > folder.length; at = dirname(at)) folders.add(at);
  }
  for (const each of folders) await syncPath(each);
  const path = join(folder, BACKUP_FILE);
  const own = `${path}.${randomUUID()}`;
  try {
    await writeFile(own, text);
    await syncPath(own);
    await appear(own, path);
  } finally {
    await rm(own, { force: true });
  }
  await syncPath(folder);
}

/** Gives a file its name, unless there is one of that name. */
async function appear(own: string, path: string): Promise<void> {
  try {
    await link(own, path);
  } catch (error) {
    if ((await sizeOf(path)) !== null) {
      throw new VdbError(
        "unexpected",
        `another backup has been written to ${dirname(path)} meanwhile: each needs its own`,
      );
    }
    // A file system without links.
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw error;
    await rename(own, path);
  }
}

export async function isFinished(folder: string): Promise<boolean> {
  return (await sizeOf(join(folder, BACKUP_FILE))) !== null;
}

async function whyNotWhole(path: string, object: BackupObject): Promise<string | null> {
  const size = await sizeOf(path);
  if (size !== object.bytes) return "size";
  const hash = createHash("sha256");
  for await (const part of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(part as Uint8Array);
  return formatDigest(hash.digest()) === object.digest ? null : "digest";
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    const { size } = await stat(path);
    return size;
  } catch {
    return null;
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
