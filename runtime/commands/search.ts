/** `vdb-actor search`: the nearest rows to a vector, or to a row that is there. */
import { type Command, Option } from "commander";
import type { VdbClient } from "../../client/client.ts";
import type { CollectionDescription, ConsistencyLevel, Hit, Vector } from "../../client/types.ts";
import { VdbError } from "../errors.ts";
import { toJson } from "../protocol/public-codec.ts";
import { isVectorType } from "../schema.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions, wholeNumber } from "./settings.ts";
import { type Column, renderTable } from "./table.ts";
import { UsageError } from "./usage-error.ts";

/** A person waits. */
const CALL_TIMEOUT_MS = 10_000;

interface SearchCommandOptions extends SettingsOptions {
  collection: string;
  vector?: number[];
  like?: string;
  vectorField?: string;
  filter?: string;
  limit: number;
  fields: string[];
  consistency?: ConsistencyLevel;
  json?: boolean;
}

type Fields = CollectionDescription["fields"];

/** Longer cells are cut, so that a row stays a line. */
const CELL_WIDTH_MAX = 60;

export function addSearchCommand(program: Command): void {
  const command = program
    .command("search")
    .summary("search a collection")
    .description(
      "Prints the rows nearest to a vector, or to the row with a given primary key (which is left out itself).",
    )
    .requiredOption("--collection <name>", "collection to search")
    .option("--vector <json>", "the vector, as a JSON array", parseVector)
    .option("--like <id>", "primary key of a row to find the like of")
    .option("--vector-field <name>", "vector field to search, when there are several")
    .option("--filter <expr>", "only rows for which this holds")
    .option("--limit <n>", "rows at most", wholeNumber("--limit", 1, 16_384), 10)
    .option("--fields <names>", "fields to show, comma-separated; * shows all but vectors", parseFields, [])
    .addOption(
      new Option("--consistency <level>", "how fresh; the collection's own level otherwise").choices([
        "Strong",
        "Session",
        "Bounded",
        "Eventually",
      ]),
    )
    .option("--json", "hits as JSON");
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor search --collection packages --like 17 --fields name,title
  vdb-actor search --collection packages --like 17 --filter 'section == "httpd" and installed_kb < 1000' --fields '*'
  vdb-actor search --collection notes --vector '[0.1, 0.2, 0.3]' --limit 3 --json`,
    )
    .action(async (options: SearchCommandOptions) => {
      if ((options.vector === undefined) === (options.like === undefined)) {
        throw new UsageError("give either --vector or --like");
      }
      const { config } = loadSettings(options);
      const { withClient } = await import("./connect.ts");
      const { hits, primaryKey } = await withClient(config, CALL_TIMEOUT_MS, (client) => search(client, options));
      console.log(options.json === true ? toJson(hits) : renderHits(hits, primaryKey));
    });
}

async function search(client: VdbClient, options: SearchCommandOptions): Promise<{ hits: Hit[]; primaryKey: string }> {
  const { collection: collectionName, filter: asked, consistency } = options;
  const { fields } = await client.describeCollection({ collectionName });
  const key = fields.find(({ primaryKey }) => primaryKey)!;
  const annsField = vectorFieldOf(fields, options.vectorField);
  const id = options.like === undefined ? undefined : parseKey(key.type, options.like);
  const vector = id === undefined ? options.vector! : await vectorOf(client, collectionName, { id, annsField });
  const filter = joinFilters(asked, id === undefined ? undefined : `${key.name} != ${JSON.stringify(id)}`);
  const [hits = []] = await client.search({
    collectionName,
    data: vector,
    annsField,
    limit: options.limit,
    outputFields: options.fields.includes("*") ? scalarFields(fields) : options.fields,
    ...(filter === undefined ? {} : { filter }),
    ...(consistency === undefined ? {} : { consistencyLevel: consistency }),
  });
  return { hits, primaryKey: key.name };
}

function scalarFields(fields: Fields): string[] {
  return fields.filter(({ type }) => !isVectorType(type)).map(({ name }) => name);
}

/** Hits as a table: distance and primary key first, then the other fields in the order of the reply. */
export function renderHits(hits: readonly Hit[], key: string): string {
  if (hits.length === 0) return "no hits";
  const others = [...new Set(hits.flatMap((hit) => Object.keys(hit)))].filter(
    (name) => name !== key && name !== "distance",
  );
  const columns = ["distance", key, ...others].map<Column<Hit>>((name) => ({
    title: name,
    value: (hit) => hit[name],
    widthMax: CELL_WIDTH_MAX,
  }));
  return renderTable(columns, hits);
}

/** The vector of a row. @throws VdbError invalid_parameter when there is no such row */
async function vectorOf(
  client: VdbClient,
  collectionName: string,
  row: { id: string | number; annsField: string },
): Promise<Vector> {
  const { id, annsField } = row;
  const [found] = await client.get({ collectionName, id, outputFields: [annsField] });
  if (found !== undefined) return found[annsField] as Vector;
  throw new VdbError("invalid_parameter", `${collectionName} has no row ${JSON.stringify(id)}`);
}

function vectorFieldOf(fields: Fields, wanted: string | undefined): string {
  const names = fields.filter(({ type }) => isVectorType(type)).map(({ name }) => name);
  if (wanted === undefined && names.length === 1) return names[0]!;
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  throw new UsageError(`name the vector field with --vector-field: ${names.join(", ")}`);
}

/** @throws UsageError */
function parseKey(type: string, text: string): string | number {
  if (type === "VarChar") return text;
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value))
    throw new UsageError(`--like takes an integer, the primary key's type is ${type}`);
  return value;
}

function joinFilters(asked: string | undefined, own: string | undefined): string | undefined {
  if (asked === undefined || asked.trim() === "") return own;
  return own === undefined ? asked : `(${asked}) and ${own}`;
}

function parseVector(text: string): number[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number")) return value;
  } catch {
    // Told below, as for JSON that is no vector.
  }
  throw new UsageError(`--vector takes a JSON array of numbers such as '[0.1, 0.2]', got ${text.slice(0, 60)}`);
}

function parseFields(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
