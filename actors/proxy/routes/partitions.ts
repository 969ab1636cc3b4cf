/** /v2/vectordb/partitions/*: a collection has the partition `_default`; making more is not supported yet. */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { type ProxyContext, type Route, success } from "../context.ts";
import { CollectionBody, parseBody } from "../parse-body.ts";
import { resolveCollection } from "../resolve.ts";

const PartitionBody = CollectionBody.extend({ partitionName: z.string().min(1) });

export const partitionRoutes: Route[] = [
  { operation: api.listPartitions, handle: list },
  { operation: api.hasPartition, handle: has },
];

async function list({ actor }: ProxyContext, body: unknown, call: Call) {
  const { partitions } = await resolveCollection(actor, parseBody(CollectionBody, body), call);
  return success(partitions.map(({ name }) => name));
}

async function has({ actor }: ProxyContext, body: unknown, call: Call) {
  const { partitionName, ...name } = parseBody(PartitionBody, body);
  const { partitions } = await resolveCollection(actor, name, call);
  return success({ has: partitions.some((partition) => partition.name === partitionName) });
}
