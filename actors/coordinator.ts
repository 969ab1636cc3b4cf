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
import type { Handler, Served } from "../runtime/bus/bus.ts";
import { hasSuccessor } from "../runtime/draining.ts";
import { asVdbError, isVdbError, VdbError } from "../runtime/errors.ts";
import { putDoc } from "../runtime/meta/catalog.ts";
import type { Figures } from "../runtime/metrics/metrics.ts";
import { type ClusterDoc, metaKeys } from "../runtime/protocol/catalog.ts";
import * as coordinator from "../runtime/protocol/coordinator.ts";
import type { Operation } from "../runtime/protocol/operation.ts";
import { Scope } from "../runtime/scope.ts";
import { ChannelAssigner, renewTerm } from "./coordinator/assign-channels.ts";
import { IndexBuilder } from "./coordinator/build-indexes.ts";
import { type CatalogChanges, catalogChanges } from "./coordinator/change-catalog.ts";
import { clusterFigures, type Underway } from "./coordinator/cluster-figures.ts";
import { Compactor } from "./coordinator/compact.ts";
import { endDeadLeases } from "./coordinator/dead-nodes.ts";
import { collectObjects, type ObjectJudges, truncateLogs } from "./coordinator/garbage.ts";
import { ImportJobs } from "./coordinator/import-jobs.ts";
import { inTurn } from "./coordinator/in-turn.ts";
import { keepMembers } from "./coordinator/keep-members.ts";
import { type Leadership, leadOnce } from "./coordinator/leadership.ts";
import { SegmentPlacer } from "./coordinator/place-segments.ts";
import { type GroupChanges, groupChanges } from "./coordinator/resource-groups.ts";
import { CollectionRestorer } from "./coordinator/restore-collection.ts";
import { seeImports } from "./coordinator/see-imports.ts";
import { Window } from "./coordinator/window.ts";

const NUMBERS = { concurrency: 1024, capacity: 8192 };
/** One change of the catalogue at a time. */
const CHANGES = { concurrency: 1, capacity: 1024 };
const PROBES = { concurrency: 64, capacity: 1024 };

interface Reconcilers {
  leadership: Leadership;
  imports: ImportJobs;
  assigner: ChannelAssigner;
  builder: IndexBuilder;
  compactor: Compactor;
  placer: SegmentPlacer;
}

/** What a leader answers with. */
interface Operations {
  leadership: Leadership;
  timestamps: Window;
  ids: Window;
  changes: CatalogChanges;
  groups: GroupChanges;
  placer: SegmentPlacer;
  restorer: CollectionRestorer;
  compactor: Compactor;
  imports: ImportJobs;
}

/** Reconciliation runs on every event; this is for what no event announces (the end of a rest after a failure). */
const TICK_MS = 5_000;
const BURST_MS = 20;
/** Some four times what a step takes for a collection with nothing to do. */
const BURST_MS_PER_COLLECTION = 0.015;

/** How often a log is cut, at most: readers of deletes tell once a second how far they are. */
const TRUNCATE_MS = 1_000;

/** Chunks of objects that were never finished are removed at this age: far longer than any object takes to write. */
const ORPHAN_AGE_MS = 3_600_000;

/** How long a change may wait for others to come with it: each includes those before. */
const Urgency = { change: 0, soon: 1, atOnce: 2 } as const;
type Urgency = (typeof Urgency)[keyof typeof Urgency];

export class CoordinatorActor implements Actor {
  readonly #ctx: ActorContext;
  #leading: ({ epoch: number } & Underway) | undefined;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
  }

  async start(): Promise<void> {
    this.#ctx.scope.spawn("lead", (signal) => this.#standAndLead(signal));
    this.#ctx.scope.spawn("end dead leases", (signal) =>
      endDeadLeases({ ...this.#ctx, leaseSeconds: this.#ctx.config.node.leaseSeconds }, signal),
    );
  }

  observe(): Record<string, unknown> {
    if (this.#leading === undefined) return { isLeading: false };
    const { epoch, builds, loads } = this.#leading;
    return { isLeading: true, epoch, builds: builds(), loads: loads() };
  }

  figures(): Figures {
    const epoch = this.#ctx.catalog.epoch()?.epoch ?? 0;
    const standing = { vdb_coordinator_leading: Number(this.#leading !== undefined), vdb_coordinator_epoch: epoch };
    return this.#leading === undefined ? standing : { ...standing, ...clusterFigures(this.#ctx, this.#leading) };
  }

  async #standAndLead(signal: AbortSignal): Promise<void> {
    const { logger, clock } = this.#ctx;
    while (!signal.aborted) {
      try {
        await this.#untilEligible(signal);
        const draining = new AbortController();
        using _watch = this.#watchEligible(() => {
          if (!this.#isEligible()) draining.abort();
        });
        await leadOnce(this.#ctx, AbortSignal.any([signal, draining.signal]), (raise) => this.#lead(raise));
      } catch (error) {
        if (signal.aborted) return;
        if (isVdbError(error, "canceled")) continue;
        logger.error({ err: error }, "leading failed");
        await clock.sleep(200, signal);
      }
    }
  }

  /** A draining coordinator leaves the lead to others, as long as there are any. */
  #isEligible(): boolean {
    const { draining, nodeId, nodes } = this.#ctx;
    return !draining.isDraining || !hasSuccessor(nodeId, "coordinator", nodes);
  }

  #watchEligible(listener: () => void): Disposable {
    const watches = [this.#ctx.draining.subscribe(listener), this.#ctx.nodes.subscribe(listener)];
    return {
      [Symbol.dispose]() {
        for (const watch of watches) watch[Symbol.dispose]();
      },
    };
  }

  async #untilEligible(signal: AbortSignal): Promise<void> {
    while (!this.#isEligible()) {
      const changed = new AbortController();
      using _watch = this.#watchEligible(() => changed.abort());
      await this.#ctx.clock.sleep(TICK_MS, AbortSignal.any([signal, changed.signal])).catch(() => undefined);
      if (signal.aborted) throw new VdbError("canceled", "the coordinator is stopping");
    }
  }

  /** Serves and reconciles until deposed or stopped. */
  async #lead(raiseEpoch: () => Promise<Leadership>): Promise<void> {
    const scope = new Scope((task, error) => this.#ctx.logger.error({ task, err: error }, "task of the leader failed"));
    let resolve: (operations: Operations) => void = () => undefined;
    let reject: (error: Error) => void = () => undefined;
    const operations = new Promise<Operations>((...settle) => {
      [resolve, reject] = settle;
    });
    operations.catch(() => undefined);
    // Nodes that hear of the new epoch ask at once and must find us. Until we lead, their requests wait.
    const served = this.#serve(operations);
    let drained: Promise<unknown> | undefined;
    // Stops serving at once, even while a task (such as listing all objects) is still ending: once another leads, we
    // must turn nobody away.
    const stopServing = () => {
      drained ??= Promise.all(served.map((operation) => operation.drain().catch(() => undefined)));
      return drained;
    };
    try {
      await this.#ctx.bus.flush();
      const leadership = await raiseEpoch();
      leadership.signal.addEventListener("abort", stopServing, { once: true });
      await this.#ensureCluster(leadership);
      await this.#reconcileUntilDeposed(leadership, scope, resolve);
    } finally {
      this.#leading = undefined;
      reject(new VdbError("canceled", "this coordinator leads no more"));
      await Promise.all([stopServing(), scope.close()]);
    }
  }

  async #reconcileUntilDeposed(
    leadership: Leadership,
    scope: Scope,
    answer: (operations: Operations) => void,
  ): Promise<void> {
    const ctx = this.#ctx;
    let wake = (_urgency: Urgency) => {};
    const onChange = () => wake(Urgency.change);
    const timestamps = Window.timestamps(ctx.catalog, leadership, ctx.clock);
    const ids = Window.ids(ctx.catalog, leadership);
    const compactor = new Compactor(ctx, leadership, { timestamps, ids }, onChange);
    const builder = new IndexBuilder(ctx, leadership, compactor, onChange);
    const imports = new ImportJobs(
      ctx,
      leadership,
      { timestamps },
      { onDone: onChange, onProgress: () => wake(Urgency.atOnce) },
    );
    const placer = new SegmentPlacer(ctx, leadership, compactor, (isOfImport) => {
      if (!isOfImport) onChange();
      else wake(placer.loading > 0 ? Urgency.soon : Urgency.atOnce);
    });
    const assigner = new ChannelAssigner(ctx, leadership, onChange);
    const changes = catalogChanges(ctx, leadership, { timestamps, ids });
    const restorer = new CollectionRestorer(ctx, changes.commit, { timestamps, ids });
    answer({
      leadership,
      timestamps,
      ids,
      restorer,
      compactor,
      imports,
      placer,
      changes,
      groups: groupChanges(ctx, leadership),
    });
    this.#leading = {
      epoch: leadership.epoch,
      builds: () => builder.running,
      loads: () => placer.loading,
      compactions: () => compactor.running,
      imports: () => imports.running,
    };
    for (const prefix of ["collection.", "manifest.", "view.", "channel.", "group.", "compaction.", "import."]) {
      scope.use(ctx.catalog.cache.subscribe(prefix, onChange));
    }
    scope.use(ctx.nodes.subscribe(onChange));
    const mayWrite = (name: string) =>
      builder.mayWrite(name) || compactor.mayWrite(name) || restorer.mayName(name) || imports.mayWrite(name);
    scope.spawn("keep members", () => keepMembers(ctx, leadership));
    scope.spawn("truncate", () => this.#truncate(leadership));
    scope.spawn("collect", () =>
      this.#collect(leadership, { mayWrite, isUsedUp: (object) => imports.isUsedUp(object) }),
    );
    while (!leadership.signal.aborted) {
      const [changed, soon, atOnce] = [new AbortController(), new AbortController(), new AbortController()];
      wake = (urgency) => {
        for (const each of [changed, soon, atOnce].slice(0, urgency + 1)) each.abort();
      };
      await this.#reconcile({ leadership, assigner, builder, compactor, imports, placer });
      // Ends at the first change, or at the tick.
      const until = AbortSignal.any([changed.signal, leadership.signal]);
      await ctx.clock.sleep(TICK_MS, until).catch(() => undefined);
      // A burst of changes (a restart, a bulk load) is one step. Each looks at every collection: with many of them it is rarer.
      const pause = BURST_MS_PER_COLLECTION * ctx.catalog.collections().length;
      // A job, a file that has been read and the last segment to be loaded come alone; an import's others come in bursts too.
      const early = AbortSignal.any([atOnce.signal, leadership.signal]);
      await ctx.clock.sleep(BURST_MS, early).catch(() => undefined);
      await ctx.clock.sleep(pause, AbortSignal.any([soon.signal, early])).catch(() => undefined);
    }
  }

  async #reconcile({ leadership, assigner, builder, compactor, imports, placer }: Reconcilers): Promise<void> {
    const steps = {
      channels: () => assigner.step(),
      indexes: () => builder.step(),
      compaction: () => compactor.step(),
      imports: () => imports.step(),
      placement: () => placer.step(),
      "seeing imports": () =>
        seeImports(this.#ctx, leadership, (vchannel, segmentId) => placer.importCopies(vchannel, segmentId)),
    };
    try {
      await inTurn(steps, this.#ctx.logger);
    } catch (error) {
      if (isVdbError(error, "canceled")) throw error;
      this.#ctx.logger.warn({ error: asVdbError(error).message }, "reconciliation ended early, will be repeated");
    }
  }

  /** Cuts logs soon after their checkpoints moved: what is full takes writes again as soon as it has been flushed. */
  async #truncate(leadership: Leadership): Promise<void> {
    const { catalog, clock, logger } = this.#ctx;
    const moved = new Set<number>();
    // Again a while later: a reader of deletes, or the newest fence, may have been in the way.
    const later = new Set<number>();
    let wake = () => {};
    using _checkpoints = catalog.cache.subscribe("checkpoint.", (keys) => {
      for (const key of keys) {
        const pchannel = Number(key.slice("checkpoint.".length));
        moved.add(pchannel);
        later.add(pchannel);
      }
      wake();
    });
    while (!leadership.signal.aborted) {
      const pchannels = new Set(moved.size > 0 ? moved : later);
      for (const pchannel of pchannels) if (!moved.delete(pchannel)) later.delete(pchannel);
      try {
        if (pchannels.size > 0) await truncateLogs(this.#ctx, (pchannel) => pchannels.has(pchannel));
      } catch (error) {
        logger.debug({ error: asVdbError(error).message }, "logs not cut, will be repeated");
      }
      await clock.sleep(TRUNCATE_MS, leadership.signal).catch(() => undefined);
      if (moved.size > 0) continue;
      const changed = new AbortController();
      wake = () => changed.abort();
      await clock.sleep(TICK_MS, AbortSignal.any([changed.signal, leadership.signal])).catch(() => undefined);
    }
  }

  async #collect(leadership: Leadership, judges: ObjectJudges): Promise<void> {
    const { clock, config, logger } = this.#ctx;
    while (!leadership.signal.aborted) {
      await clock.sleep(config.coordinator.garbageIntervalMs, leadership.signal).catch(() => undefined);
      if (leadership.signal.aborted) return;
      try {
        const removed = await collectObjects(this.#ctx, leadership, judges);
        if (removed > 0) logger.info({ removed }, "garbage objects removed");
        await this.#ctx.blobs.removeOrphans(ORPHAN_AGE_MS);
        await truncateLogs(this.#ctx);
      } catch (error) {
        logger.warn({ error: asVdbError(error).message }, "garbage collection failed, will be repeated");
      }
    }
  }

  #serve(leading: Promise<Operations>): Served[] {
    const { bus } = this.#ctx;
    const served: Served[] = [];
    const serve = <Request, Reply>(
      operation: Operation<`coordinator.${string}`, Request, Reply>,
      handler: (operations: Operations, request: Request) => Promise<Reply>,
      options = CHANGES,
    ) => {
      const answer = whileLeading(async (request: Request) => handler(await leading, request));
      served.push(bus.serve(operation, {}, answer, options));
    };
    serve(
      coordinator.allocateTimestamps,
      async ({ timestamps }, { count }) => ({ first: await timestamps.allocate(count) }),
      NUMBERS,
    );
    serve(
      coordinator.allocateIds,
      async ({ ids }, { count }) => ({ first: Number(await ids.allocate(count)) }),
      NUMBERS,
    );
    serve(coordinator.renewChannelTerm, ({ leadership }, claim) => renewTerm(this.#ctx, leadership, claim));
    serve(coordinator.createCollection, ({ changes }, request) => changes.createCollection(request));
    serve(coordinator.restoreCollection, ({ restorer }, request) => restorer.enter(request));
    serve(coordinator.dropCollection, ({ changes }, request) => changes.dropCollection(request));
    serve(coordinator.renameCollection, ({ changes }, request) => changes.renameCollection(request));
    serve(coordinator.truncateCollection, ({ changes }, request) => changes.truncateCollection(request));
    serve(coordinator.alterCollection, ({ changes }, request) => changes.alterCollection(request));
    serve(coordinator.createDatabase, ({ changes }, request) => changes.createDatabase(request));
    serve(coordinator.dropDatabase, ({ changes }, request) => changes.dropDatabase(request));
    serve(coordinator.alterDatabase, ({ changes }, request) => changes.alterDatabase(request));
    serve(coordinator.createAlias, ({ changes }, request) => changes.createAlias(request));
    serve(coordinator.alterAlias, ({ changes }, request) => changes.alterAlias(request));
    serve(coordinator.dropAlias, ({ changes }, request) => changes.dropAlias(request));
    serve(coordinator.changeAccess, ({ changes }, change) => changes.changeAccess(change));
    serve(coordinator.alterIndex, ({ changes }, request) => changes.alterIndex(request));
    serve(coordinator.createIndex, ({ changes }, request) => changes.createIndex(request));
    serve(coordinator.dropIndex, ({ changes }, request) => changes.dropIndex(request));
    serve(coordinator.loadCollection, ({ changes }, request) => changes.load(request));
    serve(
      coordinator.loadProgress,
      async ({ placer }, { collectionId, partitionIds }) => placer.progress(collectionId, partitionIds),
      PROBES,
    );
    serve(coordinator.compactCollection, ({ compactor }, { collectionId, isClustering }) =>
      compactor.ask(collectionId, isClustering),
    );
    serve(
      coordinator.getCompaction,
      async ({ compactor }, { compactionId }) => compactor.stateOf(compactionId),
      PROBES,
    );
    serve(coordinator.createImport, ({ imports }, request) => imports.create(request));
    serve(
      coordinator.getImports,
      ({ imports, placer }, request) => imports.states(request, (id) => placer.progress(id).problem),
      PROBES,
    );
    serve(coordinator.createResourceGroup, ({ groups }, request) => groups.create(request));
    serve(coordinator.alterResourceGroups, ({ groups }, request) => groups.alter(request));
    serve(coordinator.dropResourceGroup, ({ groups }, request) => groups.drop(request));
    serve(coordinator.releaseCollection, ({ changes }, request) => changes.release(request));
    serve(coordinator.addField, ({ changes }, request) => changes.addField(request));
    serve(coordinator.alterField, ({ changes }, request) => changes.alterField(request));
    serve(coordinator.dropField, ({ changes }, request) => changes.dropField(request));
    serve(coordinator.renameField, ({ changes }, request) => changes.renameField(request));
    serve(coordinator.createPartition, ({ changes }, request) => changes.createPartition(request));
    serve(coordinator.dropPartition, ({ changes }, request) => changes.dropPartition(request));
    serve(coordinator.releasePartitions, ({ changes }, request) => changes.releasePartitions(request));
    return served;
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

/** To callers, a coordinator deposed in the middle of a request is not ready: the next one will answer. */
function whileLeading<Request, Reply>(handler: Handler<Request, Reply>): Handler<Request, Reply> {
  return async (request, call) => {
    try {
      return await handler(request, call);
    } catch (error) {
      if (!isVdbError(error, "canceled")) throw error;
      throw new VdbError("not_ready", "the coordinator is changing, ask again", { cause: error });
    }
  };
}
