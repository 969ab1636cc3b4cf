/** /v2/vectordb/entities/* */
import * as api from "../../../runtime/protocol/public.ts";
import type { Route } from "../context.ts";
import { DeleteBody, deleteEntities } from "../delete-entities.ts";
import { SearchBody } from "../plan-search.ts";
import { getEntities, queryEntities } from "../query.ts";
import { reserveIds } from "../reserve-ids.ts";
import { HybridSearchBody, hybridSearchEntities } from "../search/hybrid.ts";
import { searchEntities } from "../search.ts";
import { InsertBody, insertEntities, UpsertBody, upsertEntities } from "../write-entities.ts";

export const entityRoutes: Route[] = [
  { operation: api.insertEntities, body: InsertBody, handle: insertEntities },
  { operation: api.upsertEntities, body: UpsertBody, handle: upsertEntities },
  { operation: api.reserveIds, handle: reserveIds },
  { operation: api.deleteEntities, body: DeleteBody, handle: deleteEntities },
  { operation: api.queryEntities, handle: queryEntities },
  { operation: api.getEntities, handle: getEntities },
  { operation: api.searchEntities, body: SearchBody, handle: searchEntities },
  { operation: api.hybridSearchEntities, body: HybridSearchBody, handle: hybridSearchEntities },
  { operation: api.advancedSearchEntities, body: HybridSearchBody, handle: hybridSearchEntities },
];
