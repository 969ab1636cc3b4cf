/**
 * Scalar indexes as the catalogue keeps them, and what filters may expect of them. An index of any type is kept as its values
 * in order, each with its rows (chunk-index.ts), except NGRAM (by grams), JSON (by path) and geometries (their bounding boxes).
 */
import type { IndexHint } from "../expr/plan.ts";
import { type CollectionSchema, type FieldType, isVectorType } from "../schema.ts";

const SCALAR_INDEX_TYPES = ["AUTOINDEX", "INVERTED", "BITMAP", "STL_SORT", "Trie", "NGRAM", "RTREE"] as const;
export type ScalarIndexType = (typeof SCALAR_INDEX_TYPES)[number];

/** The catalogue's schema requires a metric of every index; that of a scalar index means nothing and is never shown. */
export const NO_METRIC = "L2";

/** Longer grams hardly leave fewer rows. */
const GRAM_BYTES_MAX = 4;

interface Defined {
  fieldId: number;
  type: string;
  params: Readonly<Record<string, string | number | boolean>>;
}

/** Keys and positions as one text, by RFC 6901: `/a/0`. */
export function pathPointer(path: readonly (string | number)[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** Of a JSON pointer (RFC 6901). */
export function pointerParts(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The hints for a collection's filters, from its indexes. */
export function indexHints(indexes: readonly Defined[], { fields }: Pick<CollectionSchema, "fields">): IndexHint[] {
  const typeOf = new Map(fields.map(({ fieldId, type }) => [fieldId, type]));
  return indexes.flatMap((index) => {
    const type = typeOf.get(index.fieldId);
    return type === undefined || isVectorType(type) ? [] : [hintOf(index, type)];
  });
}

function hintOf({ fieldId, type, params }: Defined, fieldType: FieldType): IndexHint {
  if (fieldType === "JSON") {
    const path = pointerParts(String(params.json_path ?? ""));
    const isFlat = path.length === 0 || params.json_cast_type === "JSON";
    return { fieldId, path, ...(isFlat ? { isFlat } : {}) };
  }
  if (fieldType === "Geometry") return { fieldId, hasBoxes: true };
  return type === "NGRAM" ? { fieldId, gram: Math.min(Number(params.min_gram), GRAM_BYTES_MAX) } : { fieldId };
}
