/**
 * Which indexes are files, built by data nodes and waited for: those of dense vectors. Those of sparse vectors and of
 * scalars are made by the node that holds the rows, as it loads them (runtime/sparse/, runtime/scalar-index/): there is
 * nothing to build, nor to wait for.
 */
import type { CollectionDoc, IndexDefinition } from "./protocol/catalog.ts";
import { isVectorType } from "./schema.ts";

export function hasIndexFile({ schema }: CollectionDoc, { fieldId }: Pick<IndexDefinition, "fieldId">): boolean {
  const type = schema.fields.find((field) => field.fieldId === fieldId)?.type;
  return type !== undefined && isVectorType(type) && type !== "SparseFloatVector";
}
