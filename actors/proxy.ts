/**
 * Proxy: the database's door. Checks requests against the cached catalogue, cuts them by shard, sends the parts to the
 * shards' owners, and makes one answer of theirs.
 *
 * Owns     nothing that matters: any proxy can answer any request, and a new one knows as much as an old one. What it
 *          keeps are a range of ids to give out, the plans of filters used lately, and the newest write that it
 *          acknowledged of each collection.
 * Serves   the public API (runtime/protocol/public.ts) over NATS in the queue group "proxy", and over HTTP when configured
 * Follows  `collection.` in the meta store, to forget what was dropped
 * Invariants
 *   P1. A write is acknowledged when every shard has its part; each part is applied once, however often it was sent.
 *   P2. A read is answered from every shard or not at all.
 *   P3. What a client was told to exist, it finds through every proxy: absence is believed only after a look at the store.
 *   P4. Where callers are asked who they are, nothing of a request is done, or said of what there is, before its caller may.
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import type { Call, Served } from "../runtime/bus/bus.ts";
import { Mailbox } from "../runtime/bus/mailbox.ts";
import { VdbError } from "../runtime/errors.ts";
import type { PublicOperation, PublicReply } from "../runtime/protocol/public.ts";
import { AccessControl } from "./proxy/access/access.ts";
import { refuseDenied } from "./proxy/catalog/database-properties.ts";
import type { ProxyContext, Route } from "./proxy/context.ts";
import { FilterPlans } from "./proxy/filter-plans.ts";
import { type HttpServer, serveHttp } from "./proxy/http.ts";
import { Limits } from "./proxy/limits/limits.ts";
import { refuseByNewest } from "./proxy/newest-schema.ts";
import { openApiDocument } from "./proxy/openapi.ts";
import { retryTruncated } from "./proxy/retry-truncated.ts";
import { accessControlRoutes } from "./proxy/routes/access-control.ts";
import { aliasRoutes } from "./proxy/routes/aliases.ts";
import { clusterRoutes } from "./proxy/routes/cluster.ts";
import { collectionChangeRoutes } from "./proxy/routes/collection-changes.ts";
import { collectionRoutes } from "./proxy/routes/collections.ts";
import { commonRoutes } from "./proxy/routes/common.ts";
import { compactionRoutes } from "./proxy/routes/compaction.ts";
import { databaseRoutes } from "./proxy/routes/databases.ts";
import { entityRoutes } from "./proxy/routes/entities.ts";
import { fieldRoutes } from "./proxy/routes/fields.ts";
import { importRoutes } from "./proxy/routes/import.ts";
import { indexRoutes } from "./proxy/routes/indexes.ts";
import { partitionRoutes } from "./proxy/routes/partitions.ts";
import { resourceGroupRoutes } from "./proxy/routes/resource-groups.ts";
import { SearchBatches } from "./proxy/search/search-batches.ts";
import { Sessions } from "./proxy/sessions.ts";
import { timeZoneOf } from "./proxy/time-zone.ts";
import { AutoIds } from "./proxy/write/auto-ids.ts";

const QUEUE_GROUP = "proxy";

const ROUTES: readonly Route[] = [
  ...databaseRoutes,
  ...collectionRoutes,
  ...collectionChangeRoutes,
  ...aliasRoutes,
  ...compactionRoutes,
  ...importRoutes,
  ...indexRoutes,
  ...partitionRoutes,
  ...fieldRoutes,
  ...resourceGroupRoutes,
  ...entityRoutes,
  ...commonRoutes,
  ...clusterRoutes,
  ...accessControlRoutes,
];

export const PUBLIC_OPERATIONS: readonly PublicOperation[] = ROUTES.map(({ operation }) => operation);

export class ProxyActor implements Actor {
  readonly #ctx: ActorContext;
  readonly #proxy: ProxyContext;
  /** One for all operations: a flood of one kind must not be held back for each kind apart. */
  readonly #mailbox: Mailbox;
  #http: HttpServer | undefined;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    this.#proxy = {
      actor: ctx,
      access: new AccessControl(ctx),
      limits: new Limits(ctx),
      autoIds: new AutoIds(ctx),
      filterPlans: new FilterPlans(ctx.random, (collection) => timeZoneOf(ctx.catalog, collection)),
      searchBatches: new SearchBatches(ctx.clock),
      sessions: new Sessions(),
    };
    const { concurrency, queue } = ctx.config.proxy;
    this.#mailbox = new Mailbox({ concurrency, capacity: queue });
  }

  async start(): Promise<void> {
    const ctx = this.#ctx;
    const served = this.#serve();
    // A draining proxy leaves the queue group. Over HTTP and gRPC it answers until it ends: only a load balancer turns clients away.
    const joinOrLeave = () => {
      for (const one of served) ctx.draining.isDraining ? one.leave() : one.join();
    };
    joinOrLeave();
    ctx.scope.use(ctx.draining.subscribe(joinOrLeave));
    ctx.scope.use(ctx.catalog.cache.subscribe("collection.", () => this.#proxy.sessions.prune(ctx.catalog)));
    if (ctx.config.proxy.http === "") return;
    const http = await serveHttp(ctx, PUBLIC_OPERATIONS, () => openApiDocument(ROUTES));
    this.#http = http;
    ctx.scope.defer(() => http.close());
    ctx.logger.info({ address: http.address }, "http api open");
  }

  async drain(): Promise<void> {
    await this.#http?.close();
  }

  observe(): Record<string, unknown> {
    return { http: this.#http?.address ?? null, requests: this.#mailbox.depth };
  }

  #serve(): Served[] {
    const { concurrency, queue } = this.#ctx.config.proxy;
    // The shared mailbox bounds what is inside of it; this one must only not be the narrower one.
    const bounds = { concurrency: concurrency + queue + 1, capacity: 0, queue: QUEUE_GROUP };
    return ROUTES.map((route) =>
      this.#ctx.serve(route.operation, {}, (body, call) => this.#handle(route, body, call), bounds),
    );
  }

  /** Who may not, or has had enough, is told so before the request takes a place among those that are handled. */
  async #handle(route: Route, body: unknown, call: Call): Promise<PublicReply> {
    const asked = this.#proxy.access.admit(route.operation, body, call);
    if (asked !== undefined) await asked;
    this.#proxy.limits.admit(route.operation, body);
    return this.#mailbox.run(() => {
      if (this.#ctx.clock.monotonic() >= call.deadline) {
        throw new VdbError("deadline_exceeded", `${route.operation.subject}: the request waited until its deadline`);
      }
      refuseDenied(this.#ctx.catalog, route.operation, body);
      return retryTruncated(this.#ctx, call.deadline, () =>
        refuseByNewest(this.#ctx, body, call, () => route.handle(this.#proxy, body, call)),
      );
    });
  }
}
