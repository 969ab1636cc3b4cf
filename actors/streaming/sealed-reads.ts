/**
 * Reads of sealed segments, asked of the query nodes that the query view names; a node's death or silence is met by
 * asking another replica, within the one call and at the one snapshot that the request names.
 *
 *   an ask fails                     its segments are planned again by the newest view, without the nodes tried
 *   it takes much longer than usual  the same segments are asked of other replicas too, and the first answer counts: as
 *                                    often as the budget allows, so that slowness never makes the load double
 *   its node answers nothing at all  the same, budget or not, and the node is avoided for a while
 *   no live replica is left          the read waits for the view to name one, until its deadline
 *
 * Invariants
 *   R1. Every segment asked for is in exactly one part of the result.
 *   R2. A read ends with all parts or an error; when it ends, no ask of it is left running on its account.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askNode } from "../../runtime/ask-node.ts";
import type { AskOptions, Call } from "../../runtime/bus/bus.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { RETRY_MS_MIN, retryPauseMs } from "../../runtime/retry-pause.ts";
import { Stop } from "../../runtime/stop.ts";
import { type KnownNode, QueryNodes } from "./query-nodes.ts";
import { Latencies } from "./usual-latency.ts";

/** An ask is late when it takes this many times what 95 of 100 take; then, at this many times that, its node is called silent if it has answered nothing at all meanwhile. */
const LATE_FACTOR = 2;
const SILENT_FACTOR = 3;

/** Shorter delays and silences are normal on a loaded machine, and pass by themselves. */
const LATE_MS_MIN = 25;
const SILENT_MS_MIN = 250;

/** While too few have been measured. */
const LATE_MS_UNMEASURED = 250;

/** Late asks that are repeated: at most so many in a row, then so many of all asks. */
const HEDGES_MAX = 16;
const HEDGES_AN_ASK = 0.03;

/** Pauses between looks for a live replica; a change of the view or of the nodes ends the longer ones early. */
const PAUSE_MS_MAX = 1_000;

const KINDS = ["search", "query", "fetch", "statistics"] as const;

export interface SealedRead<Reply> {
  readonly kind: (typeof KINDS)[number];
  readonly vchannel: string;
  readonly segmentIds: readonly string[];
  /** How many other sealed segments were left out, because no row of them can match. */
  readonly skipped?: number;
  /**
   * Work for one segment, in a unit of the kind: large reads are given more time than small ones before they count as
   * late.
   */
  readonly size: number;
  readonly ask: (nodeId: string, segmentIds: string[], options: AskOptions) => Promise<Reply>;
}

/** What one node answered for some of the segments. */
export interface SealedPart<Reply> {
  readonly segmentIds: readonly string[];
  readonly reply: Reply;
}

/** One read while it lasts. */
interface Running<Reply> extends SealedRead<Reply> {
  readonly call: Call;
  readonly over: Stop;
  readonly asks: Set<Stop>;
  pauses: number;
  /** Why it is not done yet. */
  error: VdbError | undefined;
}

interface Ask<Reply> {
  readonly node: KnownNode;
  readonly startedAt: number;
  readonly answer: Promise<SealedPart<Reply>>;
  readonly stop: Stop;
}

const NOBODY: ReadonlySet<string> = new Set();

export class SealedReads {
  readonly #ctx: ActorContext;
  readonly #nodes: QueryNodes;
  readonly #latencies = new Latencies();
  #hedgesLeft = HEDGES_MAX;
  #asks = 0;
  #hedges = 0;
  #retries = 0;
  #segments = 0;
  #skippedSegments = 0;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    this.#nodes = new QueryNodes(ctx.nodes, ctx.clock);
  }

  observe(): Record<string, number> {
    const segments = { segments: this.#segments, skippedSegments: this.#skippedSegments };
    return { asks: this.#asks, hedges: this.#hedges, retries: this.#retries, ...segments };
  }

  /**
   * The parts of the answer, in no order.
   * @throws VdbError segment_not_loaded (a segment was replaced or dropped meanwhile), collection_not_fully_loaded (no
   * replica until the deadline), deadline_exceeded, what a node says that another would say as well
   */
  async read<Reply>(read: SealedRead<Reply>, call: Call): Promise<SealedPart<Reply>[]> {
    this.#segments += read.segmentIds.length;
    this.#skippedSegments += read.skipped ?? 0;
    if (read.segmentIds.length === 0) return [];
    const over = new Stop();
    const asks = new Set<Stop>();
    const running: Running<Reply> = { call, over, asks, pauses: 0, error: undefined, ...read };
    const end = () => {
      over.abort();
      for (const stop of asks) stop.abort();
    };
    call.signal?.addEventListener("abort", end, { once: true });
    try {
      return await this.#piece(running, read.segmentIds, NOBODY);
    } finally {
      call.signal?.removeEventListener("abort", end);
      end();
    }
  }

  /** Some of a read's segments, by the newest view, without the nodes that were tried for them. */
  async #piece<Reply>(
    read: Running<Reply>,
    segmentIds: readonly string[],
    tried: ReadonlySet<string>,
  ): Promise<SealedPart<Reply>[]> {
    const { byNode, nowhere } = this.#nodes.assign(segmentIds, this.#replicasOf(read), tried);
    const parts = [...byNode].map(([node, given]) => this.#part(read, node, given, tried));
    if (nowhere.length > 0) parts.push(this.#later(read, nowhere));
    return parts.length === 1 ? parts[0]! : (await Promise.all(parts)).flat();
  }

  #replicasOf({ vchannel }: { vchannel: string }): (segmentId: string) => readonly string[] {
    const segments = this.#ctx.catalog.view(vchannel)?.segments ?? {};
    return (segmentId) => segments[segmentId] ?? [];
  }

  async #part<Reply>(
    read: Running<Reply>,
    node: KnownNode,
    segmentIds: string[],
    tried: ReadonlySet<string>,
  ): Promise<SealedPart<Reply>[]> {
    const others = new Set([...tried, node.nodeId]);
    try {
      return await this.#patient(read, this.#ask(read, node, segmentIds), segmentIds, others);
    } catch (error) {
      if (read.over.aborted || this.#ctx.clock.monotonic() >= read.call.deadline || !mayPass(error)) throw error;
      read.error = asVdbError(error);
      this.#retries++;
      return this.#piece(read, segmentIds, others);
    }
  }

  /** The ask's answer; or that of other replicas, when it is late and they are sooner. */
  async #patient<Reply>(
    read: Running<Reply>,
    ask: Ask<Reply>,
    segmentIds: string[],
    others: ReadonlySet<string>,
  ): Promise<SealedPart<Reply>[]> {
    const { clock } = this.#ctx;
    const hasOthers = () => this.#nodes.hasOthers(segmentIds, this.#replicasOf(read), others);
    if (!hasOthers()) return [await ask.answer];
    const lateMs = this.#lateMs(read, segmentIds);
    const silentMs = Math.max(SILENT_MS_MIN, SILENT_FACTOR * lateMs);
    let waitMs = lateMs;
    while (await this.#isLate(ask, waitMs)) {
      const silentForMs = clock.monotonic() - Math.max(ask.startedAt, ask.node.answeredAt);
      const isSilent = silentForMs >= silentMs;
      if (hasOthers() && (isSilent || this.#hedgesLeft >= 1)) {
        if (!isSilent) this.#hedgesLeft--;
        this.#hedges++;
        if (isSilent) this.#nodes.failed(ask.node);
        return this.#firstOf(ask, this.#piece(read, segmentIds, others));
      }
      waitMs = Math.max(LATE_MS_MIN, silentMs - silentForMs);
    }
    return [await ask.answer];
  }

  async #firstOf<Reply>(ask: Ask<Reply>, other: Promise<SealedPart<Reply>[]>): Promise<SealedPart<Reply>[]> {
    let isAnswered = false;
    const own = ask.answer.then((part) => {
      isAnswered = true;
      return [part];
    });
    try {
      return await Promise.any([own, other]);
    } catch (error) {
      throw (error as AggregateError).errors[1];
    } finally {
      // The node has answered nothing in all this time, neither this ask nor another.
      if (!isAnswered && ask.node.answeredAt < ask.startedAt) this.#nodes.failed(ask.node);
      ask.stop.abort();
    }
  }

  #ask<Reply>(read: Running<Reply>, node: KnownNode, segmentIds: string[]): Ask<Reply> {
    const stop = new Stop();
    read.asks.add(stop);
    this.#asks++;
    this.#hedgesLeft = Math.min(HEDGES_MAX, this.#hedgesLeft + HEDGES_AN_ASK);
    const startedAt = this.#ctx.clock.monotonic();
    return { node, startedAt, stop, answer: this.#answer(read, { node, stop, startedAt }, segmentIds) };
  }

  async #answer<Reply>(
    read: Running<Reply>,
    { node, stop, startedAt }: Pick<Ask<Reply>, "node" | "stop" | "startedAt">,
    segmentIds: string[],
  ): Promise<SealedPart<Reply>> {
    const { clock, nodes } = this.#ctx;
    const { nodeId } = node;
    const { deadline } = read.call;
    node.outstanding += segmentIds.length;
    try {
      const reply = await askNode(nodes, { role: "query", nodeId }, stop, (signal) =>
        read.ask(nodeId, segmentIds, { deadline, signal }),
      );
      this.#nodes.answered(node, segmentIds.length, clock.monotonic() - startedAt);
      return { segmentIds, reply };
    } catch (error) {
      if (isVdbError(error, "node_not_found", "segment_not_loaded") && !stop.aborted) this.#nodes.failed(node);
      throw error;
    } finally {
      node.outstanding -= segmentIds.length;
      read.asks.delete(stop);
      // An ask that was given up counts as well: it would have taken longer still.
      this.#window(read, segmentIds).add(clock.monotonic() - startedAt);
    }
  }

  /** Segments without a live replica: tried again when that may have changed. */
  async #later<Reply>(read: Running<Reply>, segmentIds: readonly string[]): Promise<SealedPart<Reply>[]> {
    const { catalog, clock, nodes, random } = this.#ctx;
    const { vchannel, call, over } = read;
    const manifest = catalog.manifest(vchannel);
    const present = new Set(manifest?.segments.map(({ segmentId }) => segmentId));
    const gone = segmentIds.find((segmentId) => !present.has(segmentId));
    if (gone !== undefined || catalog.collection(manifest!.collectionId)?.loaded === undefined) {
      throw new VdbError("segment_not_loaded", `segment ${gone ?? segmentIds[0]} is served by nobody any more`);
    }
    const why = read.error === undefined ? "" : `; one said: ${read.error.message}`;
    // Waiting any longer is left to the caller, who holds nothing meanwhile.
    if (isVdbError(read.error, "overloaded")) throw read.error;
    const pauseMs = retryPauseMs(read.pauses++, random, PAUSE_MS_MAX);
    if (clock.monotonic() + pauseMs >= call.deadline) {
      const message = `collection not fully loaded: segment ${segmentIds[0]} is on no query node that answers`;
      throw new VdbError("collection_not_fully_loaded", `${message}${why}`, { cause: read.error });
    }
    await clock.sleep(Math.min(RETRY_MS_MIN, pauseMs));
    if (pauseMs > RETRY_MS_MIN && !over.aborted) {
      const changed = new Stop();
      over.addEventListener("abort", () => changed.abort());
      using _view = catalog.cache.subscribe(metaKeys.view(vchannel), () => changed.abort());
      using _nodes = nodes.subscribe((role) => {
        if (role === "query") changed.abort();
      });
      await clock.sleep(pauseMs - RETRY_MS_MIN, changed).catch(() => undefined);
    }
    if (over.aborted) throw new VdbError("canceled", "the read is over");
    return this.#piece(read, segmentIds, NOBODY);
  }

  #isLate<Reply>({ answer }: Ask<Reply>, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#ctx.clock.timer(ms, () => resolve(true));
      const done = () => {
        timer[Symbol.dispose]();
        resolve(false);
      };
      answer.then(done, done);
    });
  }

  #lateMs<Reply>(read: Running<Reply>, segmentIds: readonly string[]): number {
    const { high } = this.#window(read, segmentIds);
    return high === undefined ? LATE_MS_UNMEASURED : Math.max(LATE_MS_MIN, LATE_FACTOR * high);
  }

  #window({ kind, size }: SealedRead<unknown>, segmentIds: readonly string[]) {
    return this.#latencies.of(KINDS.indexOf(kind), size * segmentIds.length);
  }
}

/** Whether another replica, or the same one later, may answer. */
function mayPass(error: unknown): boolean {
  return isVdbError(error) && (error.retriable || error.kind === "canceled");
}
