/** The readers of an import's formats: the same rows from each, and what is wrong with a file said with its row. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  Field,
  FixedSizeList,
  Float32,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FieldSchema } from "../schema.ts";
import { formatOf } from "./names.ts";
import { readArrow } from "./read-arrow.ts";
import { readCsv } from "./read-csv.ts";
import { openText, readJson } from "./read-json.ts";
import { readParquet } from "./read-parquet.ts";
import type { ImportRow, RowSource } from "./row-source.ts";
import { splitCsv } from "./split-csv.ts";

let folder: string;
let files = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-import-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function fileOf(content: string | Uint8Array, ending: string): Promise<string> {
  const path = join(folder, `${files++}.${ending}`);
  await writeFile(path, content);
  return path;
}

async function rowsOf(source: RowSource): Promise<ImportRow[]> {
  const rows: ImportRow[] = [];
  try {
    for await (const batch of source.batches()) rows.push(...batch);
    expect(source.fraction()).toBe(1);
  } finally {
    await source.close();
  }
  return rows;
}

function field(name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): [string, FieldSchema] {
  const common = { fieldId: 100, description: "", isPrimary: false, nullable: false, isDynamic: false };
  return [name, { ...common, name, type, ...more }];
}

const FIELDS = new Map([
  field("id", "Int64"),
  field("small", "Int8"),
  field("flag", "Bool", { nullable: true }),
  field("score", "Double"),
  field("text", "VarChar"),
  field("maybe", "VarChar", { nullable: true }),
  field("json", "JSON"),
  field("tags", "Array", { elementType: "VarChar" }),
  field("vector", "FloatVector", { dimension: 3 }),
  field("bits", "BinaryVector", { dimension: 16 }),
]);
const CSV = { separator: ",", nullText: "" };

describe("JSON", () => {
  const rows = [
    { id: 1, text: 'with "quotes", [brackets] and {braces}', vector: [1, 2, 3] },
    { id: 2, text: 'back\\slash \\" ä€😀', nested: { a: [1, { b: "]}" }] } },
    { id: 9_007_199_254_740_993n, text: "" },
  ];
  const text = (indent?: number) => {
    const plain = rows.map((row) => ({ ...row, id: typeof row.id === "bigint" ? "BIG" : row.id }));
    return plain.map((row) => JSON.stringify(row, null, indent).replace('"BIG"', "9007199254740993"));
  };

  it.each([
    ["an array", `[${text().join(",")}]`],
    ["an array on many lines", `\n [\n${text(2).join(",\n")}\n]\n`],
    ["an object of rows", `{"rows": [${text(1).join(" , ")}], "more": 1}`],
    ["objects one after the other", text(2).join("\n")],
    ["an array after a byte order mark", `\uFEFF[${text().join(",")}]`],
  ])("takes rows from %s", async (_, content) => {
    expect(await rowsOf(readJson(await fileOf(content, "json"), new Map(), false))).toEqual(rows);
  });

  it("takes lines, with or without a newline at the end, empty ones left out, packed or not", async () => {
    expect(await rowsOf(readJson(await fileOf(text().join("\n\n"), "ndjson"), new Map(), true))).toEqual(rows);
    expect(await rowsOf(readJson(await fileOf(`${text().join("\r\n")}\n`, "ndjson"), new Map(), true))).toEqual(rows);
    const packed = await fileOf(gzipSync(text().join("\n")), "ndjson.gz");
    expect(await rowsOf(readJson(packed, new Map(), true))).toEqual(rows);
  });

  it("takes lines after a byte order mark", async () => {
    const path = await fileOf(`\uFEFF${text().join("\n")}`, "ndjson");
    expect(await rowsOf(readJson(path, new Map(), true))).toEqual(rows);
  });

  it("refuses what unpacks to more than a file may have", async () => {
    const file = openText(await fileOf(gzipSync(Buffer.alloc(5 << 20)), "ndjson.gz"), 4 << 20);
    const readAll = async () => {
      let bytes = 0;
      for await (const chunk of file.chunks) bytes += chunk.length;
      return bytes;
    };
    await expect(readAll()).rejects.toMatchObject({
      kind: "import_failed",
      message: expect.stringContaining("more than 4194304 bytes unpacked"),
    });
    await file.close();
  });

  it("refuses a row that never ends", async () => {
    const path = await fileOf(gzipSync(Buffer.alloc(66 << 20, "[")), "ndjson.gz");
    await expect(rowsOf(readJson(path, new Map(), true))).rejects.toThrow(/a row is longer than 67108864 bytes/);
  });

  it("finds the same rows wherever the chunks of a large file end", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.integer({ min: 0, max: 2 }),
        async (values, indent) => {
          // Longer than two chunks of the reader.
          const filler = { filler: "x".repeat(1_100_000) };
          const all = [filler, ...values, filler, ...values];
          const path = await fileOf(JSON.stringify(all, null, indent), "json");
          const read = await rowsOf(readJson(path, new Map(), false));
          await rm(path);
          // Long integers come as bigints.
          const asNumber = (_: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value);
          expect(JSON.stringify(read, asNumber)).toBe(JSON.stringify(all));
        },
      ),
      { numRuns: 5 },
    );
  });

  it.each([
    ["a row that is no object", '[{"a":1},2]', "row 1: expected a JSON object, got 2"],
    ["a row that is no JSON", '[{"a":1},{"a":nonsense}]', "row 1: is not JSON"],
    ["an end within a row", '[{"a":1},{"a":', "row 1: the file ends within the row"],
    ["an end within the array", '[{"a":1}', "the file ends within its array"],
  ])("refuses %s", async (_, content, message) => {
    await expect(rowsOf(readJson(await fileOf(content, "json"), new Map(), false))).rejects.toMatchObject({
      kind: "import_failed",
      message: expect.stringContaining(message),
    });
  });

  it("tells the row of a line that is no JSON", async () => {
    const lines = Array.from({ length: 3000 }, (_, i) => (i === 2500 ? "{" : `{"a":${i}}`));
    const path = await fileOf(lines.join("\n"), "ndjson");
    await expect(rowsOf(readJson(path, new Map(), true))).rejects.toMatchObject({
      message: expect.stringContaining("row 2500: is not JSON"),
    });
  });
});

describe("CSV", () => {
  it("reads cells as their fields want them", async () => {
    const content = [
      "id,small,flag,score,text,maybe,json,tags,vector,bits,extra,words",
      '9007199254740993,-5,true,0.25,"a ""quoted"", text",,"{""a"":1}","[""x"",""y""]","[1,2.5,3]","//8=",7,seven',
      '2,7,,1e3,,there,[],[],"[0,0,0]","AAE=",,',
    ].join("\n");
    expect(await rowsOf(readCsv(await fileOf(content, "csv"), FIELDS, CSV))).toEqual([
      {
        ...{ id: "9007199254740993", small: -5, flag: true, score: 0.25, text: 'a "quoted", text', maybe: null },
        ...{
          json: '{"a":1}',
          tags: ["x", "y"],
          vector: Float32Array.of(1, 2.5, 3),
          bits: "//8=",
          extra: 7,
          words: "seven",
        },
      },
      {
        ...{ id: "2", small: 7, flag: null, score: 1000, text: "", maybe: "there", json: "[]", tags: [] },
        ...{ vector: Float32Array.of(0, 0, 0), bits: "AAE=" },
      },
    ]);
  });

  it("takes another separator and another text for null", async () => {
    const path = await fileOf("id\tmaybe\n1\tNULL\n2\tx,y\n", "csv");
    expect(await rowsOf(readCsv(path, FIELDS, { separator: "\t", nullText: "NULL" }))).toEqual([
      { id: "1", maybe: null },
      { id: "2", maybe: "x,y" },
    ]);
  });

  it.each([
    ["CR and LF, after a byte order mark", '\uFEFFid,text\r\n1,a\r\n\r\n2,"b\r\nc"\r\n'],
    ["LF, the last one left out", 'id,text\n1,a\n\n2,"b\r\nc"'],
    ["CR alone", 'id,text\r1,a\r\r2,"b\r\nc"\r'],
  ])("takes records that end with %s", async (_, content) => {
    expect(await rowsOf(readCsv(await fileOf(content, "csv"), FIELDS, CSV))).toEqual([
      { id: "1", text: "a" },
      { id: "2", text: "b\r\nc" },
    ]);
  });

  it("finds the same cells wherever chunks end", async () => {
    const cell = fc.stringMatching(/^[ab,;é"\r\n]{0,6}$/);
    const record = fc.array(cell, { minLength: 2, maxLength: 3 });
    const inChunks = async function* (bytes: Buffer, size: number) {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { minLength: 1, maxLength: 5 }),
        fc.constantFrom(",", ";", "é"),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.integer({ min: 1, max: 9 }),
        async (records, separator, ending, size) => {
          const quoted = (text: string) =>
            /["\r\n]/.test(text) || text.includes(separator) ? `"${text.replaceAll('"', '""')}"` : text;
          const content = records.map((cells) => cells.map(quoted).join(separator) + ending).join("");
          const found: string[][] = [];
          for await (const cells of splitCsv(inChunks(Buffer.from(content), size), separator))
            found.push(cells.map(String));
          expect(found).toEqual(records);
        },
      ),
    );
  });

  it.each([
    ["a quote within a cell", 'id,text\n1,a"b"\n', "row 0: cell 1: a quote stands within"],
    ["text behind a quote", 'id,text\n1,"a"b\n', "row 0: cell 1: something stands behind"],
    ["a record of another length", "id,text\n1,a\n2\n", "row 1: has 1 cells, the header has 2"],
    ["a quote that is not closed", 'id,text\n1,"a\n', "row 0:"],
    ["a name that is there twice", "id,id\n1,2\n", "the header names id twice"],
  ])("refuses %s", async (_, content, message) => {
    await expect(rowsOf(readCsv(await fileOf(content, "csv"), FIELDS, CSV))).rejects.toMatchObject({
      kind: "import_failed",
      message: expect.stringContaining(message),
    });
  });
});

describe("Parquet", () => {
  const count = 5000;
  const vectors = Array.from({ length: count }, (_, i) => [i, i / 2, -i]);

  it("reads columns of many pages and row groups, vectors as numbers of their own", async () => {
    const buffer = parquetWriteBuffer({
      columnData: [
        { name: "id", data: BigInt64Array.from(vectors, (_, i) => BigInt(i)) },
        { name: "text", data: vectors.map((_, i) => (i % 5 === 0 ? "same" : `text ${i}`)) },
        { name: "maybe", data: vectors.map((_, i) => (i % 3 === 0 ? null : `m${i % 7}`)) },
        { name: "score", data: Float64Array.from(vectors, (_, i) => i / 8) },
        { name: "flag", data: vectors.map((_, i) => i % 2 === 0) },
        { name: "vector", data: vectors },
      ],
      schema: [
        { name: "root", num_children: 6 },
        { name: "id", type: "INT64", repetition_type: "REQUIRED" },
        { name: "text", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
        { name: "maybe", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
        { name: "score", type: "DOUBLE", repetition_type: "REQUIRED" },
        { name: "flag", type: "BOOLEAN", repetition_type: "REQUIRED" },
        { name: "vector", converted_type: "LIST", repetition_type: "OPTIONAL", num_children: 1 },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "FLOAT", repetition_type: "OPTIONAL" },
      ],
      rowGroupSize: 2000,
      pageSize: 4096,
    } as never);
    const rows = await rowsOf(await readParquet(await fileOf(new Uint8Array(buffer), "parquet"), FIELDS));
    expect(rows).toHaveLength(count);
    expect(rows.every(({ vector }) => vector instanceof Float32Array)).toBe(true);
    rows.forEach((row, i) => {
      expect(row).toEqual({
        ...{ id: BigInt(i), text: i % 5 === 0 ? "same" : `text ${i}`, maybe: i % 3 === 0 ? null : `m${i % 7}` },
        ...{ score: i / 8, flag: i % 2 === 0, vector: Float32Array.from(vectors[i]!) },
      });
    });
  });

  it("keeps lists that are empty, null, or have null items apart", async () => {
    const lists = [["a", "b"], [], null, ["c", null, "d"], ["e"]];
    const buffer = parquetWriteBuffer({
      columnData: [{ name: "tags", data: lists }],
      schema: [
        { name: "root", num_children: 1 },
        { name: "tags", converted_type: "LIST", repetition_type: "OPTIONAL", num_children: 1 },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      ],
    } as never);
    const rows = await rowsOf(await readParquet(await fileOf(new Uint8Array(buffer), "parquet"), FIELDS));
    expect(rows.map(({ tags }) => tags)).toEqual(lists);
  });

  it("refuses what is no Parquet file", async () => {
    const path = await fileOf("PAR1 but nothing else", "parquet");
    await expect(readParquet(path, FIELDS)).rejects.toMatchObject({
      kind: "import_failed",
      message: expect.stringContaining("is not a readable Parquet file"),
    });
  });
});

it.each(["a.parquet.gz", "a.arrow.gz", "a.txt", "gz"])("has no format for %s", (name) => {
  expect(() => formatOf(name)).toThrow(`unexpected file type, files=[${name}]`);
});

describe("Arrow", () => {
  it.each(["file", "stream"] as const)("reads the %s format, vectors as views of their batch", async (format) => {
    const table = tableOf([
      [1n, "a", [1, 2, 3], ["x", "y"]],
      [2n, null, [4, 5, 6], []],
    ]);
    const path = await fileOf(tableToIPC(table, format), "arrow");
    expect(await rowsOf(await readArrow(path, FIELDS))).toEqual([
      { id: 1n, maybe: "a", vector: Float32Array.of(1, 2, 3), tags: ["x", "y"] },
      { id: 2n, maybe: null, vector: Float32Array.of(4, 5, 6), tags: [] },
    ]);
  });

  it("refuses what is no Arrow file", async () => {
    const path = await fileOf("id,text\n1,a\n", "arrow");
    await expect(readArrow(path, FIELDS).then(rowsOf)).rejects.toMatchObject({ kind: "import_failed" });
  });

  function tableOf(rows: [bigint, string | null, number[], string[]][]): Table {
    const item = new FixedSizeList(3, new Field("item", new Float32(), false));
    const schema = new Schema([
      new Field("id", new Int64(), false),
      new Field("maybe", new Utf8(), true),
      new Field("vector", item, false),
      new Field("tags", new List(new Field("item", new Utf8(), false)), false),
    ]);
    const numbers = makeData({ type: new Float32(), data: Float32Array.from(rows.flatMap(([, , vector]) => vector)) });
    const children = [
      makeData({ type: new Int64(), data: BigInt64Array.from(rows, ([id]) => id) }),
      vectorFromArray(
        rows.map(([, text]) => text),
        new Utf8(),
      ).data[0]!,
      makeData({ type: item, length: rows.length, nullCount: 0, child: numbers }),
      vectorFromArray(
        rows.map(([, , , tags]) => tags),
        schema.fields[3]!.type,
      ).data[0]!,
    ];
    const struct = makeData({ type: new Struct(schema.fields), length: rows.length, nullCount: 0, children });
    return new Table(new RecordBatch(schema, struct as never));
  }
});
