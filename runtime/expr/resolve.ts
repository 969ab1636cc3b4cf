/**
 * What a name in a filter stands for: a column, an element or a JSON path of the schema, or a dynamic key. Names of
 * the schema win; `$meta["x"]` always means the dynamic key.
 */
import {
  type CollectionSchema,
  DYNAMIC_FIELD,
  type FieldSchema,
  fieldByName,
  isVectorType,
  type VectorType,
} from "../schema.ts";
import { ExpressionError } from "./expression-error.ts";
import type { JsonOperand, Operand } from "./plan-node.ts";

/** An array or vector without a path is a field and not an operand: few operators take it. */
export type Resolved = { kind: "operand"; operand: Operand } | { kind: "field"; field: FieldSchema };

/** @throws ExpressionError when the schema has no such field, or the path does not fit its type */
export function resolveName(
  schema: CollectionSchema,
  name: string,
  path: (string | number)[],
  offset: number,
): Resolved {
  const field = name === DYNAMIC_FIELD ? undefined : fieldByName(schema, name);
  if (field !== undefined) return resolveField(field, path, offset);
  const meta = schema.fields.find((candidate) => candidate.isDynamic);
  if (meta === undefined) throw new ExpressionError(`field ${name} not exist`, offset);
  const keys = name === DYNAMIC_FIELD ? path : [name, ...path];
  if (keys.length === 0) {
    throw new ExpressionError(
      `${DYNAMIC_FIELD} cannot be used as a whole, name a key: ${DYNAMIC_FIELD}["key"]`,
      offset,
    );
  }
  return { kind: "operand", operand: jsonOperand(meta, keys) };
}

function resolveField(field: FieldSchema, path: (string | number)[], offset: number): Resolved {
  switch (field.type) {
    case "JSON":
      return { kind: "operand", operand: jsonOperand(field, path) };
    case "Array":
      return path.length === 0 ? { kind: "field", field } : elementOf(field, path, offset);
    case "Geometry":
      if (path.length > 0) break;
      return { kind: "field", field };
    default:
      if (path.length > 0) break;
      if (isVectorType(field.type)) return { kind: "field", field };
      return { kind: "operand", operand: columnOperand(field, field.type) };
  }
  throw new ExpressionError(`field ${field.name} of type ${field.type} has no parts to access with []`, offset);
}

function elementOf(field: FieldSchema, path: (string | number)[], offset: number): Resolved {
  const index = path[0];
  if (path.length !== 1 || typeof index !== "number" || !Number.isSafeInteger(index)) {
    throw new ExpressionError(`array field ${field.name} can only be accessed with one integer index`, offset);
  }
  const type = field.elementType;
  if (type === undefined) throw new Error(`array field ${field.name} has no element type`);
  return { kind: "operand", operand: { from: "element", fieldId: field.fieldId, type, index } };
}

function columnOperand(
  field: FieldSchema,
  type: Exclude<FieldSchema["type"], "JSON" | "Array" | "Geometry" | VectorType>,
): Operand {
  const operand = { from: "column" as const, fieldId: field.fieldId, type };
  return field.defaultValue === undefined ? operand : { ...operand, defaultValue: field.defaultValue };
}

function jsonOperand(field: FieldSchema, path: (string | number)[]): JsonOperand {
  return { from: "json", fieldId: field.fieldId, path, isDynamic: field.isDynamic };
}
