/** /v2/vectordb/entities/* */
import * as api from "../../../runtime/protocol/public.ts";
import { atGuarantee } from "../at-guarantee.ts";
import { type Route, route } from "../context.ts";
import { DeleteBody, deleteEntities } from "../delete-entities.ts";
import { GetBody, getEntities, QueryBody, queryEntities } from "../query.ts";
import { ReserveBody, reserveIds } from "../reserve-ids.ts";
import { HybridSearchBody, hybridSearchEntities } from "../search/hybrid.ts";
import { SearchBody } from "../search/plan-search.ts";
import { searchEntities } from "../search.ts";
import { InsertBody, insertEntities, UpsertBody, upsertEntities } from "../write-entities.ts";

export const entityRoutes: Route[] = [
  route(api.insertEntities, InsertBody, insertEntities),
  route(api.upsertEntities, UpsertBody, upsertEntities),
  route(api.reserveIds, ReserveBody, reserveIds),
  route(api.deleteEntities, DeleteBody, deleteEntities),
  route(api.queryEntities, QueryBody, atGuarantee(queryEntities)),
  route(api.getEntities, GetBody, atGuarantee(getEntities)),
  route(api.searchEntities, SearchBody, atGuarantee(searchEntities)),
  route(api.hybridSearchEntities, HybridSearchBody, atGuarantee(hybridSearchEntities)),
  route(api.advancedSearchEntities, HybridSearchBody, atGuarantee(hybridSearchEntities)),
];
