/** Fields and functions of a collection that is there. */
import { VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { decodeMessage } from "../definitions.ts";
import { type Rpc, rpc } from "../rpc.ts";
import { type FieldMessage, type FunctionMessage, fieldBody, functionBody } from "./schema.ts";
import { collectionOf, type KeyValue, type NamedCollection, recordOf } from "./shapes.ts";

interface AlterFieldRequest extends NamedCollection {
  fieldName: string;
  properties: KeyValue[];
  deleteKeys: string[];
}

interface FunctionRequest extends NamedCollection {
  functionName: string;
  functionSchema: FunctionMessage | null;
}

export const fieldRpcs: Rpc[] = [
  rpc("AddCollectionField", async (front, request: NamedCollection & { schema: Buffer }, call) => {
    const { definitions } = front;
    const field = decodeMessage<FieldMessage>(definitions.type("schema.FieldSchema"), request.schema);
    await front.ask(api.addField, { ...(await collectionOf(front, request, call)), schema: fieldBody(field) }, call);
  }),
  rpc("AlterCollectionField", async (front, request: AlterFieldRequest, call) => {
    const { fieldName, properties, deleteKeys } = request;
    const [key] = deleteKeys;
    if (key !== undefined) {
      throw new VdbError("invalid_parameter", `${key} does not allow delete in collection field param`);
    }
    const fieldParams = recordOf(properties);
    await front.ask(api.alterField, { ...(await collectionOf(front, request, call)), fieldName, fieldParams }, call);
  }),
  rpc("AddCollectionFunction", async (front, request: FunctionRequest, call) => {
    await front.ask(
      api.addFunction,
      { ...(await collectionOf(front, request, call)), function: functionOf(request) },
      call,
    );
  }),
  rpc("AlterCollectionFunction", async (front, request: FunctionRequest, call) => {
    const { functionName } = request;
    const body = { ...(await collectionOf(front, request, call)), functionName, function: functionOf(request) };
    await front.ask(api.alterFunction, body, call);
  }),
  rpc("DropCollectionFunction", async (front, request: FunctionRequest, call) => {
    const { functionName } = request;
    await front.ask(api.dropFunction, { ...(await collectionOf(front, request, call)), functionName }, call);
  }),
];

function functionOf({ functionSchema }: FunctionRequest): Record<string, unknown> {
  if (functionSchema === null) throw new VdbError("invalid_parameter", "function schema should not be empty");
  return { ...functionBody(functionSchema), type: String(functionSchema.type) };
}
