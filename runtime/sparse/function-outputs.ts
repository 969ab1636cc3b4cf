/** Computes the output fields of functions as rows are written: for each BM25 function the term counts of its text. */
import type { Clock } from "../clock.ts";
import type { CollectionSchema, FieldSchema, FunctionSchema } from "../schema.ts";
import type { BytesColumn, ColumnBatch } from "../segment/column.ts";
import { textReader } from "../segment/text-reader.ts";
import { fieldAnalyzer } from "../text/field-analyzer.ts";
import { Pace } from "./pace.ts";
import { sparseColumnOf } from "./sparse-rows.ts";
import { type TermCounts, termCountsInTurns } from "./term-counts.ts";

/** The function that makes a field, and its input field; undefined for other fields. */
export function functionOf(
  { functions = [], fields }: Pick<CollectionSchema, "functions" | "fields">,
  { fieldId }: Pick<FieldSchema, "fieldId">,
): { function: FunctionSchema; input: FieldSchema } | undefined {
  const found = functions.find(({ outputFieldIds }) => outputFieldIds.includes(fieldId));
  const input = fields.find((field) => field.fieldId === found?.inputFieldIds[0]);
  return found === undefined || input === undefined ? undefined : { function: found, input };
}

/** The batch with the outputs of the schema's functions, computed from its inputs. In turns. */
export async function withFunctionOutputs(
  schema: CollectionSchema,
  batch: ColumnBatch,
  clock: Clock,
): Promise<ColumnBatch> {
  const { functions = [], fields } = schema;
  if (functions.length === 0) return batch;
  const columns = { ...batch.columns };
  const pace = new Pace(clock);
  for (const { inputFieldIds, outputFieldIds } of functions) {
    const input = fields.find(({ fieldId }) => fieldId === inputFieldIds[0])!;
    columns[outputFieldIds[0]!] = sparseColumnOf(await countsOf(fields, input, batch, pace));
  }
  return { ...batch, columns };
}

async function countsOf(
  fields: readonly FieldSchema[],
  input: FieldSchema,
  batch: ColumnBatch,
  pace: Pace,
): Promise<TermCounts[]> {
  const { byField, named } = fieldAnalyzer(input);
  const textOf = textsOf(batch, input.fieldId);
  const nameField = fields.find(({ name }) => name === byField);
  const nameOf = nameField === undefined ? () => undefined : textsOf(batch, nameField.fieldId);
  const rows: TermCounts[] = [];
  for (let row = 0; row < batch.rowCount; row++) {
    rows.push(await termCountsInTurns(named(nameOf(row)), textOf(row), pace));
  }
  return rows;
}

/** The texts of a batch without the column: empty. */
function textsOf({ columns }: ColumnBatch, fieldId: number): (row: number) => string {
  const column = columns[fieldId] as BytesColumn | undefined;
  return column === undefined ? () => "" : textReader(column);
}
