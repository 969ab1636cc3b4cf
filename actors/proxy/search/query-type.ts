/** What a client says that the queries of a search are, held against the searched field: in the words that Milvus has. */
import { VdbError } from "../../../runtime/errors.ts";
import type { FieldSchema, VectorType } from "../../../runtime/schema.ts";

const NAMES: Readonly<Record<VectorType | "VarChar", string>> = {
  VarChar: "VARCHAR",
  BinaryVector: "VECTOR_BINARY",
  FloatVector: "VECTOR_FLOAT",
  Float16Vector: "VECTOR_FLOAT16",
  BFloat16Vector: "VECTOR_BFLOAT16",
  SparseFloatVector: "VECTOR_SPARSE_U32_F32",
  Int8Vector: "VECTOR_INT8",
};

/** @param given a field type; undefined: the queries say it themselves @throws VdbError unexpected */
export function checkQueryType(given: string | undefined, field: FieldSchema & { type: VectorType }): void {
  // Queries of a field that a function makes are what the function takes.
  if (given === undefined || given === field.type || field.isFunctionOutput === true) return;
  const name = NAMES[given as keyof typeof NAMES] ?? given;
  throw new VdbError(
    "unexpected",
    `fail to search: vector type must be the same, field ${field.name} - type ${NAMES[field.type]}, search info type ${name}`,
    { details: { field: field.name } },
  );
}
