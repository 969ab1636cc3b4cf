/** The `data` of a search: query vectors in the forms that clients send them in, as one row-major array. */
import { VdbError } from "../../../runtime/errors.ts";
import { show, withoutRow } from "../../../runtime/rows/bad-cell.ts";
import { fillFloatVectors, fillVectors } from "../../../runtime/rows/fill-vectors.ts";
import type { FieldSchema, VectorType } from "../../../runtime/schema.ts";
import type { VectorColumn } from "../../../runtime/segment/column.ts";

/** Of one search. */
export const QUERIES_MAX = 16_384;

export interface QueryVectors {
  /** Row-major [count, dimension]. */
  values: Float32Array;
  count: number;
}

/**
 * The queries of a field of any vector type, as a column of it: a list of vectors in the forms that rows take, of a
 * FloatVector also one flat Float32Array of whole vectors.
 * @throws VdbError missing_field, malformed_request, invalid_parameter
 */
export function queryColumnOf(data: unknown, field: FieldSchema & { type: VectorType }): VectorColumn {
  if (field.type === "FloatVector") {
    return { kind: "floatVector", dimension: field.dimension!, values: queryVectorsOf(data, field).values };
  }
  const list = queryList(data);
  try {
    return fillVectors(field.type, field.dimension ?? 0, list, { field: field.name });
  } catch (error) {
    throw badQuery(error, field);
  }
}

/**
 * A list of vectors (number lists or Float32Arrays), or one flat Float32Array of whole vectors.
 * @throws VdbError missing_field, malformed_request, invalid_parameter
 */
function queryVectorsOf(data: unknown, field: FieldSchema): QueryVectors {
  const dimension = field.dimension!;
  if (data instanceof Float32Array) return flatVectors(data, dimension, field.name);
  const list = queryList(data);
  try {
    const { values } = fillFloatVectors(dimension, list, { field: field.name });
    return { values, count: list.length };
  } catch (error) {
    throw badQuery(error, field);
  }
}

function queryList(data: unknown): readonly unknown[] {
  if (data === undefined || data === null) {
    throw new VdbError("missing_field", "missing required parameters, error: data is required");
  }
  if (!Array.isArray(data)) {
    throw new VdbError(
      "malformed_request",
      `can only accept json format request, error: data: expected a list of vectors, got ${show(data)}`,
    );
  }
  checkCount(data.length);
  // Nothing is not a vector, where a row may leave one out.
  return data.map((vector: unknown) => vector ?? undefined);
}

function badQuery(error: unknown, field: FieldSchema): unknown {
  if (!(error instanceof VdbError)) return error;
  const problem = withoutRow(error.message);
  const query = error.details?.row ?? 0;
  return new VdbError("invalid_parameter", `data: vector ${query} for field ${field.name}: ${problem}`, {
    cause: error,
  });
}

function flatVectors(data: Float32Array, dimension: number, name: string): QueryVectors {
  if (data.length % dimension !== 0) {
    throw new VdbError(
      "invalid_parameter",
      `data: ${data.length} numbers are no whole vectors of dimension ${dimension} of field ${name}`,
    );
  }
  const count = data.length / dimension;
  checkCount(count);
  const at = data.findIndex((x) => !Number.isFinite(x));
  if (at >= 0) {
    throw new VdbError(
      "invalid_parameter",
      `data: vector ${Math.floor(at / dimension)} for field ${name}: value '${data[at]}' is not a number or infinity`,
    );
  }
  return { values: data, count };
}

function checkCount(count: number): void {
  if (count < 1 || count > QUERIES_MAX) throw wrongQueryCount(count);
}

export function wrongQueryCount(count: number): VdbError {
  return new VdbError("invalid_parameter", `nq [${count}] is invalid, it should be in range [1, ${QUERIES_MAX}]`);
}
