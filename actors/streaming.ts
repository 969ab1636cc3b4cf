/**
 * Streaming node: owns WAL channels; takes their writes, serves their fresh rows, and delegates reads of sealed data.
 *
 * Owns     channels that the coordinator assigned to it, with their shards (streaming/channel.ts, streaming/shard.ts).
 * Serves   streaming.append, .search, .query, .fetch, .flush, .stats, .knows
 * Follows  `channel.<p>` in the meta store: what it says is opened or closed here, nothing else
 * Invariants
 *   T1. A channel is served only between its fence and the moment when the log, the meta store or a stop says otherwise.
 *   T2. A write is answered when it is in the log and applied; a write that is not answered is in the log wholly or not at all.
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import { askLeader } from "../runtime/ask-leader.ts";
import type { Call } from "../runtime/bus/bus.ts";
import { asVdbError, VdbError } from "../runtime/errors.ts";
import { type Figures, samplesBy } from "../runtime/metrics/metrics.ts";
import { loadedPartitions } from "../runtime/partitions.ts";
import type { CollectionDoc } from "../runtime/protocol/catalog.ts";
import { renewChannelTerm } from "../runtime/protocol/coordinator.ts";
import type { Operation } from "../runtime/protocol/operation.ts";
import * as streaming from "../runtime/protocol/streaming.ts";
import { batchBytes } from "../runtime/segment/gather.ts";
import { Admission, type Level, refuseBeyond } from "./streaming/admission.ts";
import { type AsKnown, mayBeBehind, refuseOutdated } from "./streaming/as-known.ts";
import { Channel, type Tally } from "./streaming/channel.ts";
import { fetchShardRows, queryShardRows, type Reader, searchShardRows } from "./streaming/delegator.ts";
import { deleteBacklog } from "./streaming/delete-backlog.ts";
import { GrowingIndexes } from "./streaming/growing-indexes.ts";
import { dropHandedOver } from "./streaming/hand-over.ts";
import { SealedReads } from "./streaming/sealed-reads.ts";
import type { Shard } from "./streaming/shard.ts";
import { termStatisticsOfShard } from "./streaming/term-statistics.ts";

const WRITES = { concurrency: 4096, capacity: 4096 };
const READS = { concurrency: 1024, capacity: 4096 };

/** How long a channel that is given up may take to settle its last append. */
const CLOSE_TIMEOUT_MS = 5_000;

/** How long a request waits here for a channel that is being opened. A planned move takes tens of milliseconds. */
const OPEN_WAIT_MS = 2_000;

/** How soon the memory of an index goes whose segment has gone. */
const CLOSE_INDEXES_MS = 2_000;

const MEASURE_MS = 100;

interface ShardRequest extends AsKnown {
  vchannel: string;
  /** Of a read. */
  partitionIds?: number[] | null;
}

interface Held {
  channel: Channel;
  isOpen: boolean;
  /** Resolves when it is open, or has ended without. */
  opened: Promise<void>;
  /** Aborted when the channel is to be given up. */
  leave: AbortController;
  done: Promise<void>;
}

export class StreamingActor implements Actor {
  readonly #ctx: ActorContext;
  readonly #channels = new Map<number, Held>();
  readonly #sealed: SealedReads;
  #growing: GrowingIndexes | undefined;
  /** Lives in a row of a channel that ended before they were open: the next one waits longer. */
  readonly #failures = new Map<number, number>();
  readonly #admission: Admission;
  readonly #tally: Tally = { rows: { insert: 0, upsert: 0, delete: 0 }, flushes: { done: 0, failed: 0 } };
  /** Of writes that wait for their channel to open, to be let in, or for the log: in memory like the rows that are applied. */
  #arrivedBytes = 0;
  #measured = { bytes: 0, at: Number.NEGATIVE_INFINITY };
  #isDraining = false;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    this.#sealed = new SealedReads(ctx);
    this.#admission = new Admission(ctx.clock);
  }

  async start(): Promise<void> {
    const ctx = this.#ctx;
    const engine = ctx.scope.use(await ctx.machine.openEngine());
    const growing = new GrowingIndexes(engine, ctx.config.streaming, ctx.logger);
    this.#growing = growing;
    ctx.scope.defer(() => growing.keepOnly(new Set()));
    ctx.scope.spawn("close indexes", (signal) => this.#closeIndexes(signal));
    this.#serve({ ctx, growing, sealed: this.#sealed });
    this.#follow();
    ctx.scope.defer(() => this.#closeAll());
    this.#reconcile();
  }

  #serve(reader: Reader): void {
    const ctx = this.#ctx;
    const { nodeId } = ctx;
    const serve = <Request extends ShardRequest, Reply>(
      operation: Operation<string, Request, Reply>,
      answer: (at: { channel: Channel; shard: Shard }, request: Request, call: Call) => Promise<Reply>,
    ) => {
      const handle = async (request: Request, call: Call) => {
        await this.#opened(request, call);
        await this.#caughtUp(request, call);
        return answer(this.#shard(request), request, call);
      };
      ctx.serve(operation, { nodeId }, handle, READS);
    };
    ctx.serve(streaming.appendRows, { nodeId }, (request, call) => this.#append(request, call), WRITES);
    serve(streaming.searchShard, ({ channel, shard }, request, call) =>
      searchShardRows(reader, channel, shard, request, call),
    );
    serve(streaming.shardTermStatistics, ({ channel, shard }, request, call) =>
      termStatisticsOfShard(reader, channel, shard, request, call),
    );
    serve(streaming.queryShard, ({ channel, shard }, request, call) =>
      queryShardRows(reader, channel, shard, request, call),
    );
    serve(streaming.fetchRows, async ({ shard }, request, call) => ({
      batch: await fetchShardRows(reader, shard, request, call),
    }));
    serve(streaming.flushShard, async ({ channel }, { vchannel, throughTs }) => ({
      segmentIds: await channel.flush(vchannel, throughTs),
      ts: channel.lastTs,
    }));
    ctx.serve(streaming.ownerKnows, { nodeId }, (request, call) => this.#knows(request, call), READS);
    ctx.serve(
      streaming.shardStats,
      { nodeId },
      async (request, call) => {
        await ctx.catalog.cache.waitFor(request.revision ?? 0, call.deadline);
        if (request.called !== undefined) await this.#caughtUp(request, call);
        return this.#stats(request);
      },
      READS,
    );
  }

  async #knows(
    { pchannel, revision }: { pchannel: number; revision: number },
    call: Call,
  ): Promise<Record<string, never>> {
    const { catalog } = this.#ctx;
    await catalog.cache.waitFor(revision, call.deadline);
    const held = this.#channels.get(pchannel);
    if (held !== undefined) await this.#untilOpen(held, call);
    if (held?.isOpen === true && held.channel.term === catalog.channelOwner(pchannel)?.term) return {};
    throw new VdbError("channel_not_owned", `channel ${pchannel} is not open on this node`);
  }

  #follow(): void {
    const ctx = this.#ctx;
    const { cache } = ctx.catalog;
    ctx.scope.use(cache.subscribe("channel.", () => this.#reconcile()));
    ctx.scope.use(
      cache.subscribe("collection.", (keys) => {
        const collectionIds = keys.map((key) => Number(key.slice("collection.".length)));
        this.#syncShards(collectionIds);
        const shards = collectionIds.flatMap((collectionId) => ctx.catalog.collection(collectionId)?.shards ?? []);
        this.#dropHandedOver(shards.map(({ vchannel }) => vchannel));
      }),
    );
    ctx.scope.use(
      cache.subscribe("view.", (keys) => this.#dropHandedOver(keys.map((key) => key.slice("view.".length)))),
    );
    ctx.scope.use(
      cache.subscribe("manifest.", (keys) => {
        const vchannels = keys.map((key) => key.slice("manifest.".length));
        for (const { channel } of this.#channels.values()) channel.riseAboveObjects(vchannels);
      }),
    );
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await this.#closeAll();
  }

  observe(): Record<string, unknown> {
    return {
      channels: [...this.#channels.values()].map(({ channel, isOpen }) => ({
        pchannel: channel.pchannel,
        term: channel.term,
        isOpen,
        shards: channel.shards.size,
        replayBytes: channel.replayDebt().bytes,
        recovery: channel.recovery,
      })),
      heldBytes: this.#heldBytes(),
      waitingBytes: this.#admission.waitingBytes,
      reads: this.#sealed.observe(),
    };
  }

  figures(): Figures {
    const channels = [...this.#channels.values()].map(({ channel, isOpen }) => {
      const { pchannel, term } = channel;
      return { pchannel, term, isOpen, lag: channel.lag(), debt: channel.replayDebt(), rows: channel.unflushedRows() };
    });
    const byChannel = (read: (channel: (typeof channels)[number]) => number) =>
      samplesBy(
        "channel",
        channels.map((channel) => [channel.pchannel, read(channel)]),
      );
    const { asks = 0, hedges = 0, retries = 0, segments = 0, skippedSegments = 0 } = this.#sealed.observe();
    return {
      vdb_rows_written_total: samplesBy("operation", Object.entries(this.#tally.rows)),
      vdb_flushes_total: samplesBy("outcome", Object.entries(this.#tally.flushes)),
      vdb_growing_rows: channels.reduce((sum, { rows }) => sum + rows, 0),
      vdb_growing_bytes: this.#heldBytes(),
      vdb_growing_bytes_max: this.#ctx.config.streaming.growingBytesMax,
      vdb_writes_waiting_bytes: this.#admission.waitingBytes,
      vdb_channel_open: byChannel(({ isOpen }) => Number(isOpen)),
      vdb_channel_term: byChannel(({ term }) => term),
      vdb_wal_lag_messages: byChannel(({ lag }) => lag.messages),
      vdb_wal_lag_seconds: byChannel(({ lag }) => lag.ms / 1_000),
      vdb_wal_replay_bytes: byChannel(({ debt }) => debt.bytes),
      vdb_wal_replay_bytes_max: byChannel(({ debt }) => debt.bytesMax),
      vdb_sealed_asks_total: asks,
      vdb_sealed_hedges_total: hedges,
      vdb_sealed_retries_total: retries,
      vdb_sealed_segments_read_total: segments,
      vdb_sealed_segments_skipped_total: skippedSegments,
    };
  }

  async #append(request: streaming.AppendRows, call: Call) {
    const bytes = request.batch === undefined ? 0 : batchBytes(request.batch);
    // Deletes take hardly any memory, and are how memory is freed.
    const held = (own: number): Level[] => (request.operation === "delete" ? [] : [this.#heldLevel(own)]);
    // Also while its channel opens a node holds no more than it may.
    refuseBeyond(held(0));
    this.#arrivedBytes += bytes;
    try {
      await this.#opened(request, call);
      // Whoever writes to a collection that is gone has not heard of it, and would ask again and again. What else there
      // is to refuse is looked at where requests are known that were done before.
      await this.#caughtUp({ collectionId: request.collectionId, vchannel: request.vchannel }, call);
      const { channel } = this.#shard(request);
      const levels = () => [replayLevel(channel), ...held(bytes), ...this.#deleteBacklog(request)];
      await this.#admission.admit(bytes, call.deadline, levels);
      const applied = await this.#shard(request).channel.append(request, call.deadline);
      // Until they are measured.
      this.#measured.bytes += bytes;
      return applied;
    } finally {
      this.#arrivedBytes -= bytes;
    }
  }

  /** own: bytes of the write that asks, which must not keep itself out. */
  #heldLevel(own: number): Level {
    const { growingBytesMax } = this.#ctx.config.streaming;
    return {
      what: "rows that wait to be flushed and loaded",
      bytes: this.#heldBytes() - own,
      bytesMax: growingBytesMax,
    };
  }

  #deleteBacklog({ operation, vchannel }: streaming.AppendRows): Level[] {
    const { deltaBytesMax } = this.#ctx.config.streaming;
    return deleteBacklog(operation, this.#ctx.catalog.manifest(vchannel), deltaBytesMax);
  }

  #stats(request: { vchannel: string; partitionId?: number | undefined }) {
    const { partitionId } = request;
    const { shard } = this.#shard(request);
    const all = this.#ctx.catalog.manifest(request.vchannel)?.segments ?? [];
    const sealed = all.filter((segment) => partitionId === undefined || segment.partitionId === partitionId);
    return {
      growingRows: shard.unflushedRows(partitionId),
      sealedRows: sealed.reduce((sum, { rowCount, deletes }) => sum + rowCount - (deletes?.rowCount ?? 0), 0),
    };
  }

  /** Waits, not for long, for a channel that is being opened: who asks has heard of the new owner and would only ask again. */
  async #opened(request: ShardRequest, call: Call): Promise<void> {
    const { shards = [] } = this.#ctx.catalog.collection(request.collectionId) ?? {};
    const held = this.#channels.get(shards.find(({ vchannel }) => vchannel === request.vchannel)?.pchannel ?? -1);
    if (held !== undefined) await this.#untilOpen(held, call);
  }

  async #untilOpen(held: Held, call: Call): Promise<void> {
    if (held.isOpen || held.leave.signal.aborted) return;
    const { clock } = this.#ctx;
    const enough = new AbortController();
    const ms = Math.max(0, Math.min(OPEN_WAIT_MS, call.deadline - clock.monotonic()));
    await Promise.race([held.opened, clock.sleep(ms, enough.signal).catch(() => undefined)]);
    enough.abort();
  }

  /**
   * Who asks may have heard before this node that a partition was made or loaded, or of a name or a schema; or not yet.
   * @throws VdbError collection_not_found, schema_mismatch: what was asked is out of date
   */
  async #caughtUp(request: ShardRequest, call: Call): Promise<void> {
    const { catalog } = this.#ctx;
    if (mayBeBehind(catalog, request) || !isLoaded(catalog.collection(request.collectionId)!, request.partitionIds)) {
      await catalog.cache.sync(call.deadline);
    }
    refuseOutdated(catalog, request);
  }

  #shard(request: { vchannel: string }): { channel: Channel; shard: Shard } {
    for (const { channel, isOpen } of this.#channels.values()) {
      const shard = isOpen ? channel.shards.get(request.vchannel) : undefined;
      if (shard !== undefined) return { channel, shard };
    }
    throw new VdbError("channel_not_owned", `channel of ${request.vchannel} is not open on this node`);
  }

  /** Opens what the meta store assigns to this node, closes what it does not. */
  #reconcile(): void {
    if (this.#isDraining) return;
    const walChannels = this.#ctx.catalog.cluster()?.walChannels ?? 0;
    for (let pchannel = 0; pchannel < walChannels; pchannel++) {
      const owner = this.#ctx.catalog.channelOwner(pchannel);
      const held = this.#channels.get(pchannel);
      const isOurs = owner?.nodeId === this.#ctx.nodeId;
      if (held !== undefined && (!isOurs || owner.term !== held.channel.term)) held.leave.abort();
      else if (held === undefined && isOurs) this.#hold(pchannel, owner.term);
    }
  }

  #hold(pchannel: number, term: number): void {
    const channel = new Channel(this.#ctx, { pchannel, term, tally: this.#tally });
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const held: Held = { channel, isOpen: false, opened, leave: new AbortController(), done: Promise.resolve() };
    this.#channels.set(pchannel, held);
    held.done = this.#run(held, open)
      .finally(open)
      .then((wasOpen) => this.#askForNewTerm({ pchannel, term, wasOpen }, held.leave.signal))
      .finally(() => {
        this.#channels.delete(pchannel);
        // The assignment may have changed while this life of the channel ended.
        if (!this.#ctx.signal.aborted) this.#reconcile();
      });
  }

  /** One life of a channel, from its fence to its end. Never rejects: what ended it is logged. Whether it was open. */
  async #run({ channel, leave }: Held, onOpen: () => void): Promise<boolean> {
    const { logger, clock } = this.#ctx;
    const fields = { pchannel: channel.pchannel, term: channel.term };
    // Leaving interrupts an opening at once; an open channel is closed in order, and cut off only when that takes too long.
    const life = new AbortController();
    const interrupt = () => life.abort();
    leave.signal.addEventListener("abort", interrupt, { once: true });
    try {
      if (leave.signal.aborted) return false;
      await channel.open(life.signal);
      leave.signal.removeEventListener("abort", interrupt);
      // Collections made while the channel was opening; nothing is awaited from here to its being open.
      channel.syncShards();
      channel.riseAboveObjects();
      this.#held(channel).isOpen = true;
      onOpen();
      logger.info({ ...fields, shards: channel.shards.size }, "channel open");
      const reason = await Promise.race([aborted(leave.signal), channel.closed]);
      logger.info({ ...fields, reason: reason?.message ?? "given up" }, "channel ends");
      return true;
    } catch (error) {
      if (!leave.signal.aborted)
        logger.error({ ...fields, error: asVdbError(error).message }, "channel could not be opened");
      return false;
    } finally {
      this.#held(channel).isOpen = false;
      const cut = clock.timer(CLOSE_TIMEOUT_MS, interrupt);
      await channel.close().catch((error: unknown) => {
        logger.warn({ ...fields, error: asVdbError(error).message }, "channel did not close cleanly");
      });
      cut[Symbol.dispose]();
      life.abort();
    }
  }

  /**
   * A term is used once: its fence is in the log. When a life of the channel has ended and it is still assigned to us
   * under that term, the coordinator is asked for the next one. Resolves when the assignment has changed.
   */
  async #askForNewTerm(life: { pchannel: number; term: number; wasOpen: boolean }, left: AbortSignal): Promise<void> {
    const { catalog, clock, logger, nodeId, signal } = this.#ctx;
    const { pchannel, term, wasOpen } = life;
    let failures = wasOpen ? 0 : (this.#failures.get(pchannel) ?? 0) + 1;
    this.#failures.set(pchannel, failures);
    const until = AbortSignal.any([signal, left]);
    for (;;) {
      // Every new term leaves a fence in the log, so what fails again and again is tried ever more rarely.
      if (failures > 0) await clock.sleep(Math.min(30_000, 250 * 2 ** failures), until).catch(() => undefined);
      const owner = catalog.channelOwner(pchannel);
      if (signal.aborted || this.#isDraining || owner?.nodeId !== nodeId || owner.term !== term) return;
      try {
        const { revision } = await askLeader(this.#ctx, renewChannelTerm, { pchannel, nodeId, term });
        await catalog.cache.waitFor(revision, clock.monotonic() + 5_000);
      } catch (error) {
        failures++;
        logger.warn({ pchannel, term, error: asVdbError(error).message }, "no new term for the channel yet");
      }
    }
  }

  #held(channel: Channel): Held {
    return this.#channels.get(channel.pchannel)!;
  }

  async #closeAll(): Promise<void> {
    const held = [...this.#channels.values()];
    for (const { leave } of held) leave.abort();
    await Promise.all(held.map(({ done }) => done));
  }

  #syncShards(collectionIds: readonly number[]): void {
    for (const { channel, isOpen } of this.#channels.values()) if (isOpen) channel.syncShards(collectionIds);
  }

  #dropHandedOver(vchannels: readonly string[]): void {
    for (const { channel } of this.#channels.values()) {
      for (const vchannel of vchannels) {
        const shard = channel.shards.get(vchannel);
        if (shard !== undefined) dropHandedOver(this.#ctx.catalog, shard);
      }
    }
  }

  /** Of all shards, and of what is on its way to them. Summed every 100 ms; in between, what was applied is added. */
  #heldBytes(): number {
    const now = this.#ctx.clock.monotonic();
    if (now - this.#measured.at > MEASURE_MS) {
      let bytes = 0;
      for (const { channel } of this.#channels.values()) bytes += channel.heldBytes();
      bytes += this.#growing?.memoryBytes() ?? 0;
      this.#measured = { bytes, at: now };
      this.#makeRoom(bytes);
    }
    return this.#measured.bytes + this.#arrivedBytes;
  }

  /** Indexes of segments that are not here any more. */
  async #closeIndexes(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#ctx.clock.sleep(CLOSE_INDEXES_MS, signal);
      if (this.#growing?.isEmpty !== false) continue;
      const segments = [...this.#channels.values()].flatMap(({ channel }) =>
        [...channel.shards.values()].flatMap((shard) => shard.localSegments()),
      );
      this.#growing.keepOnly(new Set(segments));
    }
  }

  /**
   * A bound that is small for the number of shards would be reached before any segment is large enough to be sealed: as
   * long as much of what is held still grows, the largest go to objects early.
   */
  #makeRoom(heldBytes: number): void {
    const { growingBytesMax } = this.#ctx.config.streaming;
    if (heldBytes < growingBytesMax / 2) return;
    const channels = [...this.#channels.values()].filter(({ isOpen }) => isOpen).map(({ channel }) => channel);
    const growing = channels.map((channel) => ({ channel, bytes: channel.growingBytes() }));
    const growingBytes = growing.reduce((sum, { bytes }) => sum + bytes, this.#growing?.memoryBytes() ?? 0);
    if (growingBytes < growingBytesMax / 4) return;
    growing.sort((a, b) => b.bytes - a.bytes)[0]!.channel.flushLargest();
  }
}

/** Whether the partitions are loaded; null: any. Undefined: it does not matter. */
function isLoaded(collection: CollectionDoc, partitionIds: readonly number[] | null | undefined): boolean {
  if (partitionIds === undefined) return true;
  const loaded = loadedPartitions(collection);
  return partitionIds?.every((id) => loaded.has(id)) ?? loaded.size > 0;
}

function replayLevel(channel: Channel): Level {
  return { what: "log that a recovery would have to replay", ...channel.replayDebt() };
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
