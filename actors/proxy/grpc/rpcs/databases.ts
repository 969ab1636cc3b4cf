/** Databases. */
import { VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { type Rpc, rpc } from "../rpc.ts";
import { dataOf, type KeyValue, recordOf } from "./shapes.ts";

interface DatabaseRequest {
  dbName: string;
  properties: KeyValue[];
  deleteKeys: string[];
}

interface ShownDatabase {
  dbName: string;
  dbID: number;
  createdTimestamp: string;
  properties: KeyValue[];
}

export const databaseRpcs: Rpc[] = [
  rpc("CreateDatabase", async (front, { dbName, properties }: DatabaseRequest, call) => {
    await front.ask(api.createDatabase, { dbName, properties: recordOf(properties) }, call);
  }),
  rpc("DropDatabase", async (front, { dbName }: DatabaseRequest, call) => {
    await front.ask(api.dropDatabase, { dbName }, call);
  }),
  rpc("ListDatabases", async (front, _request, call) => {
    const { details } = (await front.ask(api.listDatabases, { withDetails: true }, call)) as unknown as {
      details: ShownDatabase[];
    };
    return {
      dbNames: details.map(({ dbName }) => dbName),
      dbIds: details.map(({ dbID }) => dbID),
      createdTimestamp: details.map(({ createdTimestamp }) => createdTimestamp),
    };
  }),
  rpc("AlterDatabase", async (front, { dbName, properties, deleteKeys }: DatabaseRequest, call) => {
    if (properties.length > 0 && deleteKeys.length > 0) {
      throw new VdbError("invalid_parameter", "cannot provide both DeleteKeys and ExtraParams");
    }
    if (deleteKeys.length > 0) await front.ask(api.dropDatabaseProperties, { dbName, propertyKeys: deleteKeys }, call);
    else await front.ask(api.alterDatabaseProperties, { dbName, properties: recordOf(properties) }, call);
  }),
  rpc("DescribeDatabase", async (front, { dbName }: DatabaseRequest, call) => {
    const shown = dataOf<ShownDatabase>(await front.ask(api.describeDatabase, { dbName }, call));
    const { dbID, createdTimestamp, properties } = shown;
    return { dbName: shown.dbName, dbID, createdTimestamp, properties };
  }),
];
