import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatDigest } from "../blob/object-layout.ts";
import type { BlobPort } from "../blob/port.ts";
import { BACKUP_FILE, type BackupObject, objectPath } from "./format.ts";
import { fetchObject, removeOthers, writeDescription } from "./local-files.ts";

const CONTENT = Buffer.from("rows");
const object: BackupObject = {
  name: "segment/1v0/1/a.arrow",
  bytes: CONTENT.length,
  digest: formatDigest(createHash("sha256").update(CONTENT).digest()),
};
const signal = new AbortController().signal;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-backup-files-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function blobsThat(getFile: (path: string) => Promise<void>): BlobPort {
  return { getFile: (_: unknown, path: string) => getFile(path) } as unknown as BlobPort;
}

async function write(...path: string[]): Promise<void> {
  const file = join(folder, ...path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, "somebody's");
}

async function files(): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return paths.map((path) => path.slice(folder.length + 1)).sort();
}

describe("a folder that is given to a backup", () => {
  it("keeps the files that cannot be a backup's", async () => {
    await write("objects", "pack", "precious");
    await write("objects", "precious");
    await write("segment", "1v0", "1", "precious");
    await write("objects", "segment", "1v0", "1", "old.arrow");
    await fetchObject(
      blobsThat((path) => writeFile(path, CONTENT)),
      folder,
      object,
      signal,
    );
    await removeOthers(folder, [object]);
    expect(await files()).toEqual([
      "objects/pack/precious",
      "objects/precious",
      "objects/segment/1v0/1/a.arrow",
      "segment/1v0/1/precious",
    ]);
  });

  it("becomes the backup of one run, when two are given it", async () => {
    await writeDescription(folder, "first", []);
    await expect(writeDescription(folder, "second", [])).rejects.toThrow(/another backup has been written to/);
    expect(await readFile(join(folder, BACKUP_FILE), "utf8")).toBe("first");
    expect(await files()).toEqual([BACKUP_FILE]);
  });

  it("shows an object whole or not at all, also while two runs copy it", async () => {
    const quick = blobsThat((path) => writeFile(path, CONTENT));
    const slow = blobsThat(async (path) => {
      expect(await fetchObject(quick, folder, object, signal)).toBe(true);
      await writeFile(path, CONTENT.subarray(0, 2));
      expect(await readFile(objectPath(folder, object))).toEqual(CONTENT);
      await writeFile(path, CONTENT);
    });
    await fetchObject(slow, folder, object, signal);
    expect(await readFile(objectPath(folder, object))).toEqual(CONTENT);
    expect(await fetchObject(quick, folder, object, signal)).toBe(false);
  });

  it("that has no room is said to be full, and what to do", async () => {
    const full = blobsThat(async (path) => {
      await writeFile(path, CONTENT.subarray(0, 2));
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    });
    await expect(fetchObject(full, folder, object, signal)).rejects.toMatchObject({
      kind: "memory_limit",
      message: expect.stringMatching(/^the disk under .* is full: make room and call again with the same folder/),
    });
    expect(await files()).toEqual([]);
  });
});
