/**
 * A pchannel that this node owns: its writer, the shards on it, and how far its log could be cut.
 *
 * Opening takes the log over (fence), then replays what is not in objects; only then are writes taken. Closing gives
 * the log up. Nothing of a channel survives its closing: the next open builds it again from manifest and log.
 *
 * Invariants
 *   C1. Records are applied in the order of the log, each once, by `apply` alone, replayed or fresh.
 *   C2. `lastTs` is at least the timestamp of everything applied and everything in the shards' objects; later writes get
 *       greater ones. So a read at lastTs is a snapshot.
 *   C3. The checkpoint never passes a record that some shard has not wholly in objects.
 *   C4. What lies behind the checkpoint costs a next owner a bounded replay: past the bound, the shards that hold the
 *       checkpoint back are sealed and flushed, however little they have.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askLeader } from "../../runtime/ask-leader.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import type { LogKind } from "../../runtime/log/port.ts";
import { replay } from "../../runtime/log/reader.ts";
import type { LogEntry, LogEntryBody } from "../../runtime/log/record.ts";
import { type LogWriter, openWriter } from "../../runtime/log/writer.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import { allSegments, newestRowTs } from "../../runtime/meta/manifest.ts";
import { livePartitions } from "../../runtime/partitions.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import type { AppendRows } from "../../runtime/protocol/streaming.ts";
import type { Freshness } from "../../runtime/protocol/values.ts";
import { columnRows } from "../../runtime/segment/gather.ts";
import { msOfTimestamp, timestampOfMs } from "../../runtime/timestamps.ts";
import { WholeTurns } from "../../runtime/turns.ts";
import { type AsKnown, mayBeBehind, refuseOutdated } from "./as-known.ts";
import { enterSettled, flushShard } from "./flush.ts";
import { ReplayDebt } from "./replay-debt.ts";
import type { Applied } from "./request-window.ts";
import { Shard } from "./shard.ts";

/** What `Bounded` promises at most: a delegator that has not proven itself the owner for this long does so before it reads. */
const BOUNDED_STALENESS_MS = 5_000;

/** A timestamp further ahead of our clock than this is nobody's: no write would get a greater one for as long. */
const TIMESTAMP_AHEAD_MS_MAX = 60_000;

/** Look-ups of deleted keys between two looks at the time: a millisecond at most. */
const PIECE_LOOKUPS = 1_024;

/** So many of one record are made at once. */
const LOOKUPS_AT_ONCE = 4 * PIECE_LOOKUPS;

/** How often ages are looked at and an idle channel's checkpoint moves on. */
const MAINTENANCE_MS = 5_000;

/** What the channels of a node have done, all of them together. */
export interface Tally {
  /** Rows put into the log (of deletes their keys), replayed ones not counted again. */
  readonly rows: Record<LogEntry["operation"], number>;
  readonly flushes: { done: number; failed: number };
}

export class Channel {
  readonly pchannel: number;
  readonly term: number;
  readonly shards = new Map<string, Shard>();
  /** Of the shards, by collection. */
  readonly #vchannels = new Map<number, Set<string>>();
  readonly #ctx: ActorContext;
  readonly #flushing = new Map<string, Promise<string[]>>();
  /** By shard and request id: one request has a part in each of several shards. */
  readonly #inFlight = new Map<string, Promise<Applied>>();
  readonly #windows = new Map<string, Promise<void>>();
  readonly #tally: Tally;
  readonly #debt: ReplayDebt;
  readonly #debtMax: number;
  /** Shards that are being flushed for the debt. */
  readonly #paying = new Set<string>();
  #recovery = { messages: 0, rows: 0, bytes: 0, ms: 0 };
  #writer: LogWriter | undefined;
  /** Set when replay is over: before that nothing is flushed, since what replay has yet to bring would be missing. */
  #isComplete = false;
  #appliedSeq = 0;
  /** While a record is applied in turns. */
  #applying: Promise<void> | undefined;
  #mutSeq = 0;
  #lastTs = 0n;
  #provenAt = Number.NEGATIVE_INFINITY;
  #provenTs = 0n;
  /** Under way while objects hold timestamps above `lastTs`: reads wait for it. */
  #raising: Promise<void> | undefined;

  constructor(ctx: ActorContext, options: { pchannel: number; term: number; tally: Tally }) {
    this.#ctx = ctx;
    this.#tally = options.tally;
    this.pchannel = options.pchannel;
    this.term = options.term;
    const { cluster, streaming } = ctx.config;
    // Half of the log at most, or it would be full before anything was done about it.
    this.#debtMax = Math.min(streaming.replayBytesMax, cluster.walBytesMax / 2);
    this.#debt = new ReplayDebt(this.#debtMax);
  }

  get lastTs(): bigint {
    return this.#lastTs;
  }

  /** Log sequence of the newest applied record that deletes: what a query node must have applied to read with us. */
  get mutSeq(): number {
    return this.#mutSeq;
  }

  /** Resolves when the channel is no longer ours, with the reason. */
  get closed(): Promise<Error> {
    if (this.#writer === undefined) throw new Error("channel is not open");
    return this.#writer.closed;
  }

  /** Takes the log over and rebuilds the shards. @throws VdbError channel_fenced, corrupt, log_truncated, unavailable */
  async open(signal: AbortSignal): Promise<void> {
    const { log, clock, random, nodeId, catalog } = this.#ctx;
    const timestamps = async (count: number) => (await askLeader(this.#ctx, allocateTimestamps, { count })).first;
    this.#writer = await openWriter({
      log,
      channel: this.pchannel,
      term: this.term,
      nodeId,
      clock,
      random,
      signal,
      timestamps,
      onCommitted: (seq, kind, entries, bytes) => this.#apply(seq, kind, entries, bytes),
      // The coordinator cuts the log when the checkpoint has moved.
      onRefused: () => this.#flushBehind(this.#appliedSeq),
    });
    // The manifests that the earlier owner wrote must be in our cache before we judge by them; it can write no more.
    await catalog.cache.sync(clock.monotonic() + 10_000);
    this.syncShards();
    const checkpoint = catalog.checkpoint(this.pchannel)?.seq ?? 0;
    this.#appliedSeq = checkpoint;
    const began = clock.monotonic();
    const chain = await replay(log, this.pchannel, {
      fromSeq: checkpoint + 1,
      toSeq: this.#writer.fenceSeq,
      clock,
      signal,
      onRecord: (record, seq, bytes) => {
        this.#recovery.messages++;
        this.#recovery.bytes += bytes;
        return this.#apply(seq, record.kind, record.entries, bytes);
      },
    });
    this.#recovery.ms = Math.round(clock.monotonic() - began);
    // The newest delete may be before the checkpoint, or cut off the log, and a query node still behind it.
    const { mutSeq, lastTs } = this.#writer.inherited;
    this.#mutSeq = mutSeq;
    this.#lastTs = await this.#freshTimestamp(timestamps, lastTs > chain.lastTs ? lastTs : chain.lastTs, signal);
    this.#writer.resume({ ...chain, lastTs: this.#lastTs });
    this.#isComplete = true;
    this.#payDebt();
    this.#ctx.scope.spawn(`channel-${this.pchannel}`, (stopped) => this.#maintain(AbortSignal.any([signal, stopped])));
  }

  /** Stops taking writes, settles the one in flight and ends. What is not in objects stays in the log for the next owner. */
  async close(): Promise<void> {
    await this.#writer?.close();
  }

  /** Makes shards for new collections, forgets those of dropped ones. Of those named: one change must not cost a look at all. */
  syncShards(collectionIds?: Iterable<number>): void {
    const all = () => [...this.#ctx.catalog.collections().map((each) => each.collectionId), ...this.#vchannels.keys()];
    for (const collectionId of new Set(collectionIds ?? all())) this.#syncCollection(collectionId);
  }

  #syncCollection(collectionId: number): void {
    const collection = this.#ctx.catalog.collection(collectionId);
    const wanted = new Set<string>();
    for (const { vchannel, pchannel } of collection?.shards ?? []) {
      if (pchannel !== this.pchannel) continue;
      wanted.add(vchannel);
      this.shards.get(vchannel)?.keepPartitions(livePartitions(collection!));
      if (!this.shards.has(vchannel)) {
        this.shards.set(vchannel, new Shard(collection!, vchannel, () => this.#ctx.random.ulid()));
        this.#riseAbove(this.#ctx.catalog.manifest(vchannel)?.settledTs ?? 0n);
      }
    }
    for (const vchannel of this.#vchannels.get(collectionId) ?? []) {
      if (wanted.has(vchannel)) continue;
      this.shards.delete(vchannel);
      this.#windows.delete(vchannel);
    }
    if (wanted.size > 0) this.#vchannels.set(collectionId, wanted);
    else this.#vchannels.delete(collectionId);
  }

  /**
   * Reads see rows that others have timestamped (imports) from the moment on at which their manifest says so. To be told of
   * changes of manifests.
   */
  riseAboveObjects(vchannels: Iterable<string> = this.shards.keys()): void {
    for (const vchannel of vchannels) {
      const manifest = this.shards.has(vchannel) ? this.#ctx.catalog.manifest(vchannel) : undefined;
      if (manifest !== undefined) this.#riseAbove(newestRowTs(manifest));
    }
  }

  /** Appends one request, once for each request id, and answers when it is durable and visible. */
  async append(request: AppendRows, deadline: number): Promise<Applied> {
    const shard = this.shards.get(request.vchannel);
    if (shard === undefined || this.#writer === undefined) {
      throw new VdbError("channel_not_owned", `channel of ${request.vchannel} is not open here`);
    }
    await this.#requestWindow(shard);
    if (this.#isBehind(request)) await this.#ctx.catalog.cache.sync(deadline);
    // Nothing is awaited from here to its being in flight: the same request may come twice at once.
    const part = `${request.vchannel}/${request.requestId}`;
    const known = shard.requests.get(request.requestId) ?? this.#inFlight.get(part);
    if (known !== undefined) return known;
    this.#requireFitting(request);
    const appended = this.#writer.append(logEntry(request), deadline);
    this.#inFlight.set(part, appended);
    try {
      return await appended;
    } finally {
      this.#inFlight.delete(part);
    }
  }

  /** Whether whoever made the request may have heard of a name, a schema or a partition before this node. */
  #isBehind(request: AppendRows): boolean {
    const { catalog } = this.#ctx;
    const { collectionId, partitionId, batch } = request;
    if (mayBeBehind(catalog, asWritten(request))) return true;
    return batch !== undefined && !livePartitions(catalog.collection(collectionId)!).has(partitionId);
  }

  /**
   * A write goes to what has the collection's name now; rows must be of the newest schema, and go to a partition that
   * there is.
   * @throws VdbError collection_not_found, partition_not_found, schema_mismatch
   */
  #requireFitting(request: AppendRows): void {
    const { partitionId, batch } = request;
    const collection = refuseOutdated(this.#ctx.catalog, asWritten(request));
    if (batch === undefined || livePartitions(collection).has(partitionId)) return;
    throw new VdbError("partition_not_found", `partition not found[partition=${partitionId}]`);
  }

  /** Resolves when a read at `lastTs` is as fresh as asked. @throws VdbError channel_fenced when this node was replaced */
  async ensureFresh(freshness: Freshness): Promise<void> {
    if (this.#raising !== undefined) await this.#raising;
    switch (freshness.level) {
      case "eventually":
        return;
      case "bounded":
        if (this.#ctx.clock.monotonic() - this.#provenAt > BOUNDED_STALENESS_MS) await this.#prove(0n);
        return;
      case "session":
        // What we applied, and what existed when we last proved ourselves, is covered: the client's write may be another shard's.
        if (freshness.ts > this.#lastTs && freshness.ts > this.#provenTs) await this.#prove(freshness.ts);
        return;
      case "strong":
        await this.#prove(0n);
    }
  }

  /**
   * Seals what grows in a shard and resolves when it is in objects. With throughTs: when everything with a timestamp up to
   * it is, for good: no write gets such a timestamp any more, whoever owns the channel.
   */
  async flush(vchannel: string, throughTs?: bigint): Promise<string[]> {
    const shard = this.shards.get(vchannel);
    if (shard === undefined) throw new VdbError("channel_not_owned", `channel of ${vchannel} is not open here`);
    if (throughTs !== undefined) await this.settle(throughTs);
    shard.sealAll();
    const segmentIds = await this.#flush(shard);
    if (throughTs !== undefined) {
      const point = { appliedSeq: this.#appliedSeq, term: this.term, pchannel: this.pchannel };
      await enterSettled(this.#ctx, vchannel, point, throughTs);
    }
    return segmentIds;
  }

  /** What a next owner would have to replay now, in bytes (replay-debt.ts), and the bound at which it is refused to grow. */
  replayDebt(): { bytes: number; bytesMax: number } {
    return { bytes: this.#debt.cost, bytesMax: 2 * this.#debtMax };
  }

  /** How far what is known to be in objects is behind the log: messages of it, and the age of the oldest write that is not, milliseconds. */
  lag(): { messages: number; ms: number } {
    const now = this.#ctx.clock.monotonic();
    let oldest = now;
    for (const shard of this.shards.values()) oldest = Math.min(oldest, shard.oldestUnflushedAt() ?? now);
    const checkpoint = this.#ctx.catalog.checkpoint(this.pchannel)?.seq ?? 0;
    return { messages: Math.max(0, this.#appliedSeq - checkpoint), ms: now - oldest };
  }

  /** Rows that are in no object yet. */
  unflushedRows(): number {
    let rows = 0;
    for (const shard of this.shards.values()) rows += shard.unflushedRows();
    return rows;
  }

  /** What opening this channel had to replay. */
  get recovery(): { messages: number; rows: number; bytes: number; ms: number } {
    return this.#recovery;
  }

  /** Bytes of rows that still grow. */
  growingBytes(): number {
    let bytes = 0;
    for (const shard of this.shards.values()) bytes += shard.growingBytes();
    return bytes;
  }

  /** Seals and flushes the shard with the most growing rows, if it is not being flushed. */
  flushLargest(): void {
    const [largest] = [...this.shards.values()].sort((a, b) => b.growingBytes() - a.growingBytes());
    if (largest === undefined || !this.#isComplete || this.#flushing.has(largest.vchannel)) return;
    largest.sealAll();
    this.#flushInBackground(largest);
  }

  /** Bytes of rows that are held here: not in objects yet, or not served by query nodes yet. */
  heldBytes(): number {
    let bytes = 0;
    for (const shard of this.shards.values()) bytes += shard.heldBytes();
    return bytes;
  }

  /** Resolves when everything up to ts is applied and nothing below it can come any more: a read at ts is a snapshot then. */
  async settle(ts: bigint): Promise<void> {
    if (msOfTimestamp(ts) > this.#ctx.clock.now() + TIMESTAMP_AHEAD_MS_MAX) {
      throw new VdbError("invalid_parameter", `timestamp ${ts} is far in the future`);
    }
    this.#writer!.raiseFloor(ts);
    await this.#writer!.settled(ts);
    if (ts > this.#lastTs) this.#lastTs = ts;
  }

  /** For a shard that came with rows of its own (a restored one): they have timestamps that no write here gave. */
  #riseAbove(ts: bigint): void {
    // Opening does it for all the shards that it finds.
    if (ts <= this.#lastTs || !this.#isComplete) return;
    const before = this.#raising;
    const raising: Promise<void> = Promise.all([before, this.settle(ts)])
      .catch((error: unknown) => {
        this.#ctx.logger.warn({ pchannel: this.pchannel, error: asVdbError(error).message }, "timestamp not raised");
      })
      .then(() => {
        if (this.#raising === raising) this.#raising = undefined;
      });
    this.#raising = raising;
  }

  /** Nothing to wait for but where something is deleted that takes long to find; the record counts as not applied until then. */
  #apply(seq: number, kind: LogKind, entries: readonly LogEntry[], bytes: number): void | Promise<void> {
    // Of all entries: thousands of one key each block as long as one of thousands.
    let lookups = 0;
    for (const entry of entries) lookups += this.shards.get(entry.vchannel)?.lookupsOf(entry) ?? 0;
    if (lookups <= LOOKUPS_AT_ONCE) return this.#applyNow(seq, kind, entries, bytes);
    const applied = this.#markDeleted(entries).then((marked) => this.#applyNow(seq, kind, entries, bytes, marked));
    const forget = () => {
      this.#applying = undefined;
    };
    this.#applying = applied.then(forget, forget);
    return applied;
  }

  /** Of all entries: each is marked before the first is applied. */
  async #markDeleted(entries: readonly LogEntry[]): Promise<ReadonlyMap<LogEntry, Shard>> {
    const marked = new Map<LogEntry, Shard>();
    const turns = new WholeTurns(this.#ctx.clock, PIECE_LOOKUPS);
    for (const entry of entries) {
      const shard = this.shards.get(entry.vchannel);
      if (shard === undefined) continue;
      await shard.markDeleted(entry, turns);
      marked.set(entry, shard);
    }
    return marked;
  }

  #applyNow(
    seq: number,
    kind: LogKind,
    entries: readonly LogEntry[],
    bytes: number,
    marked?: ReadonlyMap<LogEntry, Shard>,
  ): void {
    let rows = 0;
    const now = this.#ctx.clock.monotonic();
    const wallNow = this.#ctx.clock.now();
    const touched = new Set<Shard>();
    for (const entry of entries) {
      const shard = this.shards.get(entry.vchannel);
      const manifest = this.#ctx.catalog.manifest(entry.vchannel);
      // A dropped collection's entries mean nothing any more.
      if (shard !== undefined && manifest !== undefined) {
        // Replayed rows keep their age: a node that is restarted often must seal them all the same.
        const writtenAt = now - Math.max(0, wallNow - msOfTimestamp(entry.ts));
        const isDropped = !this.#partitionsOf(shard).has(entry.partitionId);
        shard.apply(entry, seq, manifest, writtenAt, { isDropped, isMarked: marked?.get(entry) === shard });
        touched.add(shard);
      }
      if (entry.ts > this.#lastTs) this.#lastTs = entry.ts;
      const count = rowsOf(entry);
      if (this.#isComplete) this.#tally.rows[entry.operation] += count;
      rows += count;
    }
    this.#appliedSeq = seq;
    this.#debt.add(seq, bytes, rows);
    if (!this.#isComplete) this.#recovery.rows += rows;
    if (kind === "mut") this.#mutSeq = seq;
    this.#payDebt();
    for (const shard of touched) {
      const { streaming } = this.#ctx.config;
      const isSealed = shard.sealDue(streaming, now);
      if (this.#isComplete && (shard.deletesDue(streaming) || isSealed)) this.#flushInBackground(shard);
    }
  }

  /** Rows of others have been dropped: of a replayed record, or of one that was on its way. */
  #partitionsOf({ collectionId }: Shard): ReadonlySet<number> {
    const collection = this.#ctx.catalog.collection(collectionId);
    return collection === undefined ? new Set() : livePartitions(collection);
  }

  /** Has the shards flushed that keep the debt above its bound. Those of half the bound, so that it does not happen all the time. */
  #payDebt(): void {
    if (this.#debt.cost <= this.#debtMax) return;
    this.#flushBehind(this.#debt.seqToPay(this.#debtMax / 2));
  }

  /** Seals and flushes, each shard once at a time, what keeps the checkpoint from passing a place in the log. */
  #flushBehind(seq: number): void {
    if (!this.#isComplete) return;
    for (const shard of this.shards.values()) {
      const first = shard.firstUnflushedSeq();
      if (first === null || first > seq || this.#paying.has(shard.vchannel)) continue;
      shard.sealThrough(seq);
      this.#paying.add(shard.vchannel);
      this.#flushInBackground(shard, () => this.#paying.delete(shard.vchannel));
    }
  }

  /** A timestamp above all that the log and the objects hold. A deposed coordinator may give a lower one: ask again. */
  async #freshTimestamp(
    timestamps: (count: number) => Promise<bigint>,
    lastTs: bigint,
    signal: AbortSignal,
  ): Promise<bigint> {
    let floor = lastTs;
    for (const vchannel of this.shards.keys()) {
      const manifest = this.#ctx.catalog.manifest(vchannel);
      const { settledTs = 0n } = manifest ?? {};
      if (settledTs > floor) floor = settledTs;
      for (const { maxTs } of manifest === undefined ? [] : allSegments(manifest)) if (maxTs > floor) floor = maxTs;
    }
    for (;;) {
      try {
        const ts = await timestamps(1);
        if (ts > floor) return ts;
      } catch (error) {
        if (!asVdbError(error).retriable) throw error;
      }
      await this.#ctx.clock.sleep(100, signal);
    }
  }

  /** Proves from the log that nobody has replaced us since this call began; covers reads up to `ts`. */
  async #prove(ts: bigint): Promise<void> {
    const before = this.#ctx.clock.monotonic();
    const lastTs = this.#lastTs;
    await this.#writer!.prove();
    this.#provenAt = Math.max(this.#provenAt, before);
    // A timestamp from the future proves nothing about the writes that will get it.
    const covered = ts <= timestampOfMs(this.#ctx.clock.now()) && ts > lastTs ? ts : lastTs;
    if (covered > this.#provenTs) this.#provenTs = covered;
  }

  /** The request ids that an earlier owner saw, read when the shard gets its first write here. */
  #requestWindow(shard: Shard): Promise<void> {
    let loading = this.#windows.get(shard.vchannel);
    if (loading === undefined) {
      loading = this.#loadRequestWindow(shard).catch((error: unknown) => {
        this.#windows.delete(shard.vchannel);
        throw error;
      });
      this.#windows.set(shard.vchannel, loading);
    }
    return loading;
  }

  async #loadRequestWindow(shard: Shard): Promise<void> {
    const ref = this.#ctx.catalog.manifest(shard.vchannel)?.requests;
    if (ref !== undefined) shard.requests.prepend(await this.#ctx.blobs.get(ref));
  }

  #flushInBackground(shard: Shard, done: () => void = () => undefined): void {
    this.#flush(shard)
      .finally(done)
      .catch((error: unknown) => {
        if (isVdbError(error, "channel_fenced", "canceled", "collection_not_found", "collection_truncated")) return;
        this.#tally.flushes.failed++;
        // What is sealed stays sealed; maintenance tries again.
        this.#ctx.logger.warn(
          { vchannel: shard.vchannel, error: asVdbError(error).message },
          "flush failed, will be retried",
        );
      });
  }

  /** One flush of a shard at a time; a call during one waits for it, then flushes what has been sealed since. */
  async #flush(shard: Shard): Promise<string[]> {
    const before = this.#flushing.get(shard.vchannel) ?? Promise.resolve([]);
    const flush = before
      .catch(() => [])
      // The ids that an earlier owner saw are written on with ours, or a retry of its writes would pass as new.
      .then(() => this.#requestWindow(shard))
      .then(async () => {
        // What is stored under a place in the log has the deletes up to there, neither less nor more.
        while (this.#applying !== undefined) await this.#applying;
        return flushShard(this.#ctx, shard, { appliedSeq: this.#appliedSeq, term: this.term, pchannel: this.pchannel });
      })
      .then(async (segmentIds) => {
        this.#tally.flushes.done++;
        await this.#advanceCheckpoint();
        return segmentIds;
      });
    this.#flushing.set(shard.vchannel, flush);
    try {
      return await flush;
    } finally {
      if (this.#flushing.get(shard.vchannel) === flush) this.#flushing.delete(shard.vchannel);
    }
  }

  async #maintain(signal: AbortSignal): Promise<void> {
    const { clock, config } = this.#ctx;
    // A quarter of the shortest age that is asked for, so that sealing is late by that at most.
    const intervalMs = Math.min(MAINTENANCE_MS, Math.max(1_000, config.streaming.sealAgeMs / 4));
    while (!signal.aborted) {
      // Giving the channel up ends the wait; it is no failure of the actor.
      await clock.sleep(intervalMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      for (const shard of this.shards.values()) {
        shard.sealDue(config.streaming, clock.monotonic());
        if (shard.sealed.length > 0 && !this.#flushing.has(shard.vchannel)) this.#flushInBackground(shard);
        else if (this.#hasOldDeletes(shard)) this.#flushInBackground(shard);
      }
      this.#payDebt();
      await this.#advanceCheckpoint().catch((error: unknown) => {
        this.#ctx.logger.debug({ pchannel: this.pchannel, error: asVdbError(error).message }, "checkpoint not written");
      });
    }
  }

  /** Deletes alone would hold the checkpoint for ever: they are flushed at the age of a segment. */
  #hasOldDeletes(shard: Shard): boolean {
    const { clock, config } = this.#ctx;
    const [oldest] = shard.pendingDeletes;
    return oldest !== undefined && clock.monotonic() - oldest.writtenAt >= config.streaming.sealAgeMs;
  }

  /** Records how far the log is in objects: the coordinator may cut it there. */
  async #advanceCheckpoint(): Promise<void> {
    const { cache } = this.#ctx.catalog;
    let seq = this.#appliedSeq;
    for (const shard of this.shards.values()) {
      const first = shard.firstUnflushedSeq();
      if (first !== null) seq = Math.min(seq, first - 1);
    }
    const written = this.#ctx.catalog.checkpoint(this.pchannel)?.seq ?? 0;
    this.#debt.pay(Math.min(seq, written));
    if (seq <= written) return;
    const doc = { seq, term: this.term };
    const revision = await this.#ctx.meta.commit([putDoc(cache, metaKeys.checkpoint(this.pchannel), doc)]);
    if (revision !== null) this.#debt.pay(seq);
  }
}

function rowsOf(entry: LogEntry): number {
  return (entry.batch?.rowCount ?? 0) + (entry.keys === undefined ? 0 : columnRows(entry.keys));
}

/** Keys to delete are of no schema. */
function asWritten({ collectionId, called, schemaVersion, batch }: AppendRows): AsKnown {
  return batch === undefined ? { collectionId, called } : { collectionId, called, schemaVersion };
}

function logEntry(request: AppendRows): LogEntryBody {
  const { vchannel, requestId, operation, partitionId, schemaVersion, batch, keys, hasNullVectors } = request;
  const body: LogEntryBody = { vchannel, requestId, operation, partitionId, schemaVersion };
  if (batch !== undefined) body.batch = batch;
  if (keys !== undefined) body.keys = keys;
  if (hasNullVectors !== undefined) body.hasNullVectors = hasNullVectors;
  return body;
}
