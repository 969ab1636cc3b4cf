/** The `data` of a search: query vectors in the forms that clients send them in, as one row-major array. */
import { VdbError } from "../../runtime/errors.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { show, withoutRow } from "./bad-cell.ts";
import { writeVector } from "./fill-column.ts";

const QUERIES_MAX = 16_384;

export interface QueryVectors {
  /** Row-major [count, dimension]. */
  values: Float32Array;
  count: number;
}

/**
 * A list of vectors (number lists or Float32Arrays), or one flat Float32Array of whole vectors.
 * @throws VdbError missing_field, malformed_request, invalid_parameter
 */
export function queryVectorsOf(data: unknown, field: FieldSchema): QueryVectors {
  if (data === undefined || data === null) {
    throw new VdbError("missing_field", "missing required parameters, error: data is required");
  }
  const dimension = field.dimension!;
  if (data instanceof Float32Array) return flatVectors(data, dimension, field.name);
  if (!Array.isArray(data)) {
    throw new VdbError(
      "malformed_request",
      `can only accept json format request, error: data: expected a list of vectors, got ${show(data)}`,
    );
  }
  checkCount(data.length);
  const values = new Float32Array(data.length * dimension);
  for (let query = 0; query < data.length; query++) writeQuery(values, query, data[query], field);
  return { values, count: data.length };
}

function writeQuery(values: Float32Array, query: number, vector: unknown, field: FieldSchema): void {
  try {
    writeVector(values, query, vector, field.dimension!, { field: field.name });
  } catch (error) {
    if (!(error instanceof VdbError)) throw error;
    const problem = withoutRow(error.message);
    throw new VdbError("invalid_parameter", `data: vector ${query} for field ${field.name}: ${problem}`, {
      cause: error,
    });
  }
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
  if (count >= 1 && count <= QUERIES_MAX) return;
  throw new VdbError("invalid_parameter", `nq [${count}] is invalid, it should be in range [1, ${QUERIES_MAX}]`);
}
