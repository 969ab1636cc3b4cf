/**
 * What a search groups its hits by: the field or path that the request names, and how many rows of each group it wants.
 */
import { VdbError } from "../../../runtime/errors.ts";
import type { GroupBy } from "../../../runtime/protocol/values.ts";
import type { CollectionSchema, FieldSchema } from "../../../runtime/schema.ts";
import { type FieldPath, fieldPathOf, pathOf } from "../field-path.ts";
import { flagOf, type Settings } from "./settings.ts";

/** Milvus allows 10. */
const GROUP_SIZE_MAX = 1_000;

/** Rows of all groups of a query together: as many as Milvus's limits allow. */
const ROWS_MAX = 163_840;

const TYPES: readonly FieldSchema["type"][] = ["Bool", "Int8", "Int16", "Int32", "Int64", "VarChar", "Timestamptz"];

const JSON_TYPES: Record<string, GroupBy["jsonType"]> = {
  ...{ bool: "Bool", varchar: "VarChar", string: "VarChar", double: "Double", float: "Double" },
  ...{ int8: "Int64", int16: "Int64", int32: "Int64", int64: "Int64" },
};

export interface GroupingRequest {
  groupingField?: string | undefined;
  groupSize?: number | undefined;
  strictGroupSize?: boolean | undefined;
}

export interface Grouping {
  by: GroupBy;
  /** What the groups' values are shown as. */
  field: FieldSchema;
}

/** Undefined when the hits are not grouped. @throws VdbError invalid_parameter, field_not_found */
export function groupingOf(
  schema: CollectionSchema,
  request: GroupingRequest,
  settings: Settings,
  groupCount: number,
): Grouping | undefined {
  const name = nonEmpty(request.groupingField) ?? nonEmpty(settings.group_by_field);
  if (name === undefined) return undefined;
  const { field, path } = groupedField(schema, name);
  const explicit = nonEmpty(settings.json_path);
  const isJson = field.type === "JSON";
  if (!isJson && !TYPES.includes(field.type)) {
    throw new VdbError("invalid_parameter", `unsupported data type ${field.type} for group by operator`);
  }
  const by: GroupBy = {
    fieldId: field.fieldId,
    size: sizeOf(request, settings, groupCount),
    isStrict: request.strictGroupSize ?? flagOf(settings, "strict_group_size"),
    ...(field.defaultValue === undefined ? {} : { defaultValue: defaultText(field.defaultValue) }),
  };
  if (!isJson) return { by, field };
  const jsonType = jsonTypeOf(settings.json_type);
  return {
    by: {
      ...by,
      path: explicit === undefined ? path : pathOf(explicit),
      ...(jsonType === undefined ? {} : { jsonType, isStrictCast: flagOf(settings, "strict_cast") }),
    },
    field,
  };
}

function groupedField(schema: CollectionSchema, name: string): FieldPath {
  const found = fieldPathOf(schema, name);
  if (found !== undefined) return found;
  throw new VdbError("field_not_found", `groupBy field not found in schema: field not found[field=${name}]`);
}

function sizeOf(request: GroupingRequest, settings: Settings, groupCount: number): number {
  const given = request.groupSize ?? settings.group_size ?? 1;
  const size = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (typeof size !== "number" || !Number.isInteger(size)) {
    throw new VdbError("invalid_parameter", `failed to parse input group size:${String(given)}`);
  }
  if (size <= 0) {
    throw new VdbError("invalid_parameter", `input group size:${size} is negative, failed to do search_groupby`);
  }
  const max = Math.min(GROUP_SIZE_MAX, Math.floor(ROWS_MAX / groupCount));
  if (size > max) {
    throw new VdbError("invalid_parameter", `input group size:${size} exceeds configured max group size:${max}`);
  }
  return size;
}

function jsonTypeOf(given: unknown): GroupBy["jsonType"] {
  if (given === undefined || given === "") return undefined;
  const type = JSON_TYPES[String(given).toLowerCase()];
  if (type !== undefined) return type;
  throw new VdbError("invalid_parameter", `invalid json_type ${String(given)} for group by operator`);
}

function defaultText(value: boolean | number | bigint | string): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

function nonEmpty(given: unknown): string | undefined {
  return typeof given === "string" && given !== "" ? given : undefined;
}
