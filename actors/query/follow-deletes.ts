/**
 * The deletes that this node's segments need, read from the log itself: one follower a pchannel, whatever the number of
 * shards on it. Nothing is acknowledged; a search names the log sequence that it needs and waits until it is applied.
 *
 * Owns     per shard, the deletes that some segment lacks (shard-deletes.ts): from its delta objects, then from the log
 * Invariants
 *   D1. `applied(seq)` resolves only when the segments of every shard that was added have every delete up to seq.
 *   D2. A segment that is added later gets all of them before it is served.
 *   D3. A follower that was cut off begins again from the objects; until it has caught up, nothing counts as applied.
 *   D4. What has been forgotten is among the own deletes of every segment that any later manifest names. A segment that
 *       was read by an older one reads its own deletes again before it joins, and does not join without them.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import { type DeleteTail, followDeletes } from "../../runtime/log/reader.ts";
import type { LogEntry, LogRecord } from "../../runtime/log/record.ts";
import { shardGone } from "../../runtime/meta/catalog.ts";
import { coveredSeq } from "../../runtime/meta/manifest.ts";
import { primaryField } from "../../runtime/schema.ts";
import { readDeletedKeys } from "../../runtime/segment/delete-files.ts";
import { columnRows } from "../../runtime/segment/gather.ts";
import type { KeyColumn } from "../../runtime/segment/keys.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import { type FollowingSegment, ShardDeletes } from "./shard-deletes.ts";

/** A follower that cannot go on begins again from the objects after this long. */
const RESTART_MS = 1_000;

/** A shard that joins reads what the follower has passed within this time, or its load fails and is tried again. */
const CATCH_UP_TIMEOUT_MS = 60_000;

const SYNC_TIMEOUT_MS = 10_000;

/** Deletes of the shards of one pchannel. */
class ChannelDeletes {
  readonly #ctx: ActorContext;
  readonly #pchannel: number;
  readonly #shards = new Map<string, ShardDeletes>();
  readonly #waiters = new Set<{ seq: number; resolve: () => void }>();
  #tail: DeleteTail | undefined;
  /** Sequence of the newest delete record handled; where following began before the first. */
  #position = 0;
  /**
   * Sequence of the newest record whose handling has begun: a shard that joins meanwhile catches up with that one, too.
   */
  #reached = 0;
  #isRestarting = false;
  /** Whether following has been interrupted since it last began. */
  #isInterrupted = false;
  #broken: VdbError | undefined;
  /** Joining, leaving and restarting happen one at a time. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(ctx: ActorContext, pchannel: number) {
    this.#ctx = ctx;
    this.#pchannel = pchannel;
  }

  /** Null while nothing is followed, or for good: the log is not kept for who will not read it. */
  get position(): number | null {
    const isFollowing = this.#tail !== undefined && !this.#isRestarting && this.#broken === undefined;
    return isFollowing ? this.#position : null;
  }

  get keptRows(): number {
    let rows = 0;
    for (const deletes of this.#shards.values()) rows += deletes.keptRows;
    return rows;
  }

  /** Resolves when the segment has every delete up to the follower's position, and gets the later ones. */
  add(shard: { collectionId: number; vchannel: string }, following: FollowingSegment): Promise<void> {
    return this.#exclusively(async () => {
      let deletes = this.#shards.get(shard.vchannel);
      if (deletes === undefined) {
        deletes = new ShardDeletes(shard, this.#ctx.clock);
        await this.#begin(deletes);
      }
      await this.#join(deletes, following);
    });
  }

  remove(vchannel: string, segment: Segment): Promise<void> {
    return this.#exclusively(async () => {
      const deletes = this.#shards.get(vchannel);
      deletes?.segments.delete(segment);
      if (deletes?.segments.size === 0) this.#shards.delete(vchannel);
      if (this.#shards.size === 0) await this.#stopFollowing();
    });
  }

  /** To be called when a manifest has changed: forgets what no segment needs any more. */
  forget(vchannel: string): void {
    if (!this.#shards.has(vchannel)) return;
    // Takes its turn with those who join, so nobody is reading what is removed.
    void this.#exclusively(async () => {
      const deletes = this.#shards.get(vchannel);
      if (deletes !== undefined) this.#forgetCovered(deletes);
    });
  }

  close(): Promise<void> {
    return this.#exclusively(() => this.#stopFollowing());
  }

  /** Resolves once deletes up to seq are applied. @throws VdbError deadline_exceeded, corrupt */
  async applied(seq: number, deadline: number): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#position >= seq && !this.#isRestarting) return;
    const { clock } = this.#ctx;
    await new Promise<void>((resolve, reject) => {
      const timer = clock.timer(Math.max(0, deadline - clock.monotonic()), () => {
        this.#waiters.delete(waiter);
        const message = `deletes of channel ${this.#pchannel} are applied up to ${this.#position}, ${seq} is needed`;
        reject(this.#broken ?? new VdbError("deadline_exceeded", message));
      });
      const waiter = {
        seq,
        resolve: () => {
          timer[Symbol.dispose]();
          resolve();
        },
      };
      this.#waiters.add(waiter);
    });
  }

  async #join(deletes: ShardDeletes, following: FollowingSegment): Promise<void> {
    // Ends, because each time round a newer manifest covers more.
    for (;;) {
      this.#forgetCovered(deletes);
      if (following.deletesSeq >= deletes.forgottenSeq) break;
      await following.refresh();
    }
    await deletes.addSegment(following);
  }

  #forgetCovered(deletes: ShardDeletes): void {
    const manifest = this.#ctx.catalog.manifest(deletes.vchannel);
    if (manifest !== undefined) deletes.forget(coveredSeq(manifest));
  }

  /** Everything known of a shard's deletes so far: its delta objects, then the log up to where the follower is. */
  async #begin(deletes: ShardDeletes): Promise<void> {
    const inObjects = await this.#readDeltas(deletes);
    // From here on the follower also brings this shard what it reads; what it has passed already is caught up with
    // below.
    this.#shards.set(deletes.vchannel, deletes);
    try {
      if (this.#tail === undefined) await this.#follow(inObjects);
      else await this.#catchUp(deletes, inObjects);
    } catch (error) {
      this.#shards.delete(deletes.vchannel);
      throw error;
    }
  }

  /** Returns the log sequence up to which everything is in objects. */
  async #readDeltas(deletes: ShardDeletes): Promise<number> {
    const { catalog, blobs, clock } = this.#ctx;
    for (;;) {
      const manifest = catalog.manifest(deletes.vchannel);
      if (manifest === undefined) throw shardGone(catalog, deletes.vchannel);
      // Up to the channel's checkpoint every shard's deletes are in objects.
      const inObjects = Math.max(manifest.deltaSeq, catalog.checkpoint(this.#pchannel)?.seq ?? 0);
      deletes.forget(coveredSeq(manifest));
      try {
        for (const { object, throughSeq } of manifest.deltas) {
          for (const part of readDeletedKeys(await blobs.get(object))) await deletes.add(part, throughSeq);
          deletes.forget(coveredSeq(manifest));
        }
        return inObjects;
      } catch (error) {
        // A delta that has been distributed meanwhile may be gone as garbage: the newest manifest does not name it.
        if (!isVdbError(error, "corrupt")) throw error;
        await catalog.cache.sync(clock.monotonic() + SYNC_TIMEOUT_MS);
        if (catalog.manifest(deletes.vchannel) === manifest) throw error;
      }
    }
  }

  async #follow(afterSeq: number): Promise<void> {
    this.#position = afterSeq;
    this.#reached = afterSeq;
    // What could not be read may be behind by now.
    this.#broken = undefined;
    this.#tail = await followDeletes(this.#ctx.log, this.#pchannel, {
      fromSeq: afterSeq + 1,
      onRecord: (record, seq) => this.#onRecord(record, seq),
      onError: (error) => this.#onError(error),
      clock: this.#ctx.clock,
    });
    this.#releaseWaiters();
  }

  /** Reads for one shard what the running follower has passed already. */
  async #catchUp(deletes: ShardDeletes, afterSeq: number): Promise<void> {
    const { log, clock, signal } = this.#ctx;
    const newest = (await log.readLast(this.#pchannel, "mut"))?.seq ?? 0;
    const target = Math.min(this.#reached, newest);
    if (target <= afterSeq) return;
    let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
    const finished = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    const onRecord = async (record: LogRecord, seq: number) => {
      for (const entry of record.entries) {
        if (entry.vchannel === deletes.vchannel) await this.#collect(deletes, entry, seq);
      }
      if (seq >= target) settle?.resolve();
    };
    const onError = (error: Error) => settle?.reject(error);
    const tail = await followDeletes(log, this.#pchannel, { fromSeq: afterSeq + 1, onRecord, onError, clock });
    const timeout = new AbortController();
    const late = clock.sleep(CATCH_UP_TIMEOUT_MS, AbortSignal.any([signal, timeout.signal])).then(() => {
      throw new VdbError("unavailable", `deletes of channel ${this.#pchannel} could not be caught up with`);
    });
    late.catch(() => undefined);
    try {
      await Promise.race([finished, late]);
    } finally {
      timeout.abort();
      await tail[Symbol.asyncDispose]();
    }
  }

  async #onRecord(record: LogRecord, seq: number): Promise<void> {
    this.#reached = seq;
    for (const entry of record.entries) {
      const deletes = this.#shards.get(entry.vchannel);
      if (deletes !== undefined) await this.#collect(deletes, entry, seq);
    }
    this.#position = seq;
    this.#releaseWaiters();
  }

  async #collect(deletes: ShardDeletes, entry: LogEntry, seq: number): Promise<void> {
    const collection = this.#ctx.catalog.collection(deletes.collectionId);
    if (collection === undefined) return;
    const keys = entry.keys ?? (entry.batch?.columns[primaryField(collection.schema).fieldId] as KeyColumn | undefined);
    if (keys === undefined) return;
    await deletes.add({ keys, timestamps: new BigInt64Array(columnRows(keys)).fill(entry.ts) }, seq);
  }

  #releaseWaiters(): void {
    if (this.#isRestarting) return;
    for (const waiter of this.#waiters) {
      if (waiter.seq > this.#position) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** Damage ends the shards' service; anything else begins again from the objects. */
  #onError(error: Error): void {
    const { logger, signal, scope } = this.#ctx;
    const fields = { pchannel: this.#pchannel, error: asVdbError(error).message };
    if (isVdbError(error, "corrupt", "newer_version")) {
      this.#broken = error;
      logger.error(fields, "log cannot be read: reads that need its deletes are refused");
      return;
    }
    this.#isInterrupted = true;
    // Who begins again looks whether it has to once more.
    if (signal.aborted || this.#isRestarting) return;
    logger.warn(fields, "following deletes was interrupted");
    this.#isRestarting = true;
    scope.spawn(`follow-deletes-${this.#pchannel}`, () => this.#exclusively(() => this.#restart()));
  }

  async #restart(): Promise<void> {
    const { catalog, clock, logger, signal } = this.#ctx;
    const before = [...this.#shards.values()];
    // They keep what they were brought; only what came after is missing.
    for (const { segments } of before) {
      for (const following of segments.values()) following.deletesSeq = Math.max(following.deletesSeq, this.#position);
    }
    for (;;) {
      await clock.sleep(RESTART_MS, signal);
      try {
        await this.#stopFollowing();
        this.#isInterrupted = false;
        this.#shards.clear();
        for (const shard of before) {
          if (shard.segments.size > 0 && catalog.manifest(shard.vchannel) !== undefined) await this.#beginAgain(shard);
        }
        if (this.#shards.size === 0) await this.#stopFollowing();
        if (!this.#isInterrupted) break;
      } catch (error) {
        logger.warn(
          { pchannel: this.#pchannel, error: asVdbError(error).message },
          "deletes could not be followed again yet",
        );
      }
    }
    this.#isRestarting = false;
    this.#releaseWaiters();
  }

  /** Segments that cannot be given what they missed are not served any more; they keep nothing else of the channel from being served. */
  async #beginAgain(before: ShardDeletes): Promise<void> {
    const { collectionId, vchannel, segments } = before;
    const lose = (following: FollowingSegment, error: unknown): void => {
      segments.delete(following.segment);
      following.lost();
      const { segmentId } = following.segment;
      const fields = { pchannel: this.#pchannel, vchannel, segmentId, error: asVdbError(error).message };
      this.#ctx.logger.warn(fields, "segment cannot be given the deletes that it missed: it is not served here");
    };
    const deletes = new ShardDeletes({ collectionId, vchannel }, this.#ctx.clock);
    try {
      await this.#begin(deletes);
    } catch (error) {
      if (!isVdbError(error, "corrupt")) throw error;
      for (const following of [...segments.values()]) lose(following, error);
      return;
    }
    for (const following of [...segments.values()]) {
      try {
        await this.#join(deletes, following);
      } catch (error) {
        // Replaced meanwhile, or its own deletes are damaged.
        if (!isVdbError(error, "segment_not_loaded", "corrupt")) throw error;
        lose(following, error);
      }
    }
    if (deletes.segments.size === 0) this.#shards.delete(vchannel);
  }

  async #stopFollowing(): Promise<void> {
    const tail = this.#tail;
    this.#tail = undefined;
    await tail?.[Symbol.asyncDispose]();
  }

  #exclusively(change: () => Promise<void>): Promise<void> {
    const mine = this.#changes.then(change);
    this.#changes = mine.catch(() => undefined);
    return mine;
  }
}

export class DeleteFollowers {
  readonly #ctx: ActorContext;
  readonly #channels = new Map<number, ChannelDeletes>();

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    ctx.scope.use(
      ctx.catalog.cache.subscribe("manifest.", (keys) => {
        for (const key of keys) {
          const vchannel = key.slice("manifest.".length);
          for (const channel of this.#channels.values()) channel.forget(vchannel);
        }
      }),
    );
  }

  /** Deletes in memory, over all shards. */
  keptRows(): number {
    let rows = 0;
    for (const channel of this.#channels.values()) rows += channel.keptRows;
    return rows;
  }

  add(shard: { collectionId: number; vchannel: string; pchannel: number }, following: FollowingSegment): Promise<void> {
    let channel = this.#channels.get(shard.pchannel);
    if (channel === undefined) {
      channel = new ChannelDeletes(this.#ctx, shard.pchannel);
      this.#channels.set(shard.pchannel, channel);
    }
    return channel.add(shard, following);
  }

  async remove(shard: { vchannel: string; pchannel: number }, segment: Segment): Promise<void> {
    await this.#channels.get(shard.pchannel)?.remove(shard.vchannel, segment);
  }

  async applied(pchannel: number, seq: number, deadline: number): Promise<void> {
    await this.#channels.get(pchannel)?.applied(seq, deadline);
  }

  /** How far each channel's deletes are read: the log must not be cut before an unread one. */
  positions(): Record<string, number> {
    const positions: Record<string, number> = {};
    for (const [pchannel, { position }] of this.#channels)
      if (position !== null) positions[String(pchannel)] = position;
    return positions;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
  }
}
