/**
 * Damage in the object store of a single NATS server: a byte flipped in a file of stored messages while the server is
 * down, and one query node that comes back with an empty cache and so must read what is there now.
 *
 * With one copy of everything the object is lost; what is asked of the database is that it says so and serves nothing
 * wrong. At the end the byte is put right (a server that scans the file later would cut off all that comes after it), and
 * every object that cannot be read is put back from a copy of the store, as from a backup.
 */
import { cp, mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ObjectStore, Objm } from "@nats-io/obj";
import { connect } from "nats";
import { startNatsServer } from "../../nats/server.ts";
import type { FaultCluster } from "./fault-cluster.ts";
import { dropCache, flipByte, type Heal } from "./inject.ts";

const BUCKET = "vdb-objects";

interface Damage {
  path: string;
  at: number;
  /** As they are with the damage. */
  around: Buffer;
}

export async function corruptObjects(cluster: FaultCluster): Promise<Heal> {
  const { nats } = cluster;
  const folder = nats.folder!;
  const reader = cluster.places.find(({ role, isFrozen }) => role === "query" && !isFrozen)!;
  await cluster.end(reader, "SIGKILL");
  await nats.stop("SIGTERM");
  const backup = await mkdtemp(join(tmpdir(), "vdb-chaos-backup-"));
  await cp(folder, backup, { recursive: true });
  const damage = await flipStoredByte(folder);
  await nats.start();
  await dropCache(reader);
  await cluster.start(reader);
  return async () => {
    try {
      await nats.stop("SIGTERM");
      await repair(damage);
      await nats.start();
      await restoreObjects(nats.servers, backup);
    } finally {
      await rm(backup, { recursive: true, force: true });
    }
  };
}

/** In the middle of the largest file of messages: most bytes there are of an object's content. */
async function flipStoredByte(natsFolder: string): Promise<Damage> {
  let largest = { path: "", size: 0 };
  for (const entry of await readdir(join(natsFolder, "jetstream"), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !entry.name.endsWith(".blk") || !path.includes(`OBJ_${BUCKET}`)) continue;
    const { size } = await stat(path);
    if (size > largest.size) largest = { path, size };
  }
  if (largest.size === 0) throw new Error("the object store has no messages yet");
  const at = Math.floor(largest.size / 2);
  await flipByte(largest.path, at);
  return { path: largest.path, at, around: await bytesAround(largest.path, at) };
}

/** Unless the server has written the file anew meanwhile. */
async function repair({ path, at, around }: Damage): Promise<void> {
  const now = await bytesAround(path, at).catch(() => null);
  if (now?.equals(around) === true) await flipByte(path, at);
}

async function bytesAround(path: string, at: number): Promise<Buffer> {
  await using file = await open(path, "r");
  const bytes = Buffer.alloc(256);
  await file.read(bytes, 0, bytes.length, Math.max(0, at - 128));
  return bytes;
}

async function restoreObjects(servers: string, backup: string): Promise<void> {
  await using source = await startNatsServer({ dataDir: backup, port: 0 });
  const [from, to] = await Promise.all([connect({ servers: source.url }), connect({ servers })]);
  try {
    const [good, damaged] = await Promise.all([new Objm(from).open(BUCKET), new Objm(to).open(BUCKET)]);
    for (const { name } of await good.list()) {
      const bytes = await good.getBlob(name);
      if (bytes === null || (await isReadable(damaged, name))) continue;
      await damaged.putBlob({ name }, bytes);
    }
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

async function isReadable(store: ObjectStore, name: string): Promise<boolean> {
  try {
    const info = await store.info(name);
    // Collected meanwhile: nobody needs it.
    if (info === null || info.deleted) return info?.deleted ?? false;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), 3_000);
    });
    const bytes = await Promise.race([store.getBlob(name), late]);
    clearTimeout(timer);
    return bytes !== null && bytes.length === info.size;
  } catch {
    return false;
  }
}
