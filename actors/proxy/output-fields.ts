/** `outputFields` of a read: which columns to fetch, and what of the dynamic keys to show. The primary key is always shown. */
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { shorten } from "../../runtime/rows/bad-cell.ts";
import { type CollectionSchema, DYNAMIC_FIELD, type FieldSchema, primaryField } from "../../runtime/schema.ts";
import { isTimeZone } from "../../runtime/timestamptz.ts";
import type { ProxyContext } from "./context.ts";
import { timeZoneOf } from "./time-zone.ts";

export interface OutputFields {
  /** Fields of the schema to show, the primary one first; without the dynamic one. */
  fields: FieldSchema[];
  /** The hidden field, when any of its keys are shown. */
  dynamicField: FieldSchema | undefined;
  /** The dynamic keys to show; null: all. */
  dynamicKeys: string[] | null;
  /** Absent: int64 as numbers, times in UTC. */
  shape?: RowShape;
}

/** How a client wants values shown. */
export interface RowShape {
  /** Int64 as text, for clients whose numbers do not hold them. */
  int64AsText: boolean;
  /** The time zone of Timestamptz values. */
  zone: string;
  /** Rows as columns (reply-columns.ts) instead of objects. */
  isColumns?: boolean;
}

/** What a body says of it, or else the collection. @throws VdbError invalid_parameter */
export function rowShapeOf(
  { actor }: Pick<ProxyContext, "actor">,
  collection: CollectionDoc,
  request: {
    timezone?: string | undefined;
    acceptTypeAllowInt64?: boolean | undefined;
    resultFormat?: string | undefined;
  },
): RowShape {
  const given = request.timezone ?? "";
  if (given !== "" && !isTimeZone(given)) {
    throw new VdbError("invalid_parameter", `invalid timezone: ${shorten(given)}: give the IANA name of one`);
  }
  const zone = given === "" ? timeZoneOf(actor.catalog, collection) : given;
  const shape = { int64AsText: request.acceptTypeAllowInt64 === false, zone };
  return request.resultFormat === "columns" ? { ...shape, isColumns: true } : shape;
}

const META_KEY = /^\$meta\[(?:"([^"]+)"|'([^']+)')\]$/;

/** Of reads that name no fields, which most searches are. */
const keysAlone = new WeakMap<CollectionSchema, OutputFields>();

/** @throws VdbError unexpected (Milvus's code for a field that does not exist) */
export function outputFieldsOf(schema: CollectionSchema, names: readonly string[]): OutputFields {
  if (names.length > 0) return namedFields(schema, names);
  let output = keysAlone.get(schema);
  if (output === undefined) {
    output = namedFields(schema, names);
    keysAlone.set(schema, output);
  }
  return output;
}

function namedFields(schema: CollectionSchema, names: readonly string[]): OutputFields {
  const primary = primaryField(schema);
  const dynamicField = schema.fields.find(({ isDynamic }) => isDynamic);
  const shown = new Set<FieldSchema>([primary]);
  const keys = new Set<string>();
  let isWhole = false;
  for (const name of names) {
    if (name === "*" || name === DYNAMIC_FIELD) isWhole = true;
    if (name === "*") for (const field of schema.fields) if (!field.isDynamic && !isHidden(field)) shown.add(field);
    if (name === "*" || name === DYNAMIC_FIELD) continue;
    const field = schema.fields.find((candidate) => candidate.name === name);
    if (field !== undefined && isHidden(field)) {
      throw new VdbError("unexpected", `not allowed to retrieve raw data of field ${name}`, {
        details: { field: name },
      });
    }
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

/** What a function makes is there to be searched: term counts mean nothing by themselves. */
function isHidden({ isFunctionOutput }: FieldSchema): boolean {
  return isFunctionOutput === true;
}

/** The columns that a reply needs beside the primary key, which every hit brings along. */
export function columnsToFetch(output: OutputFields): number[] {
  const fieldIds = output.fields.filter(({ isPrimary }) => !isPrimary).map(({ fieldId }) => fieldId);
  return output.dynamicField === undefined ? fieldIds : [...fieldIds, output.dynamicField.fieldId];
}
