/**
 * Searches of one shard that differ only in their vectors travel together when there are many: one message, one pass
 * over the segments, one reduction instead of one each. While little is under way each goes at once and alone, so a
 * single client never waits for others; what comes while enough is under way goes as one when an answer arrives.
 *
 * Every member asked before its batch was sent, so the batch sees all that the member must see.
 */
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { FilterPlan } from "../../runtime/expr/plan.ts";
import type { SearchShard } from "../../runtime/protocol/streaming.ts";
import type { SearchHits, VectorSearch } from "../../runtime/protocol/values.ts";
import { hitsOfQueries } from "../../runtime/search/reduce.ts";

/** Batches of one kind under way: while one is computed, the next is on its way. */
const IN_FLIGHT = 2;

/** Vectors in a batch that gathers several searches: enough to make the rest cheap, few enough not to be waited for. */
const VECTORS_MAX = 64;

type Send = (search: VectorSearch, call: Call) => Promise<SearchHits>;

interface Member {
  search: VectorSearch;
  call: Call;
  send: Send;
  resolve: (hits: SearchHits) => void;
  reject: (error: unknown) => void;
}

interface Line {
  inFlight: number;
  readonly waiting: Member[];
}

export class SearchBatches {
  /** By what the searches have in common; gone when nothing is under way. */
  readonly #lines = new Map<string, Line>();
  readonly #filterNumbers = new WeakMap<FilterPlan, number>();
  #lastFilter = 0;

  /**
   * The hits of one search: its own, or those cut from a batch, which is sent as its first member says.
   * @throws what `send` throws, to every member alike; canceled
   */
  search(request: SearchShard, call: Call, send: Send): Promise<SearchHits> {
    const key = this.#keyOf(request);
    const line = this.#lines.get(key) ?? { inFlight: 0, waiting: [] };
    this.#lines.set(key, line);
    return new Promise((resolve, reject) => {
      line.waiting.push({ search: request.search, call, send, resolve, reject });
      if (line.inFlight < IN_FLIGHT) void this.#sendWaiting(key, line);
    });
  }

  /** Sends batch after batch until nobody waits. Never rejects. */
  async #sendWaiting(key: string, line: Line): Promise<void> {
    line.inFlight++;
    for (let members = nextBatch(line.waiting); members.length > 0; members = nextBatch(line.waiting)) {
      try {
        share(members, await members[0]!.send(joined(members), callOf(members)));
      } catch (error) {
        for (const { reject } of members) reject(error);
      }
    }
    line.inFlight--;
    if (line.inFlight === 0) this.#lines.delete(key);
  }

  #keyOf({ vchannel, freshness, partitionIds, search, filter }: SearchShard): string {
    const { fieldId, metric, topK, ef, nprobe } = search;
    const ts = freshness.level === "session" ? freshness.ts : "";
    const filterNumber = filter === null ? 0 : this.#numberOf(filter);
    return `${vchannel} ${freshness.level}${ts} ${partitionIds} ${fieldId} ${metric} ${topK} ${ef} ${nprobe} ${filterNumber}`;
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

/** Takes the next members off the line; those that nobody waits for any more end here. */
function nextBatch(waiting: Member[]): Member[] {
  const members: Member[] = [];
  let vectors = 0;
  for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
    vectors += next.search.queryCount;
    if (members.length > 0 && vectors > VECTORS_MAX) break;
    waiting.shift();
    if (next.call.signal?.aborted !== true) members.push(next);
    else next.reject(new VdbError("canceled", "the caller gave up"));
  }
  return members;
}

function joined(members: readonly Member[]): VectorSearch {
  const first = members[0]!.search;
  if (members.length === 1) return first;
  const dimension = first.queries.length / first.queryCount;
  const queryCount = members.reduce((sum, { search }) => sum + search.queryCount, 0);
  const queries = new Float32Array(queryCount * dimension);
  let at = 0;
  for (const { search } of members) {
    queries.set(search.queries, at);
    at += search.queries.length;
  }
  return { ...first, queries, queryCount };
}

/** As long as the most patient member waits; each member's own end is watched where it was asked. */
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
