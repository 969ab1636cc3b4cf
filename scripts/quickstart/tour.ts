/** What the demonstration shows: import, index, searches whose results a person can judge, a query, a delete. */
import { join } from "node:path";
import type { VdbClient } from "../../client/client.ts";
import type { Hit, Row, Vector } from "../../client/types.ts";
import { createProgress } from "../../runtime/commands/import/progress.ts";
import { runImport } from "../../runtime/commands/import/run-import.ts";
import { renderHits } from "../../runtime/commands/search.ts";
import { renderTable } from "../../runtime/commands/table.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const collectionName = "packages";
const SAMPLE_FOLDER = join(PROJECT_FOLDER, "scripts", "sample");
const FIELDS = ["name", "section", "title"];

/** Sealing, an index of 3,000 rows and loading it: 2 s here. */
const INDEXED_TIMEOUT_MS = 60_000;
const LOOK_MS = 250;

/** @throws Error when something is not as it must be */
export async function showTour(client: VdbClient, say: (line: string) => void): Promise<void> {
  await importSample(client, say);
  await waitUntilIndexed(client, say);
  const web = await findWebServer(client);
  const notItself = `id != ${String(web.id)}`;

  say(`\nPackages like ${String(web.name)} (${String(web.title)}):\n`);
  const [best] = await showSearch(client, web, notItself, say);
  if (best === undefined) throw new Error("the search found nothing");

  say(`\nThe same, only where section == "httpd":\n`);
  const httpd = await showSearch(client, web, `section == "httpd" and ${notItself}`, say);
  if (httpd.some(({ section }) => section !== "httpd")) throw new Error("the filter let another section through");

  await showQuery(client, say);

  say(`\nDelete ${String(best.name)}, and search again:\n`);
  await client.delete({ collectionName, filter: `id in [${String(best.id)}]` });
  const after = await showSearch(client, web, notItself, say);
  if (after.some(({ id }) => id === best.id)) throw new Error("a deleted row was found");
}

async function importSample(client: VdbClient, say: (line: string) => void): Promise<void> {
  const progress = createProgress(process.stderr, systemClock);
  const result = await runImport(
    { client, clock: systemClock, random: systemRandom },
    {
      recordsFile: join(SAMPLE_FOLDER, "packages.ndjson.gz"),
      vectorsFile: join(SAMPLE_FOLDER, "packages.f32.gz"),
      collection: collectionName,
      primaryKey: "id",
      vectorField: "vector",
      metric: "COSINE",
      index: "HNSW",
      indexParams: { M: 16, efConstruction: 200 },
      shards: 1,
      batchRows: 500,
      concurrency: 4,
      truncate: false,
      flush: true,
      onProgress: progress.report,
    },
  );
  progress.end();
  const rate = Math.round(result.rows / result.seconds);
  say(`imported ${result.rows} Debian packages in ${result.seconds.toFixed(1)} s (${rate} rows/s, durable), flushed`);
}

async function waitUntilIndexed(client: VdbClient, say: (line: string) => void): Promise<void> {
  const startedMs = systemClock.monotonic();
  const deadline = startedMs + INDEXED_TIMEOUT_MS;
  for (;;) {
    const { totalRows, pendingRows } = await client.describeIndex({ collectionName, indexName: "vector" });
    if (totalRows > 0 && pendingRows === 0) break;
    if (systemClock.monotonic() > deadline) throw new Error(`${pendingRows} of ${totalRows} rows are not indexed yet`);
    await systemClock.sleep(LOOK_MS);
  }
  await client.waitUntilLoaded({ collectionName, timeoutMs: INDEXED_TIMEOUT_MS });
  say(`HNSW index built and loaded ${((systemClock.monotonic() - startedMs) / 1000).toFixed(1)} s later`);
}

/** Some package of nginx, with its vector: which of them the sample has is no matter. */
async function findWebServer(client: VdbClient): Promise<Row> {
  const rows = await client.query({
    collectionName,
    filter: 'name like "nginx%"',
    outputFields: ["name", "title", "vector"],
    limit: 1,
  });
  if (rows[0] === undefined) throw new Error("the sample has no package of nginx");
  return rows[0];
}

async function showSearch(client: VdbClient, like: Row, filter: string, say: (line: string) => void): Promise<Hit[]> {
  const [hits = []] = await client.search({
    collectionName,
    data: like.vector as Vector,
    filter,
    limit: 5,
    outputFields: FIELDS,
    consistencyLevel: "Strong",
  });
  say(renderHits(hits, "id"));
  return hits;
}

async function showQuery(client: VdbClient, say: (line: string) => void): Promise<void> {
  const filter = 'section == "python" and installed_kb > 5000 and not (title like "%doc%")';
  say(`\nA query without a vector: ${filter}\n`);
  const outputFields = ["name", "installed_kb", "title"];
  const rows = await client.query({ collectionName, filter, outputFields, limit: 5 });
  if (rows.length === 0) throw new Error("the query found nothing");
  const columns = ["id", ...outputFields].map((title) => ({ title, value: (row: Row) => row[title], widthMax: 60 }));
  say(renderTable(columns, rows));
}
