/** Collections: made, shown, changed, dropped. */
import { isVdbError, VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { decodeMessage } from "../definitions.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { type SchemaMessage, type ShownCollection, schemaBody, schemaMessage } from "./schema.ts";
import { collectionOf, dataOf, type KeyValue, type NamedCollection, pairsOf, physicalOf, recordOf } from "./shapes.ts";

interface CreateRequest extends NamedCollection {
  schema: Buffer;
  shardsNum: number;
  consistencyLevel: string | number;
  properties: KeyValue[];
  numPartitions: string;
}

interface ShowRequest {
  dbName: string;
  type: string;
  collectionNames: string[];
}

interface AlterRequest extends NamedCollection {
  properties: KeyValue[];
  deleteKeys: string[];
}

interface BatchRequest {
  dbName: string;
  collectionName: string[];
  collectionID: string[];
}

interface RenameRequest {
  dbName: string;
  oldName: string;
  newName: string;
  newDBName: string;
}

/** Of collections/list, with details. */
interface ListedCollection {
  collectionName: string;
  collectionID: number;
  createdTimestamp: string;
  shardsNum: number;
  isLoaded: boolean;
}

export const collectionRpcs: Rpc[] = [
  rpc("CreateCollection", createCollection),
  rpc<NamedCollection>("DropCollection", async (front, { dbName, collectionName }, call) => {
    await front.ask(api.dropCollection, { dbName, collectionName }, call);
  }),
  rpc<NamedCollection>("HasCollection", async (front, { dbName, collectionName }, call) => {
    const { has } = dataOf<{ has: boolean }>(await front.ask(api.hasCollection, { dbName, collectionName }, call));
    return { value: has };
  }),
  rpc<NamedCollection>("DescribeCollection", async (front, request, call) =>
    describeCollection(front, await collectionOf(front, request, call), call),
  ),
  rpc("BatchDescribeCollection", batchDescribe),
  rpc("ShowCollections", showCollections),
  rpc<NamedCollection>("GetCollectionStatistics", async (front, { dbName, collectionName }, call) => {
    const body = { dbName, collectionName };
    const { rowCount } = dataOf<{ rowCount: number }>(await front.ask(api.getCollectionStats, body, call));
    return { stats: pairsOf({ row_count: rowCount }) };
  }),
  rpc("AlterCollection", alterCollection),
  rpc("RenameCollection", async (front, { dbName, oldName, newName, newDBName }: RenameRequest, call) => {
    const body = { dbName, collectionName: oldName, newCollectionName: newName, newDbName: newDBName };
    await front.ask(api.renameCollection, body, call);
  }),
  rpc<NamedCollection>("TruncateCollection", async (front, { dbName, collectionName }, call) => {
    await front.ask(api.truncateCollection, { dbName, collectionName }, call);
  }),
];

async function createCollection(front: GrpcFront, request: CreateRequest, call: GrpcCall): Promise<void> {
  const { dbName, collectionName, shardsNum, consistencyLevel, numPartitions } = request;
  const schema = readSchema(front, request.schema);
  const params = {
    consistencyLevel: String(consistencyLevel),
    ...(shardsNum === 0 ? {} : { shardsNum }),
    ...(numPartitions === "0" ? {} : { partitionsNum: Number(numPartitions) }),
  };
  const properties = recordOf([...schema.properties, ...request.properties]);
  const body = { dbName, collectionName, schema: schemaBody(schema), params, properties };
  await front.ask(api.createCollection, body, call);
}

function readSchema({ definitions }: GrpcFront, bytes: Buffer): SchemaMessage {
  try {
    return decodeMessage<SchemaMessage>(definitions.type("schema.CollectionSchema"), bytes);
  } catch (error) {
    throw new VdbError("invalid_parameter", "the schema is no CollectionSchema", { cause: error });
  }
}

export async function shownCollection(
  front: GrpcFront,
  name: { dbName: string; collectionName: string },
  call: GrpcCall,
): Promise<ShownCollection> {
  return dataOf<ShownCollection>(await front.ask(api.describeCollection, { ...name }, call));
}

async function describeCollection(
  front: GrpcFront,
  name: { dbName: string; collectionName: string },
  call: GrpcCall,
): Promise<Record<string, unknown>> {
  const shown = await shownCollection(front, name, call);
  return {
    schema: schemaMessage(shown),
    collectionID: shown.collectionID,
    collectionName: shown.collectionName,
    dbName: shown.dbName,
    dbId: shown.dbID,
    virtualChannelNames: shown.virtualChannelNames,
    physicalChannelNames: shown.physicalChannelNames,
    createdTimestamp: shown.createdTimestamp,
    createdUtcTimestamp: physicalOf(shown.createdTimestamp),
    updateTimestamp: shown.updateTimestamp,
    updateTimestampStr: shown.updateTimestamp,
    shardsNum: shown.shardsNum,
    numPartitions: shown.partitionsNum,
    aliases: shown.aliases,
    consistencyLevel: shown.consistencyLevel,
    properties: shown.properties,
  };
}

/** By names, or by ids. What is not there is left out, as in Milvus. */
async function batchDescribe(front: GrpcFront, request: BatchRequest, call: GrpcCall) {
  const { dbName } = request;
  const wanted: NamedCollection[] =
    request.collectionName.length > 0
      ? request.collectionName.map((collectionName) => ({ dbName, collectionName }))
      : request.collectionID.map((collectionID) => ({ dbName, collectionName: "", collectionID }));
  const responses: object[] = [];
  for (const each of wanted) {
    try {
      const described = await describeCollection(front, await collectionOf(front, each, call), call);
      responses.push({ status: {}, ...described });
    } catch (error) {
      if (!isVdbError(error, "collection_not_found")) throw error;
    }
  }
  return { responses };
}

/** Of type InMemory: those that are loaded, with how far. */
async function showCollections(front: GrpcFront, request: ShowRequest, call: GrpcCall) {
  const { dbName, type, collectionNames } = request;
  const { details } = (await front.ask(api.listCollections, { dbName, withDetails: true }, call)) as unknown as {
    details: ListedCollection[];
  };
  const isInMemory = type === "InMemory";
  const shown = details.filter(
    ({ collectionName, isLoaded }) =>
      (!isInMemory || isLoaded) && (collectionNames.length === 0 || collectionNames.includes(collectionName)),
  );
  const percentages: number[] = [];
  if (isInMemory) {
    for (const { collectionName } of shown) {
      const state = await front.ask(api.getLoadState, { dbName, collectionName }, call);
      percentages.push(dataOf<{ loadProgress?: number }>(state).loadProgress ?? 0);
    }
  }
  return {
    collectionNames: shown.map(({ collectionName }) => collectionName),
    collectionIds: shown.map(({ collectionID }) => collectionID),
    createdTimestamps: shown.map(({ createdTimestamp }) => createdTimestamp),
    createdUtcTimestamps: shown.map(({ createdTimestamp }) => physicalOf(createdTimestamp)),
    shardsNum: shown.map(({ shardsNum }) => shardsNum),
    inMemoryPercentages: percentages,
    queryServiceAvailable: isInMemory ? percentages.map((percentage) => percentage === 100) : [],
  };
}

async function alterCollection(front: GrpcFront, request: AlterRequest, call: GrpcCall): Promise<void> {
  const { properties, deleteKeys } = request;
  const name = await collectionOf(front, request, call);
  if (properties.length > 0 && deleteKeys.length > 0) {
    throw new VdbError("invalid_parameter", "cannot provide both DeleteKeys and ExtraParams");
  }
  if (deleteKeys.length > 0) {
    await front.ask(api.dropCollectionProperties, { ...name, propertyKeys: deleteKeys }, call);
  } else {
    await front.ask(api.alterCollectionProperties, { ...name, properties: recordOf(properties) }, call);
  }
}
