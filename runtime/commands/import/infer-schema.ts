/**
 * A schema from the first records of a file. It takes the widest type that all values seen have in common; what later
 * records bring beyond it goes to the dynamic field, so a field first seen at line 5,000 is kept too.
 */
import type { FieldDefinition } from "../../../client/types.ts";
import type { ImportRecord } from "./read-records.ts";

/** Most that a VarChar and an Array may hold. */
const VARCHAR_BYTES = 65_535;
const ARRAY_ELEMENTS = 4_096;

/** Other names stay keys of the dynamic field. */
const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

type Kind = "integer" | "number" | "boolean" | "string" | "strings" | "other";

/**
 * Fields in the order in which they were first seen.
 * @param dimension of the vectors that come from a file of their own; without, each record carries one in vectorField
 * @throws Error that says which record has no primary key or vector
 */
export function inferFields(
  records: readonly ImportRecord[],
  options: { primaryKey: string; vectorField: string; dimension: number | undefined },
): FieldDefinition[] {
  const { primaryKey, vectorField } = options;
  const vector = vectorOf(records, vectorField, options.dimension);
  const fields: FieldDefinition[] = [primaryOf(records, primaryKey)];
  for (const name of namesOf(records)) {
    if (name === primaryKey || name === vectorField || !FIELD_NAME.test(name)) continue;
    fields.push(fieldOf(records, name));
  }
  fields.push(vector);
  return fields;
}

function namesOf(records: readonly ImportRecord[]): Set<string> {
  return new Set(records.flatMap((record) => Object.keys(record)));
}

function fieldOf(records: readonly ImportRecord[], name: string): FieldDefinition {
  const kinds = new Set<Kind>();
  let nullable = false;
  for (const record of records) {
    const value = Object.hasOwn(record, name) ? record[name] : undefined;
    if (value === undefined || value === null) nullable = true;
    // An empty array may be one of strings: it decides nothing.
    else if (!Array.isArray(value) || value.length > 0) kinds.add(kindOf(value));
  }
  return { fieldName: name, nullable, ...typeOf(kinds) };
}

function kindOf(value: unknown): Kind {
  if (typeof value === "bigint") return "integer";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "string") return "string";
  return Array.isArray(value) && value.every((item) => typeof item === "string") ? "strings" : "other";
}

function typeOf(kinds: ReadonlySet<Kind>): Omit<FieldDefinition, "fieldName"> {
  const isOnly = (...allowed: Kind[]) => kinds.size > 0 && [...kinds].every((kind) => allowed.includes(kind));
  if (isOnly("integer")) return { dataType: "Int64" };
  if (isOnly("integer", "number")) return { dataType: "Double" };
  if (isOnly("boolean")) return { dataType: "Bool" };
  if (isOnly("string")) return { dataType: "VarChar", elementTypeParams: { max_length: VARCHAR_BYTES } };
  if (isOnly("strings")) {
    const elementTypeParams = { max_length: VARCHAR_BYTES, max_capacity: ARRAY_ELEMENTS };
    return { dataType: "Array", elementDataType: "VarChar", elementTypeParams };
  }
  return { dataType: "JSON" };
}

function primaryOf(records: readonly ImportRecord[], name: string): FieldDefinition {
  const bare = records.findIndex((record) => record[name] === undefined || record[name] === null);
  if (bare !== -1) {
    const known = Object.keys(records[bare]!).join(", ");
    throw new Error(`line ${bare + 1} has no primary key ${name}: name it with --pk, the record has ${known}`);
  }
  const field = fieldOf(records, name);
  if (field.dataType !== "Int64" && field.dataType !== "VarChar") {
    throw new Error(`primary key ${name} must be integers or strings in all records, found ${field.dataType}`);
  }
  return { ...field, isPrimary: true, nullable: false };
}

function vectorOf(records: readonly ImportRecord[], name: string, dimension: number | undefined): FieldDefinition {
  let dim = dimension;
  if (dim === undefined) {
    const bare = records.findIndex((record) => !isVector(record[name]));
    if (bare !== -1) {
      throw new Error(
        `line ${bare + 1} has no vector in ${name}: give a file of vectors with --vectors, or name the field with --vector-field`,
      );
    }
    dim = (records[0]![name] as number[]).length;
  } else if (records.some((record) => record[name] !== undefined)) {
    throw new Error(`records have a field ${name} of their own: name the vectors' field with --vector-field`);
  }
  return { fieldName: name, dataType: "FloatVector", elementTypeParams: { dim } };
}

function isVector(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number");
}
