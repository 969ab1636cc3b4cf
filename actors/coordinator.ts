/**
 * Coordinator: the one that changes the catalogue. Any number may run; one leads, the others stand by.
 *
 * Owns     the epoch; windows of timestamps and ids; nothing else that outlives it.
 * Serves   (leading only) coordinator.timestamps, .ids, .collection-*, .index-*
 * Follows  the whole meta store and the leases of all nodes
 * Invariants
 *   K1. Whatever it changes carries the epoch's guard (coordinator/leadership.ts): deposed, it changes nothing.
 *   K2. No number below a persisted bound is handed out twice, over all leaders (coordinator/window.ts).
 *   K3. Its work is reconciliation: each step compares what is with what should be and is safe to repeat, so a new
 *       leader goes on where the old one stopped, whatever the line.
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import type { Handler } from "../runtime/bus/bus.ts";
import { asVdbError, isVdbError, VdbError } from "../runtime/errors.ts";
import { putDoc } from "../runtime/meta/catalog.ts";
import { type ClusterDoc, metaKeys } from "../runtime/protocol/catalog.ts";
import * as coordinator from "../runtime/protocol/coordinator.ts";
import { Scope } from "../runtime/scope.ts";
import { assignChannels, renewTerm } from "./coordinator/assign-channels.ts";
import { IndexBuilder } from "./coordinator/build-indexes.ts";
import { catalogChanges } from "./coordinator/change-catalog.ts";
import { collectObjects, truncateLogs } from "./coordinator/garbage.ts";
import { type Leadership, leadOnce } from "./coordinator/leadership.ts";
import { SegmentPlacer } from "./coordinator/place-segments.ts";
import { Window } from "./coordinator/window.ts";

const NUMBERS = { concurrency: 1024, capacity: 8192 };
/** One change of the catalogue at a time. */
const CHANGES = { concurrency: 1, capacity: 1024 };

/** Reconciliation runs on every event; this is for what no event tells (a rest that has ended). */
const TICK_MS = 5_000;
const BURST_MS = 20;

/** Chunks of objects that were never finished are removed at this age: far longer than any object takes to write. */
const ORPHAN_AGE_MS = 3_600_000;

export class CoordinatorActor implements Actor {
  readonly #ctx: ActorContext;
  #leading: { epoch: number; builds: () => number; loads: () => number } | undefined;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
  }

  async start(): Promise<void> {
    this.#ctx.scope.spawn("lead", (signal) => this.#standAndLead(signal));
  }

  observe(): Record<string, unknown> {
    if (this.#leading === undefined) return { isLeading: false };
    const { epoch, builds, loads } = this.#leading;
    return { isLeading: true, epoch, builds: builds(), loads: loads() };
  }

  async #standAndLead(signal: AbortSignal): Promise<void> {
    const { logger, clock } = this.#ctx;
    while (!signal.aborted) {
      try {
        await leadOnce(this.#ctx, (leadership) => this.#lead(leadership));
      } catch (error) {
        if (signal.aborted) return;
        if (!isVdbError(error, "canceled")) logger.error({ err: error }, "leading failed");
        await clock.sleep(200, signal);
      }
    }
  }

  /** Serves and reconciles until deposed or stopped. */
  async #lead(leadership: Leadership): Promise<void> {
    const ctx = this.#ctx;
    await this.#ensureCluster(leadership);
    const scope = new Scope((task, error) => ctx.logger.error({ task, err: error }, "task of the leader failed"));
    let wake = () => {};
    const onChange = () => wake();
    const timestamps = Window.timestamps(ctx.catalog, leadership, ctx.clock);
    const ids = Window.ids(ctx.catalog, leadership);
    const builder = new IndexBuilder(ctx, leadership, onChange);
    const placer = new SegmentPlacer(ctx, leadership, onChange);
    try {
      this.#serve(scope, leadership, { timestamps, ids });
      this.#leading = { epoch: leadership.epoch, builds: () => builder.running, loads: () => placer.loading };
      for (const prefix of ["collection.", "manifest.", "view.", "channel."]) {
        scope.use(ctx.catalog.cache.subscribe(prefix, onChange));
      }
      scope.use(ctx.nodes.subscribe(onChange));
      scope.spawn("collect", () => this.#collect(leadership, (name) => builder.mayWrite(name)));
      while (!leadership.signal.aborted) {
        const changed = new AbortController();
        wake = () => changed.abort();
        await this.#reconcile(leadership, builder, placer);
        // Ends at the first change, or at the tick.
        const until = AbortSignal.any([changed.signal, leadership.signal]);
        await ctx.clock.sleep(TICK_MS, until).catch(() => undefined);
        // A burst of changes (a restart, a bulk load) is one step.
        await ctx.clock.sleep(BURST_MS, leadership.signal);
      }
    } finally {
      this.#leading = undefined;
      await scope.close();
    }
  }

  async #reconcile(leadership: Leadership, builder: IndexBuilder, placer: SegmentPlacer): Promise<void> {
    try {
      await assignChannels(this.#ctx, leadership);
      builder.step();
      await placer.step();
    } catch (error) {
      if (isVdbError(error, "canceled")) throw error;
      this.#ctx.logger.warn({ error: asVdbError(error).message }, "reconciliation step failed, will be repeated");
    }
  }

  async #collect(leadership: Leadership, mayWrite: (name: string) => boolean): Promise<void> {
    const { clock, config, logger } = this.#ctx;
    while (!leadership.signal.aborted) {
      await clock.sleep(config.coordinator.garbageIntervalMs, leadership.signal).catch(() => undefined);
      if (leadership.signal.aborted) return;
      try {
        const removed = await collectObjects(this.#ctx, leadership, mayWrite);
        if (removed > 0) logger.info({ removed }, "garbage objects removed");
        await this.#ctx.blobs.removeOrphans(ORPHAN_AGE_MS);
        await truncateLogs(this.#ctx);
      } catch (error) {
        logger.warn({ error: asVdbError(error).message }, "garbage collection failed, will be repeated");
      }
    }
  }

  #serve(scope: Scope, leadership: Leadership, windows: { timestamps: Window; ids: Window }): void {
    const { bus } = this.#ctx;
    const { timestamps, ids } = windows;
    const changes = catalogChanges(this.#ctx, leadership, windows);
    const serve: typeof bus.serve = (operation, params, handler, options) => {
      const served = bus.serve(operation, params, leading(handler), options);
      scope.defer(() => served.drain());
      return served;
    };
    serve(
      coordinator.allocateTimestamps,
      {},
      async ({ count }) => ({ first: await timestamps.allocate(count) }),
      NUMBERS,
    );
    serve(coordinator.allocateIds, {}, async ({ count }) => ({ first: Number(await ids.allocate(count)) }), NUMBERS);
    serve(coordinator.renewChannelTerm, {}, (claim) => renewTerm(this.#ctx, leadership, claim), CHANGES);
    serve(coordinator.createCollection, {}, (request) => changes.createCollection(request), CHANGES);
    serve(coordinator.dropCollection, {}, ({ collectionId }) => changes.dropCollection(collectionId), CHANGES);
    serve(coordinator.createIndex, {}, (request) => changes.createIndex(request), CHANGES);
    serve(
      coordinator.dropIndex,
      {},
      ({ collectionId, indexName }) => changes.dropIndex(collectionId, indexName),
      CHANGES,
    );
    serve(
      coordinator.loadCollection,
      {},
      ({ collectionId, replicaNumber }) => changes.load(collectionId, replicaNumber),
      CHANGES,
    );
    serve(coordinator.releaseCollection, {}, ({ collectionId }) => changes.release(collectionId), CHANGES);
  }

  /** The first leader of a cluster fixes what can never change. */
  async #ensureCluster(leadership: Leadership): Promise<void> {
    const { catalog, config, random, logger } = this.#ctx;
    while (catalog.cluster() === undefined) {
      const doc: ClusterDoc = { format: 1, clusterId: random.ulid(), walChannels: config.cluster.walChannels };
      if (await leadership.commit([putDoc(catalog.cache, metaKeys.cluster, doc)])) logger.info(doc, "cluster created");
    }
    const { walChannels } = catalog.cluster()!;
    if (walChannels !== config.cluster.walChannels) {
      logger.warn(
        { configured: config.cluster.walChannels, walChannels },
        "the number of WAL channels is fixed: the setting is ignored",
      );
    }
  }
}

/** For a caller, a coordinator that was deposed in the middle is one that is not ready: the next one will answer. */
function leading<Request, Reply>(handler: Handler<Request, Reply>): Handler<Request, Reply> {
  return async (request, call) => {
    try {
      return await handler(request, call);
    } catch (error) {
      if (!isVdbError(error, "canceled")) throw error;
      throw new VdbError("not_ready", "the coordinator is changing, ask again", { cause: error });
    }
  };
}
