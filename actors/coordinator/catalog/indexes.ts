/** Indexes of a collection: which there are. Their files are built and swapped in elsewhere (build-indexes.ts). */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import { putDoc } from "../../../runtime/meta/catalog.ts";
import { mapSegments } from "../../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../../runtime/meta/port.ts";
import { type IndexDefinition, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { alterIndex, createIndex, dropIndex } from "../../../runtime/protocol/coordinator.ts";
import { isVectorType } from "../../../runtime/schema.ts";
import { alteredProperties, type ChangeContext, type Changed } from "./changes.ts";

type CreateIndex = (typeof createIndex)["request"]["_output"];
type DropIndex = (typeof dropIndex)["request"]["_output"];
type AlterIndex = (typeof alterIndex)["request"]["_output"];

export interface IndexChanges {
  createIndex(request: CreateIndex): Promise<Changed>;
  dropIndex(request: DropIndex): Promise<Changed>;
  alterIndex(request: AlterIndex): Promise<Changed>;
}

export function indexChanges(changes: ChangeContext): IndexChanges {
  const { commit, existing, put, newId } = changes;
  return {
    createIndex: ({ collectionId, index }) =>
      commit(async () => {
        const collection = existing(collectionId);
        const nameOf = (id: number) => collection.schema.fields.find(({ fieldId }) => fieldId === id)?.name;
        if (nameOf(index.fieldId) === undefined) {
          throw new VdbError("field_not_found", `field not found[field=${index.fieldId}]`);
        }
        const other = collection.indexes.find((known) => known.name === index.name || isOfSamePlace(known, index));
        if (other !== undefined) {
          if (sameIndex(other, index)) return null;
          const asked = `index ${index.name} of field ${nameOf(index.fieldId)}`;
          const there = `there is ${other.name} of field ${nameOf(other.fieldId)}`;
          throw new VdbError(
            "unexpected",
            `CreateIndex failed: at most one distinct index is allowed per field, one of a name: ${asked}, ${there}`,
          );
        }
        return [put({ ...collection, indexes: [...collection.indexes, { ...index, indexId: await newId() }] })];
      }),

    dropIndex: ({ collectionId, indexName, indexId }) =>
      commit(() => {
        const collection = existing(collectionId);
        const dropped = collection.indexes.find(({ name }) => name === indexName);
        if (dropped === undefined || dropped.indexId !== (indexId ?? dropped.indexId)) return null;
        const field = collection.schema.fields.find(({ fieldId }) => fieldId === dropped.fieldId);
        if (collection.loaded !== undefined && field !== undefined && isVectorType(field.type)) {
          throw new VdbError(
            "invalid_parameter",
            "vector index cannot be dropped on loaded collection: release it first",
          );
        }
        const manifests = collection.shards.flatMap(({ vchannel }) => withoutIndex(changes, vchannel, dropped));
        return [put({ ...collection, indexes: collection.indexes.filter((index) => index !== dropped) }), ...manifests];
      }),

    alterIndex: ({ collectionId, indexName, set, remove }) =>
      commit(() => {
        const collection = existing(collectionId);
        const index = collection.indexes.find(({ name }) => name === indexName);
        if (index === undefined) {
          throw new VdbError("index_not_found", `index not found[collection=${collection.name}][index=${indexName}]`);
        }
        const properties = alteredProperties(index.properties ?? {}, set, remove);
        if (isDeepStrictEqual(properties, index.properties ?? {})) return null;
        if (collection.loaded !== undefined && [...Object.keys(set), ...remove].includes("mmap.enabled")) {
          throw new VdbError(
            "collection_loaded",
            `can not alter mmap properties if collection loaded[collection=${collection.name}]`,
          );
        }
        const indexes = collection.indexes.map((other) => (other === index ? { ...index, properties } : other));
        return [put({ ...collection, indexes })];
      }),
  };
}

/** One index a field; of JSON, one a path. */
function isOfSamePlace(a: Omit<IndexDefinition, "indexId">, b: Omit<IndexDefinition, "indexId">): boolean {
  return a.fieldId === b.fieldId && (a.params.json_path ?? "") === (b.params.json_path ?? "");
}

function withoutIndex({ catalog, cache }: ChangeContext, vchannel: string, index: IndexDefinition): MetaOp[] {
  const manifest = catalog.manifest(vchannel);
  if (manifest === undefined) return [];
  const key = String(index.fieldId);
  const changed = mapSegments(manifest, (segment) => {
    if (segment.indexes[key]?.indexId !== index.indexId) return segment;
    const { [key]: _, ...indexes } = segment.indexes;
    return { ...segment, indexes };
  });
  return [putDoc(cache, metaKeys.manifest(vchannel), changed)];
}

/** Numbers may come as text: the same asked for in another form is the same. */
function sameIndex(index: IndexDefinition, request: Omit<IndexDefinition, "indexId">): boolean {
  const asText = ({ name, fieldId, type, metric, params }: Omit<IndexDefinition, "indexId">) => ({
    ...{ name, fieldId, type, metric },
    params: Object.fromEntries(Object.entries(params).map(([key, value]) => [key, String(value)])),
  });
  return isDeepStrictEqual(asText(index), asText(request));
}
