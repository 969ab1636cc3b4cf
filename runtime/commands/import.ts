/** `vdb-actor import`: files of records and vectors into a collection. */
import { type Command, Option } from "commander";
import type { IndexTypeName, Metric } from "../../client/types.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { createProgress } from "./import/progress.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions, wholeNumber } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

/** Of calls that say nothing else: a cluster that starts while we call is usable within it. */
const CALL_TIMEOUT_MS = 30_000;

const MIB = 1024 ** 2;

interface ImportCommandOptions extends SettingsOptions {
  collection: string;
  vectors?: string;
  pk: string;
  vectorField: string;
  dimension?: number;
  metric: Metric;
  index: IndexTypeName;
  indexParams: Record<string, string | number | boolean>;
  shards: number;
  batch: number;
  limit?: number;
  concurrency: number;
  flush?: boolean;
  truncate?: boolean;
  bulk?: boolean;
  partition?: string;
  sep: string;
  null: string;
}

export function addImportCommand(program: Command): void {
  const command = program
    .command("import")
    .summary("import records and vectors from files")
    .description(
      "Imports a file of JSON records, one a line, into a collection. Vectors come from a second file (little-endian " +
        "float32, row i for line i) or from a field of the records. Both may be gzip (.gz); neither is held in memory.\n" +
        "A collection that is not there is made, indexed and loaded, with a schema inferred from the first 1,000 records.\n" +
        "With --bulk the cluster's data nodes read files of any of several formats into a collection that is there: much " +
        "faster, and its rows are seen all at once, or none of them when a file has a bad row.",
    )
    .argument(
      "<files...>",
      "file of records: .ndjson or .ndjson.gz; with --bulk any number of .json, .csv, .parquet, .arrow too",
    )
    .requiredOption("--collection <name>", "collection to import into")
    .option("--vectors <file>", "file of vectors: .f32 or .f32.gz")
    .option("--pk <field>", "field that is the primary key", "id")
    .option("--vector-field <name>", "name of the vector field", "vector")
    .option(
      "--dimension <n>",
      "values of a vector, when the sizes of the files do not tell",
      wholeNumber("--dimension", 1),
    )
    .addOption(
      new Option("--metric <name>", "metric of an index that is made")
        .choices(["COSINE", "IP", "L2"])
        .default("COSINE"),
    )
    .option(
      "--index <type>",
      "index to make when there is none: HNSW, IVF_FLAT, IVF_SQ8, IVF_PQ, FLAT or AUTOINDEX",
      "HNSW",
    )
    .option("--index-params <json>", "parameters of the index", parseObject, {})
    .option("--shards <n>", "shards of a collection that is made", wholeNumber("--shards", 1), 1)
    .option("--batch <rows>", "rows of one request", wholeNumber("--batch", 1, 10_000), 500)
    .option("--concurrency <n>", "requests in flight", wholeNumber("--concurrency", 1, 64), 4)
    .option("--limit <rows>", "stop after so many rows", wholeNumber("--limit", 1))
    .option("--truncate", "cut strings that are longer than their field takes, instead of failing")
    .option("--flush", "flush at the end, so that everything is sealed and gets its index")
    .option("--bulk", "have the data nodes read the files, instead of inserting their rows")
    .option("--partition <name>", "with --bulk: partition to import into")
    .option("--sep <character>", "with --bulk: what stands between two cells of CSV", ",")
    .option("--null <text>", "with --bulk: what stands for null in CSV", "");
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor import packages.ndjson.gz --vectors packages.f32.gz --collection packages
  vdb-actor import packages.ndjson --vectors packages.f32 --collection packages --index IVF_FLAT --index-params '{"nlist":256}'
  vdb-actor import rows-with-vectors.ndjson --vector-field embedding --collection notes --pk uuid --flush
  vdb-actor import --bulk part-1.parquet part-2.parquet --collection packages`,
    )
    .action(async (files: string[], options: ImportCommandOptions) => {
      if (options.bulk === true) return importInBulk(files, options);
      if (files.length > 1) throw new UsageError("several files are imported with --bulk only");
      await importFiles(files[0]!, options);
    });
}

/**
 * What is loaded only when the command runs. In a function of its own: where the compiler rewrites `await using` it leaves the
 * names of imported files as they are in the sources.
 */
function loadBulkModules() {
  return Promise.all([
    import("../nats/options.ts"),
    import("./connect.ts"),
    import("../backup/cluster.ts"),
    import("./import/bulk-import.ts"),
  ]);
}

async function importInBulk(files: string[], options: ImportCommandOptions): Promise<void> {
  if (options.vectors !== undefined || options.truncate === true || options.limit !== undefined) {
    throw new UsageError("--vectors, --truncate and --limit do not go with --bulk: files are imported as they are");
  }
  const { config } = loadSettings(options);
  const [{ natsOptions }, { withClient }, { openCluster }, { runBulkImport }] = await loadBulkModules();
  await using store = await openCluster(natsOptions(config, "vdb-import"), config.nats.prefix);
  const uploading = createProgress(
    process.stderr,
    systemClock,
    (bytes, seconds) => `uploading  ${rateOf(bytes, seconds)}`,
  );
  const importing = createProgress(process.stderr, systemClock);
  const { collection, partition, sep, null: nullkey } = options;
  try {
    const done = await withClient(config, CALL_TIMEOUT_MS, (client) =>
      runBulkImport(
        { client, store },
        {
          ...{ files, collection, partition, options: { sep, nullkey } },
          onUpload: uploading.report,
          onProgress: importing.report,
        },
      ),
    );
    importing.end();
    const rate = Math.round(done.rows / Math.max(done.seconds, 0.001));
    const upload = `uploaded ${rateOf(done.bytes, Math.max(done.uploadSeconds, 0.001))} in ${done.uploadSeconds.toFixed(1)} s`;
    console.log(
      `imported ${done.rows} rows into ${collection} in ${done.seconds.toFixed(1)} s (${rate} rows/s), ${upload}`,
    );
  } catch (error) {
    importing.end();
    throw error;
  }
}

function rateOf(bytes: number, seconds: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB  ${(bytes / MIB / seconds).toFixed(1)} MiB/s`;
}

async function importFiles(recordsFile: string, options: ImportCommandOptions): Promise<void> {
  const { config } = loadSettings(options);
  const [{ withClient }, { runImport }] = await Promise.all([import("./connect.ts"), import("./import/run-import.ts")]);
  const progress = createProgress(process.stderr, systemClock);
  const { pk: primaryKey, vectors: vectorsFile, batch: batchRows, flush = false, truncate = false, ...given } = options;
  const importing = {
    ...given,
    recordsFile,
    vectorsFile,
    primaryKey,
    batchRows,
    flush,
    truncate,
    onProgress: progress.report,
  };
  try {
    const { rows, seconds, flushSeconds, truncated } = await withClient(config, CALL_TIMEOUT_MS, (client) =>
      runImport({ client, clock: systemClock, random: systemRandom }, importing),
    );
    progress.end();
    if (truncated > 0) console.error(`${truncated} string(s) were longer than their field takes and were cut`);
    const flushed = flushSeconds === null ? "" : `, flushed in ${flushSeconds.toFixed(1)} s`;
    const rate = Math.round(rows / Math.max(seconds, 0.001));
    console.log(
      `imported ${rows} rows into ${options.collection} in ${seconds.toFixed(1)} s (${rate} rows/s)${flushed}`,
    );
  } catch (error) {
    progress.end();
    throw error;
  }
}

function parseObject(text: string): Record<string, string | number | boolean> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, string | number | boolean>;
  } catch {
    // Told below, as for JSON that is no object.
  }
  throw new UsageError(`--index-params takes a JSON object such as '{"M":16,"efConstruction":200}', got ${text}`);
}
