/** /v2/vectordb/collections/fields/*: fields of a collection that is there. */
import { z } from "zod";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { calledNow } from "../../../runtime/meta/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import type { FieldSchema } from "../../../runtime/schema.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { FieldBody, fieldSpec, invalid, wholeNumber } from "../catalog/field-spec.ts";
import { untilOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, success } from "../context.ts";
import { checkFieldName } from "../names.ts";
import { CollectionBody } from "../parse-body.ts";
import { resolveCollection } from "../resolve.ts";

const VARCHAR_BYTES_MAX = 65_535;
const ARRAY_CAPACITY_MAX = 4_096;

const AddBody = CollectionBody.extend({ schema: FieldBody });
const AlterBody = CollectionBody.extend({
  fieldName: z.string().min(1),
  fieldParams: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

const NameBody = CollectionBody.extend({ fieldName: z.string().min(1) });
const RenameBody = NameBody.extend({ newFieldName: z.string().min(1) });

export const fieldRoutes: Route[] = [
  newestRoute(api.addField, AddBody, add),
  newestRoute(api.alterField, AlterBody, alter),
  newestRoute(api.dropField, NameBody, drop),
  newestRoute(api.renameField, RenameBody, rename),
];

/** Once it answers, every row that is written may have the field, and every row that was has its default or null. A vector is searched once it has an index. */
async function add({ actor }: ProxyContext, { schema: body, ...name }: z.infer<typeof AddBody>, call: Call) {
  const field = fieldSpec(body);
  const refuse = (what: string) => invalid(`not support to add ${what}, field name = ${field.name}`);
  if (field.isPrimary) throw refuse("pk field");
  if (body.autoID === true)
    throw invalid(`only primary field can speficy AutoID with true, field name = ${field.name}`);
  if (field.isPartitionKey === true) throw refuse("partition key field");
  if (field.isClusteringKey === true) throw refuse("clustering key field");
  if (!field.nullable) throw invalid(`added field must be nullable, please check it, field name = ${field.name}`);
  const { collectionId, schema } = await resolveCollection(actor, name, call);
  const request = { collectionId, schemaVersion: schema.version, field };
  const { revision } = await changeCatalog(actor, coordinator.addField, request, call);
  await untilOwnersKnow(actor, collectionId, revision, call);
  return success({});
}

async function alter({ actor }: ProxyContext, request: z.infer<typeof AlterBody>, call: Call) {
  const { fieldName, fieldParams, ...name } = request;
  const { collection, field } = await namedField(actor, name, fieldName, call);
  const { collectionId } = collection;
  const entries = Object.entries(fieldParams);
  if (entries.length === 0) throw invalid("no properties or delete keys provided");
  const change = Object.assign({}, ...entries.map(([key, value]) => changeOf(field, key, value))) as FieldChange;
  const { revision } = await changeCatalog(
    actor,
    coordinator.alterField,
    { collectionId, fieldId: field.fieldId, change },
    call,
  );
  await untilOwnersKnow(actor, collectionId, revision, call);
  return success({});
}

/** Its values are gone at once, also when a field of its name is added later. */
async function drop({ actor }: ProxyContext, { fieldName, ...name }: z.infer<typeof NameBody>, call: Call) {
  const { collection, field } = await namedField(actor, name, fieldName, call);
  const request = { ...calledNow(collection), fieldId: field.fieldId };
  const { revision } = await changeCatalog(actor, coordinator.dropField, request, call);
  await untilOwnersKnow(actor, collection.collectionId, revision, call);
  return success({});
}

/** Indexes keep the names that they have. */
async function rename({ actor }: ProxyContext, request: z.infer<typeof RenameBody>, call: Call) {
  const { fieldName, newFieldName, ...name } = request;
  checkFieldName(newFieldName);
  const { collection, field } = await namedField(actor, name, fieldName, call);
  const { collectionId } = collection;
  const { revision } = await changeCatalog(
    actor,
    coordinator.renameField,
    { collectionId, fieldId: field.fieldId, name: newFieldName },
    call,
  );
  await untilOwnersKnow(actor, collectionId, revision, call);
  return success({});
}

async function namedField(actor: ActorContext, name: CollectionBody, fieldName: string, call: Call) {
  const collection = await resolveCollection(actor, name, call);
  const field = collection.schema.fields.find((candidate) => candidate.name === fieldName);
  if (field !== undefined) return { collection, field };
  throw new VdbError("field_not_found", `field ${fieldName} does not exist in collection ${name.collectionName}`);
}

type FieldChange = z.infer<typeof coordinator.alterField.request>["change"];

function changeOf(field: FieldSchema, key: string, value: string | number | boolean): FieldChange {
  switch (key) {
    case "max_length": {
      if (field.type !== "VarChar" && field.elementType !== "VarChar") {
        throw invalid(`${field.name} can not modify the maxlength for non-string types`);
      }
      return { maxLength: wholeIn(key, value, VARCHAR_BYTES_MAX, "the maximum length specified for a VarChar") };
    }
    case "max_capacity": {
      if (field.type !== "Array") throw invalid(`${field.name} can not modify the maxcapacity for non-array types`);
      return { maxCapacity: wholeIn(key, value, ARRAY_CAPACITY_MAX, "the maximum capacity specified for a Array") };
    }
    case "mmap_enabled":
    case "mmap.enabled": {
      const text = String(value).toLowerCase();
      if (text !== "true" && text !== "false") throw invalid(`${key} should be true or false, but got ${value}`);
      return { mmapEnabled: text === "true" };
    }
    default:
      throw invalid(`${key} does not allow update in collection field param`);
  }
}

function wholeIn(key: string, given: unknown, max: number, what: string): number {
  const value = wholeNumber(given);
  if (value === undefined) throw invalid(`${key} should be an integer, but got ${String(given)}`);
  if (value >= 1 && value <= max) return value;
  throw invalid(`${what} should be in (0, ${max}], got ${value}`);
}
