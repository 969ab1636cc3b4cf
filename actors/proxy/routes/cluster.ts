/** /v2/vectordb/segments/* and quotacenter/*: what the cluster holds. */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { wholeNumber } from "../catalog/field-spec.ts";
import { type ProxyContext, type Route, route, success } from "../context.ts";
import { optional } from "../parse-body.ts";

const Id = z.union([z.number(), z.string()]);
const SegmentsBody = z.object({ collectionID: Id, segmentIDs: optional(z.array(Id)) });

export const clusterRoutes: Route[] = [
  route(api.describeSegments, SegmentsBody, describeSegments),
  { operation: api.describeQuotas, handle: describeQuotas },
];

/** Those of the collection that are in objects, or of these those asked for. Ids are ULIDs here. */
async function describeSegments({ actor }: ProxyContext, request: z.infer<typeof SegmentsBody>, call: Call) {
  const { catalog } = actor;
  await catalog.cache.sync(call.deadline);
  const collection = catalog.collection(wholeNumber(request.collectionID) ?? -1);
  const wanted = new Set((request.segmentIDs ?? []).map(String));
  const segmentInfos = (collection?.shards ?? []).flatMap(({ vchannel }) =>
    (catalog.manifest(vchannel)?.segments ?? [])
      .filter(({ segmentId }) => wanted.size === 0 || wanted.has(segmentId))
      .map((segment) => ({
        segmentID: segment.segmentId,
        collectionID: collection!.collectionId,
        partitionID: segment.partitionId,
        vChannel: vchannel,
        numRows: segment.rowCount,
        deletedRows: segment.deletes?.rowCount ?? 0,
        bytes: segment.object.bytes,
        state: "Flushed",
        // As Milvus calls what has been laid out by a clustering key.
        level: segment.clusteredBy === undefined ? "L1" : "L2",
        nodeIDs: catalog.view(vchannel)?.segments[segment.segmentId] ?? [],
        indexes: Object.entries(segment.indexes).map(([fieldId, { indexId, type, object }]) => ({
          fieldID: Number(fieldId),
          indexID: indexId,
          indexType: type,
          bytes: object.bytes,
        })),
      })),
  );
  return success({ segmentInfos });
}

/** How much there is, what is denied, and which limits are set. */
async function describeQuotas({ actor, limits }: ProxyContext, _body: unknown, call: Call) {
  const { catalog } = actor;
  await catalog.cache.sync(call.deadline);
  const collections = catalog.collections();
  let rows = 0;
  let bytes = 0;
  for (const { vchannel } of collections.flatMap(({ shards }) => shards)) {
    for (const segment of catalog.manifest(vchannel)?.segments ?? []) {
      rows += segment.rowCount;
      bytes += segment.object.bytes;
      for (const { object } of Object.values(segment.indexes)) bytes += object.bytes;
    }
  }
  const denied = catalog.databases().flatMap(({ name, properties }) =>
    Object.entries(properties)
      .filter(([key, value]) => key.startsWith("database.force.deny.") && value === "true")
      .map(([key]) => ({ dbName: name, key })),
  );
  const inForce = limits.inForce();
  return success({
    collections: collections.length,
    sealedRows: rows,
    objectBytes: bytes,
    forceDeny: denied,
    limits: inForce,
  });
}
