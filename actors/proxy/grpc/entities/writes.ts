/** Insert, Upsert, Delete. */
import {
  deleteEntities,
  insertEntities,
  type PublicOperation,
  upsertEntities,
} from "../../../../runtime/protocol/public.ts";
import type { KeyColumn } from "../../../../runtime/segment/keys.ts";
import type { GrpcCall, GrpcFront, Rpc } from "../rpc.ts";
import { type DeleteRequest, readDelete, readInsert, readUpsert, type WriteRequest } from "../wire/requests.ts";
import { encodeMutation, type Mutation } from "../wire/results.ts";
import { refuseNamespace, sessionOf } from "./key-values.ts";

/** @returns the ids of the rows, and the timestamp of the write */
async function write(
  front: GrpcFront,
  operation: PublicOperation,
  { namespace, partialUpdate, fieldOps, ...request }: WriteRequest,
  call: GrpcCall,
): Promise<{ data: Record<string, unknown>; timestamp: bigint }> {
  refuseNamespace(namespace);
  const isPartial = partialUpdate ? { partialUpdate } : {};
  const ops = fieldOps.length === 0 ? {} : { fieldOps };
  const body = { ...request, ...isPartial, ...ops, resultFormat: "columns" };
  const { data, sessionTs } = await front.ask(operation, body, call);
  return { data: data as Record<string, unknown>, timestamp: sessionOf(front, sessionTs) };
}

const NOTHING: Mutation = { ids: undefined, insertCount: 0, deleteCount: 0, upsertCount: 0, timestamp: 0n };

const insert: Rpc<WriteRequest, Mutation> = {
  name: "Insert",
  decode: readInsert,
  encode: encodeMutation,
  async handle(front, request, call) {
    const { data, timestamp } = await write(front, insertEntities, request, call);
    return { ...NOTHING, ids: data.insertIds as KeyColumn, insertCount: Number(data.insertCount), timestamp };
  },
};

const upsert: Rpc<WriteRequest, Mutation> = {
  name: "Upsert",
  decode: readUpsert,
  encode: encodeMutation,
  async handle(front, request, call) {
    const { data, timestamp } = await write(front, upsertEntities, request, call);
    const count = Number(data.upsertCount);
    const counts = { insertCount: count, deleteCount: count, upsertCount: count };
    return { ids: data.upsertIds as KeyColumn, ...counts, timestamp };
  },
};

const remove: Rpc<DeleteRequest, Mutation> = {
  name: "Delete",
  decode: readDelete,
  encode: encodeMutation,
  async handle(front, request, call) {
    const { data, sessionTs } = await front.ask(deleteEntities, { ...request }, call);
    const { deleteCount } = data as { deleteCount: number };
    return { ...NOTHING, deleteCount, timestamp: sessionOf(front, sessionTs) };
  },
};

export const writeRpcs = [insert, upsert, remove] as Rpc[];
