/** `outputFields` of a read: which columns to fetch, and what of the dynamic keys to show. The primary key is always shown. */
import { VdbError } from "../../runtime/errors.ts";
import { type CollectionSchema, DYNAMIC_FIELD, type FieldSchema, primaryField } from "../../runtime/schema.ts";

export interface OutputFields {
  /** Fields of the schema to show, the primary one first; without the dynamic one. */
  fields: FieldSchema[];
  /** The hidden field, when any of its keys are shown. */
  dynamicField: FieldSchema | undefined;
  /** The dynamic keys to show; null: all. */
  dynamicKeys: string[] | null;
}

const META_KEY = /^\$meta\[(?:"([^"]+)"|'([^']+)')\]$/;

/** @throws VdbError unexpected (Milvus's code for a field that does not exist) */
export function outputFieldsOf(schema: CollectionSchema, names: readonly string[]): OutputFields {
  const primary = primaryField(schema);
  const dynamicField = schema.fields.find(({ isDynamic }) => isDynamic);
  const shown = new Set<FieldSchema>([primary]);
  const keys = new Set<string>();
  let isWhole = false;
  for (const name of names) {
    if (name === "*" || name === DYNAMIC_FIELD) isWhole = true;
    if (name === "*") for (const field of schema.fields) if (!field.isDynamic) shown.add(field);
    if (name === "*" || name === DYNAMIC_FIELD) continue;
    const field = schema.fields.find((candidate) => candidate.name === name);
    if (field !== undefined) shown.add(field);
    else if (dynamicField !== undefined) keys.add(META_KEY.exec(name)?.slice(1).find(Boolean) ?? name);
    else throw new VdbError("unexpected", `field ${name} not exist`, { details: { field: name } });
  }
  return {
    fields: [...shown],
    dynamicField: isWhole || keys.size > 0 ? dynamicField : undefined,
    dynamicKeys: isWhole ? null : [...keys],
  };
}

/** The columns that a reply needs beside the primary key, which every hit brings along. */
export function columnsToFetch(output: OutputFields): number[] {
  const fieldIds = output.fields.filter(({ isPrimary }) => !isPrimary).map(({ fieldId }) => fieldId);
  return output.dynamicField === undefined ? fieldIds : [...fieldIds, output.dynamicField.fieldId];
}
