/**
 * A small file system of its own for the NATS store, so that it can be filled without harm: ext4 in a file, mounted over
 * a loop device. Needs root and the right to mount.
 */
import { execFile } from "node:child_process";
import { mkdir, open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface LimitedDisk extends AsyncDisposable {
  readonly folder: string;
  /** Leaves no byte free. */
  fill(): Promise<void>;
  free(): Promise<void>;
}

/** Null, with the reason told to `say`, where mounting is not possible. */
export async function mountLimitedDisk(
  parent: string,
  bytes: number,
  say: (line: string) => void,
): Promise<LimitedDisk | null> {
  const image = join(parent, "disk.img");
  const folder = join(parent, "disk");
  try {
    await mkdir(folder, { recursive: true });
    await using file = await open(image, "w");
    await file.truncate(bytes);
    await run("mkfs.ext4", ["-q", "-m", "0", image]);
    await run("mount", ["-o", "loop", image, folder]);
  } catch (error) {
    say(
      `no disk of limited size, so no "disk full": ${String((error as Error).message)
        .trim()
        .split("\n")
        .at(-1)}`,
    );
    await rm(image, { force: true });
    return null;
  }
  const ballast = join(folder, "ballast");
  return {
    folder,
    async fill() {
      for (let i = 0; i < 8; i++) {
        const { bavail, bsize } = await statfs(folder);
        if (bavail === 0) return;
        await run("fallocate", ["-l", String(bavail * bsize), `${ballast}.${i}`]).catch(() => undefined);
      }
      // What fallocate could not give in one piece.
      await run("dd", ["if=/dev/zero", `of=${ballast}.rest`, "bs=4096"]).catch(() => undefined);
    },
    async free() {
      await run("sh", ["-c", `rm -f ${JSON.stringify(ballast)}.*`]);
    },
    async [Symbol.asyncDispose]() {
      await run("umount", [folder])
        .catch(() => run("umount", ["-l", folder]))
        .catch(() => undefined);
      await rm(image, { force: true });
    },
  };
}
