/** `vdb-actor backup`: collections at one moment, into a folder. */
import { hostname } from "node:os";
import type { Command } from "commander";
import { systemClock } from "../system-clock.ts";
import { collectionName } from "./collection-name.ts";
import { createProgress } from "./import/progress.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions } from "./settings.ts";

interface BackupCommandOptions extends SettingsOptions {
  collection?: string[];
}

const MIB = 1024 ** 2;

export function addBackupCommand(program: Command): void {
  const command = program
    .command("backup")
    .summary("copy collections as they are at one moment into a folder")
    .description(
      "Copies collections into a folder, all of them as they are at one moment, while they are read and written. " +
        "Rows, deletes, schemas, indexes' definitions; the indexes themselves are built anew by a restore.\n" +
        "Interrupted, it goes on where it stopped when it is called again with the same folder.",
    )
    .argument("<folder>", "folder for this backup: made when it is not there")
    .option("--collection <name>", "only this one (database.name outside of `default`); may be given many times", add);
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor backup /backups/2026-11-21
  vdb-actor backup /backups/2026-11-21 --collection packages --collection notes
  vdb-actor backup /backups/2026-11-21 --nats nats://10.0.0.5:4222 --user admin --password-file admin.password`,
    )
    .action(runBackup);
}

/**
 * What is loaded only when the command runs. In a function of its own: where the compiler rewrites `await using` it leaves the
 * names of imported files as they are in the sources.
 */
function loadModules() {
  return Promise.all([
    import("../nats/options.ts"),
    import("../backup/cluster.ts"),
    import("../backup/take-backup.ts"),
  ]);
}

async function runBackup(folder: string, options: BackupCommandOptions): Promise<void> {
  const { config } = loadSettings(options);
  const collections = options.collection?.map((text) => collectionName("--collection", text));
  const [{ natsOptions }, { openCluster }, { takeBackup }] = await loadModules();
  await using cluster = await openCluster(natsOptions(config, "vdb-backup"), config.nats.prefix);
  const progress = createProgress(
    process.stderr,
    systemClock,
    (bytes, seconds) => `${(bytes / MIB).toFixed(1)} MiB  ${(bytes / MIB / seconds).toFixed(1)} MiB/s`,
  );
  const startedMs = systemClock.monotonic();
  try {
    const done = await takeBackup(cluster, {
      folder,
      ...(collections === undefined ? {} : { collections }),
      holder: `backup of ${hostname()} ${process.pid}`,
      onProgress: (bytes, totalBytes) => progress.report(bytes, totalBytes === 0 ? 0 : bytes / totalBytes),
      onRepeat: (reason) => {
        progress.end();
        console.error(`begun again: ${reason}`);
      },
    });
    progress.end();
    const seconds = (systemClock.monotonic() - startedMs) / 1000;
    const rate = (done.bytes / MIB / Math.max(seconds, 0.001)).toFixed(1);
    const kept = done.bytes === done.copiedBytes ? "" : `, of which ${size(done.bytes - done.copiedBytes)} were there`;
    console.log(
      `backed up ${done.collections} collection(s), ${done.rows} rows, ${done.objects} objects, ${size(done.bytes)}${kept}, ` +
        `in ${seconds.toFixed(1)} s (${rate} MiB/s), as of timestamp ${done.timestamp}`,
    );
  } finally {
    progress.end();
  }
}

function size(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

function add(value: string, before: string[] = []): string[] {
  return [...before, value];
}
