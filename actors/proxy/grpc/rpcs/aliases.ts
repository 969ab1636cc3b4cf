/** Aliases of collections. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type Rpc, rpc } from "../rpc.ts";
import { dataOf } from "./shapes.ts";

interface AliasRequest {
  dbName: string;
  collectionName: string;
  alias: string;
}

export const aliasRpcs: Rpc[] = [
  rpc("CreateAlias", async (front, { dbName, collectionName, alias }: AliasRequest, call) => {
    await front.ask(api.createAlias, { dbName, collectionName, aliasName: alias }, call);
  }),
  rpc("AlterAlias", async (front, { dbName, collectionName, alias }: AliasRequest, call) => {
    await front.ask(api.alterAlias, { dbName, collectionName, aliasName: alias }, call);
  }),
  rpc("DropAlias", async (front, { dbName, alias }: AliasRequest, call) => {
    await front.ask(api.dropAlias, { dbName, aliasName: alias }, call);
  }),
  rpc("DescribeAlias", async (front, { dbName, alias }: AliasRequest, call) => {
    const reply = await front.ask(api.describeAlias, { dbName, aliasName: alias }, call);
    const shown = dataOf<{ dbName: string; collectionName: string }>(reply);
    return { dbName: shown.dbName, alias, collection: shown.collectionName };
  }),
  rpc("ListAliases", async (front, { dbName, collectionName }: AliasRequest, call) => {
    const aliases = dataOf<string[]>(await front.ask(api.listAliases, { dbName, collectionName }, call));
    return { dbName, collectionName, aliases };
  }),
];
