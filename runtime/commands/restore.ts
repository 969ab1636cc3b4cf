/** `vdb-actor restore`: collections of a backup, as new collections. */
import { hostname } from "node:os";
import type { Command } from "commander";
import { systemClock } from "../system-clock.ts";
import { collectionName } from "./collection-name.ts";
import { createProgress } from "./import/progress.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

interface RestoreCommandOptions extends SettingsOptions {
  collection?: string[];
  rename?: string[];
}

export function addRestoreCommand(program: Command): void {
  const command = program
    .command("restore")
    .summary("bring collections of a backup back as new ones")
    .description(
      "Makes the collections of a backup again, in this cluster or another: the same schema, shards, indexes, properties " +
        "and rows. Each appears when it is whole, loaded if it was loaded; its indexes are built then. A collection that " +
        "exists is never overwritten.\n" +
        "Time stands still between backup and restore: rows with a time to live have as much of it left as they had.",
    )
    .argument("<folder>", "folder of a backup")
    .option("--collection <name>", "only this one (database.name outside of `default`); may be given many times", add)
    .option("--rename <old=new>", "under another name; may be given many times", add);
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor restore /backups/2026-11-21
  vdb-actor restore /backups/2026-11-21 --collection packages --rename packages=packages_monday
  vdb-actor restore /backups/2026-11-21 --nats nats://10.0.1.5:4222 --user admin --password-file admin.password`,
    )
    .action(runRestore);
}

/**
 * What is loaded only when the command runs. In a function of its own: where the compiler rewrites `await using` it leaves the
 * names of imported files as they are in the sources.
 */
function loadModules() {
  return Promise.all([
    import("../nats/options.ts"),
    import("../backup/cluster.ts"),
    import("../backup/restore-backup.ts"),
  ]);
}

async function runRestore(folder: string, options: RestoreCommandOptions): Promise<void> {
  const { config } = loadSettings(options);
  const collections = options.collection?.map((text) => collectionName("--collection", text));
  const renames = (options.rename ?? []).map(parseRename);
  const [{ natsOptions }, { openCluster }, { restoreBackup }] = await loadModules();
  await using cluster = await openCluster(natsOptions(config, "vdb-restore"), config.nats.prefix);
  const progress = createProgress(process.stderr, systemClock);
  const startedMs = systemClock.monotonic();
  try {
    const done = await restoreBackup(cluster, {
      folder,
      ...(collections === undefined ? {} : { collections }),
      renames,
      holder: `restore of ${hostname()} ${process.pid}`,
      onProgress: (rows, totalRows) => progress.report(rows, totalRows === 0 ? 0 : rows / totalRows),
      onRestored: ({ name }, rows) => {
        progress.end();
        console.error(`restored ${name}: ${rows} rows`);
      },
    });
    progress.end();
    const seconds = (systemClock.monotonic() - startedMs) / 1000;
    const rate = Math.round(done.rows / Math.max(seconds, 0.001));
    console.log(
      `restored ${done.collections} collection(s), ${done.rows} rows in ${seconds.toFixed(1)} s (${rate} rows/s), ` +
        `as of timestamp ${done.timestamp}`,
    );
  } finally {
    progress.end();
  }
}

function parseRename(text: string) {
  const [from = "", to = "", ...more] = text.split("=");
  if (from === "" || to === "" || more.length > 0)
    throw new UsageError(`--rename takes OLD=NEW, got ${JSON.stringify(text)}`);
  return { from: collectionName("--rename", from), to: collectionName("--rename", to) };
}

function add(value: string, before: string[] = []): string[] {
  return [...before, value];
}
