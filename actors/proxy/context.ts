/** What every step of the proxy works with: the actor's ports, and the little state that a stateless proxy keeps. */
import type { z } from "zod";
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import type { PublicOperation, PublicReply } from "../../runtime/protocol/public.ts";
import type { AccessControl } from "./access/access.ts";
import type { FilterPlans } from "./filter-plans.ts";
import type { Limits } from "./limits/limits.ts";
import { parseBody } from "./parse-body.ts";
import type { SearchBatches } from "./search/search-batches.ts";
import type { Sessions } from "./sessions.ts";
import type { AutoIds } from "./write/auto-ids.ts";

export interface ProxyContext {
  readonly actor: ActorContext;
  readonly access: AccessControl;
  readonly limits: Limits;
  readonly autoIds: AutoIds;
  readonly filterPlans: FilterPlans;
  readonly searchBatches: SearchBatches;
  readonly sessions: Sessions;
}

/** One public operation and what answers it. Bodies are as they came; the reply is a success body. */
export interface Route {
  readonly operation: PublicOperation;
  /** What the body must be: for the API's description. */
  readonly body?: z.ZodType;
  readonly handle: (proxy: ProxyContext, body: unknown, call: Call) => Promise<PublicReply>;
}

/** A route that checks its body's shape before it is handled. */
export function route<Body>(
  operation: PublicOperation,
  body: z.ZodType<Body>,
  handle: (proxy: ProxyContext, body: Body, call: Call) => Promise<PublicReply>,
): Route {
  return { operation, body, handle: (proxy, given, call) => handle(proxy, parseBody(body, given), call) };
}

/**
 * A route that begins with a look at the store: what a name stands for by now is what is changed, and a list shows all
 * that there is.
 */
export function newestRoute<Body>(
  operation: PublicOperation,
  body: z.ZodType<Body>,
  handle: (proxy: ProxyContext, body: Body, call: Call) => Promise<PublicReply>,
): Route {
  return route(operation, body, async (proxy, given, call) => {
    await proxy.actor.catalog.cache.sync(call.deadline);
    return handle(proxy, given, call);
  });
}

/** Milvus's body of success. `more` stands beside data: cost, topks. */
export function success(data: unknown, more: PublicReply = {}): PublicReply {
  return { code: 0, ...more, data };
}
