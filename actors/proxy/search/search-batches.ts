/**
 * When there are many searches of one shard that differ only in their vectors, they travel together: one message, one
 * pass over the segments, one reduction instead of one each. While little is under way each goes at once and alone, so
 * a single client never waits for others; those that come while enough is under way go as one batch when an answer
 * arrives.
 *
 * After an answer from another process the next batch gathers for a moment: clients that were answered tend to ask
 * again at once, and would otherwise find that the batch of those who waited has just gone. So all clients travel
 * together, not in two alternating halves. When they do not come back in time, gathering is given up for more and more
 * batches.
 *
 * Every member asked before its batch was sent, so the batch sees everything that the member must see.
 */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { FilterPlan } from "../../../runtime/expr/plan.ts";
import type { SearchShard } from "../../../runtime/protocol/streaming.ts";
import type { SearchHits, VectorSearch } from "../../../runtime/protocol/values.ts";
import { hitsOfQueries } from "../../../runtime/search/reduce.ts";

/** Batches of one kind under way: while one is computed, the next is on its way. */
const UNDER_WAY_MAX = 2;

/**
 * For searches that another process answers: whatever a message carries, it wakes some ten threads of several processes
 * on its way, which costs more than searching for a few vectors. So a second batch is worth it only when both have this
 * many members.
 */
const FAR_MEMBERS_MIN = 16;

/** A batch gathers for this share of the time that the last one took: less than a second message would take. */
const GATHER_SHARE = 0.5;
const GATHER_MS_MAX = 5;

/** How many batches do not gather after one that gathered in vain; doubled each time, up to the maximum. */
const REST_FIRST = 1;
const REST_MAX = 64;

/** No search waits for a batch under way longer than this: the batch may be lost, or slow for reasons of its own. */
const PATIENCE_MS = 500;

/** Most vectors in a batch of several searches: enough to share the overhead, few enough not to be worth waiting for. */
const VECTORS_MAX = 64;

/** A search of more vectors is a batch by itself: it gains nothing by waiting. So is one of sparse vectors, which share no work. */
const VECTORS_ALONE = 16;

/** Most hits that a batch of several may bring: reducing that many takes some 10 ms. */
const HITS_MAX = 65_536;

type Send = (search: VectorSearch, call: Call) => Promise<SearchHits>;

interface Member {
  search: VectorSearch;
  call: Call;
  send: Send;
  resolve: (hits: SearchHits) => void;
  reject: (error: unknown) => void;
}

interface Line {
  /** Batches, and the searches in them. */
  batches: number;
  searches: number;
  readonly waiting: Member[];
  /** Searches that each of several batches must have. */
  readonly least: number;
  /** The waiting searches are about to be sent, once the event loop has read what has arrived. */
  isSending: boolean;
  /** Until so many searches wait, or its time is over. */
  gathering: { readonly count: number; readonly timer: Disposable } | undefined;
  /** How many more batches do not gather, and how many will not after the next one that gathers in vain. */
  rest: number;
  nextRest: number;
}

export class SearchBatches {
  readonly #clock: Clock;
  /** By what the searches have in common; gone when nothing is under way. */
  readonly #lines = new Map<string, Line>();
  readonly #filterNumbers = new WeakMap<FilterPlan, number>();
  #lastFilter = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The hits of one search: its own, or those cut from a batch, which is sent as its first member says.
   * @param isFar whether the shard's owner is another process
   * @throws what `send` throws, to every member alike; canceled, deadline_exceeded
   */
  search(request: SearchShard, call: Call, isFar: boolean, send: Send): Promise<SearchHits> {
    const { search } = request;
    if (search.queryCount > VECTORS_ALONE || !isPlain(request)) return send(search, call);
    const key = this.#keyOf(request);
    const line = this.#lines.get(key) ?? newLine(isFar);
    this.#lines.set(key, line);
    return new Promise((resolve, reject) => {
      line.waiting.push({ search, call, send, resolve, reject });
      // A client by itself waits for nothing.
      if (line.batches === 0 && !line.isSending) this.#sendWaiting(key, line);
      else if (!line.isSending) void this.#sendSoon(key, line);
    });
  }

  /** One read of a socket brings many requests, as from the clients of an answered batch: they are to be one batch again. Never rejects. */
  async #sendSoon(key: string, line: Line): Promise<void> {
    line.isSending = true;
    await this.#clock.yield();
    line.isSending = false;
    this.#sendWaiting(key, line);
  }

  #sendWaiting(key: string, line: Line): void {
    if (line.gathering !== undefined) {
      if (line.waiting.length < line.gathering.count) return;
      line.gathering.timer[Symbol.dispose]();
      line.gathering = undefined;
      line.nextRest = REST_FIRST;
    }
    while (line.waiting.length > 0) {
      const all = line.searches + line.waiting.length;
      const batches = all < UNDER_WAY_MAX * line.least ? 1 : UNDER_WAY_MAX;
      if (line.batches >= batches) break;
      // Those under way and those waiting are shared out evenly: no batch is much larger than the next.
      const share = Math.ceil(all / batches);
      const members = nextBatch(line.waiting, share, this.#clock.monotonic());
      if (members.length > 0) void this.#send(key, line, members);
    }
    if (line.batches === 0 && !line.isSending && this.#lines.get(key) === line) this.#lines.delete(key);
  }

  /** Called after a batch of `answered` searches that took `tookMs`. Does nothing when no client could come back, or batches go two at a time. */
  #gather(key: string, line: Line, answered: number, tookMs: number): void {
    const count = Math.min(answered + line.waiting.length, VECTORS_MAX);
    if (line.least === 1 || line.batches > 0 || count === 1) return;
    if (line.rest > 0) {
      line.rest--;
      return;
    }
    const timer = this.#clock.timer(Math.min(GATHER_MS_MAX, tookMs * GATHER_SHARE), () => {
      line.gathering = undefined;
      line.rest = line.nextRest;
      line.nextRest = Math.min(REST_MAX, 2 * line.nextRest);
      this.#sendWaiting(key, line);
    });
    line.gathering = { count, timer };
  }

  /** Never rejects. */
  async #send(key: string, line: Line, members: readonly Member[]): Promise<void> {
    line.batches++;
    line.searches += members.length;
    let isCounted = true;
    const sentAt = this.#clock.monotonic();
    const leave = (isAnswered: boolean) => {
      if (!isCounted) return;
      isCounted = false;
      line.batches--;
      line.searches -= members.length;
      if (isAnswered) this.#gather(key, line, members.length, this.#clock.monotonic() - sentAt);
      this.#sendWaiting(key, line);
    };
    const patience = this.#clock.timer(PATIENCE_MS, () => leave(false));
    try {
      share(members, await members[0]!.send(joined(members), callOf(members)));
    } catch (error) {
      for (const { reject } of members) reject(error);
    } finally {
      patience[Symbol.dispose]();
      leave(true);
    }
  }

  #keyOf(request: SearchShard): string {
    const { vchannel, called, schemaVersion, freshness, partitionIds, search, filter } = request;
    const { fieldId, metric, topK, ef, nprobe, radius, rangeFilter } = search;
    const ts = freshness.level === "session" ? freshness.ts : "";
    const filterNumber = filter === null ? 0 : this.#numberOf(filter);
    return `${vchannel} ${called?.database} ${called?.name} ${schemaVersion} ${freshness.level}${ts} ${partitionIds} ${fieldId} ${metric} ${topK} ${ef} ${nprobe} ${radius} ${rangeFilter} ${filterNumber}`;
  }

  /** Plans of the same text are the same object (FilterPlans). */
  #numberOf(filter: FilterPlan): number {
    let number = this.#filterNumbers.get(filter);
    if (number === undefined) {
      number = ++this.#lastFilter;
      this.#filterNumbers.set(filter, number);
    }
    return number;
  }
}

function newLine(isFar: boolean): Line {
  return {
    batches: 0,
    searches: 0,
    waiting: [],
    least: isFar ? FAR_MEMBERS_MIN : 1,
    isSending: false,
    gathering: undefined,
    rest: 0,
    nextRest: REST_FIRST,
  };
}

/** Whatever else a search may ask for is seldom the same in two of them. */
function isPlain({ search, readTs, ignoreGrowing }: SearchShard): boolean {
  const isPlainSearch = search.sparse === undefined && search.group === undefined && search.boost === undefined;
  return isPlainSearch && readTs === undefined && ignoreGrowing !== true;
}

/** Takes at most `count` members off the line; those that nobody waits for any more end here. */
function nextBatch(waiting: Member[], count: number, now: number): Member[] {
  const members: Member[] = [];
  let vectors = 0;
  for (let next = waiting[0]; next !== undefined && members.length < count; next = waiting[0]) {
    const { search, call, reject } = next;
    vectors += search.queryCount;
    if (members.length > 0 && (vectors > VECTORS_MAX || vectors * search.topK > HITS_MAX)) break;
    waiting.shift();
    if (call.signal?.aborted === true) reject(new VdbError("canceled", "the caller gave up"));
    else if (now >= call.deadline) reject(new VdbError("deadline_exceeded", "the search waited until its deadline"));
    else members.push(next);
  }
  return members;
}

function joined(members: readonly Member[]): VectorSearch {
  const first = members[0]!.search;
  if (members.length === 1) return first;
  const width = first.queries.length / first.queryCount;
  const queryCount = members.reduce((sum, { search }) => sum + search.queryCount, 0);
  const isPacked = first.queries instanceof Uint8Array;
  const queries = isPacked ? new Uint8Array(queryCount * width) : new Float32Array(queryCount * width);
  let at = 0;
  for (const { search } of members) {
    queries.set(search.queries, at);
    at += search.queries.length;
  }
  return { ...first, queries, queryCount };
}

/**
 * The batch waits as long as its most patient member; each member's own deadline and signal are watched where it was
 * asked.
 */
function callOf(members: readonly Member[]): Call {
  if (members.length === 1) return members[0]!.call;
  return { deadline: Math.max(...members.map(({ call }) => call.deadline)), signal: undefined };
}

function share(members: readonly Member[], hits: SearchHits): void {
  if (members.length === 1) {
    members[0]!.resolve(hits);
    return;
  }
  let query = 0;
  for (const { search, resolve } of members) {
    resolve(hitsOfQueries(hits, query, query + search.queryCount));
    query += search.queryCount;
  }
}
