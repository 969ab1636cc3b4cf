import { expect, test } from "vitest";
import type { CollectionSchema, FieldSchema } from "../schema.ts";
import { keysOf } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { termId } from "../text/term-id.ts";
import { functionOf, withFunctionOutputs } from "./function-outputs.ts";
import { firstPair, pairsOf, sparseColumn } from "./sparse-rows.ts";

const field = (
  fieldId: number,
  name: string,
  type: FieldSchema["type"],
  rest: Partial<FieldSchema> = {},
): FieldSchema => ({
  ...{ fieldId, name, type, description: "", isPrimary: fieldId === 100, nullable: false, isDynamic: false },
  ...rest,
});

const several = {
  analyzers: { default: { tokenizer: "whitespace" }, english: { type: "english" } },
  by_field: "language",
};

function schemaOf(input: Partial<FieldSchema>): CollectionSchema {
  return {
    ...{ version: 1, autoId: false, enableDynamicField: false },
    fields: [
      field(100, "id", "Int64"),
      field(101, "language", "VarChar"),
      field(102, "text", "VarChar", { enableAnalyzer: true, ...input }),
      field(103, "sparse", "SparseFloatVector", { isFunctionOutput: true }),
    ],
    functions: [
      {
        functionId: 1,
        name: "f",
        type: "BM25",
        description: "",
        inputFieldIds: [102],
        outputFieldIds: [103],
        params: {},
      },
    ],
  };
}

async function countsOf(schema: CollectionSchema, rows: readonly [language: string, text: string][]) {
  const columns = {
    101: keysOf(
      "varchar",
      rows.map(([language]) => language),
    ),
    102: keysOf(
      "varchar",
      rows.map(([, text]) => text),
    ),
  };
  const batch = await withFunctionOutputs(schema, { rowCount: rows.length, columns }, systemClock);
  const pairs = pairsOf(sparseColumn(batch, 103)!);
  return rows.map((_, row) => {
    const counts: [number, number][] = [];
    for (let pair = firstPair(pairs, row); pair < firstPair(pairs, row + 1); pair++) {
      counts.push([pairs.terms[2 * pair]!, pairs.values[2 * pair + 1]!]);
    }
    return counts;
  });
}

/** By ascending id, as a row's pairs are. */
const counts = (words: Record<string, number>) =>
  Object.entries(words)
    .map(([word, count]): [number, number] => [termId(word), count])
    .sort(([a], [b]) => a - b);

test("a BM25 function counts the terms of its text, an empty one has none", async () => {
  const found = await countsOf(schemaOf({}), [
    ["", "To be, or not to be"],
    ["", ""],
    ["", "ÉTÉ"],
  ]);
  expect(found).toEqual([counts({ to: 2, be: 2, or: 1, not: 1 }), [], counts({ été: 1 })]);
});

test("each row's text is analysed as the row says", async () => {
  const schema = schemaOf({ multiAnalyzerParams: JSON.stringify(several) });
  const found = await countsOf(schema, [
    ["english", "The Runs"],
    ["default", "The Runs"],
    ["klingon", "Runs"],
  ]);
  expect(found).toEqual([counts({ run: 1 }), counts({ The: 1, Runs: 1 }), counts({ Runs: 1 })]);
});

test("a schema says which field a function makes, and of what", () => {
  const schema = schemaOf({});
  expect(functionOf(schema, { fieldId: 103 })).toMatchObject({ function: { name: "f" }, input: { name: "text" } });
  expect(functionOf(schema, { fieldId: 102 })).toBeUndefined();
});

test("a batch without functions stays as it is", async () => {
  const { functions: _, ...plain } = schemaOf({});
  const batch = { rowCount: 0, columns: {} };
  expect(await withFunctionOutputs(plain, batch, systemClock)).toBe(batch);
});

test("a long text is analysed in turns", async () => {
  let yields = 0;
  let now = 0;
  const clock = {
    ...systemClock,
    monotonic: () => (now += 3),
    yield: () => {
      yields++;
      return Promise.resolve();
    },
  };
  const text = "word ".repeat(13_000);
  const columns = { 101: keysOf("varchar", ["en"]), 102: keysOf("varchar", [text]) };
  const batch = await withFunctionOutputs(schemaOf({}), { rowCount: 1, columns }, clock);
  expect(pairsOf(sparseColumn(batch, 103)!).values[1]).toBe(13_000);
  expect(yields).toBeGreaterThan(20);
});
