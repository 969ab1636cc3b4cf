/**
 * The process that searches FAISS indexes, for one engine. Single-threaded JavaScript over FAISS's own OpenMP threads;
 * faiss-node leaks (4 bytes per number of a query), so the process reports its growth and is replaced when that is large.
 *
 * Owns loaded indexes, each in at most two variants of search effort Invariant H1. An index file is never written: another
 * effort is opened from a private patched copy.
 */
import { closeSync, constants, copyFileSync, openSync, rmSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { exitWithParent, FIRST_PIPE_FD } from "../child-process.ts";
import { type FaissIndex, NumberArrays, readFaissIndex } from "./faiss.ts";
import {
  FrameReader,
  type HostNotice,
  type HostRequest,
  type LoadMessage,
  type NewReplyFrame,
  newErrorFrame,
  newReplyFrame,
  readSearchFrame,
  type SearchFrame,
} from "./host-protocol.ts";
import { encodeField } from "./index-file.ts";

interface Variant {
  effort: number;
  index: FaissIndex;
  wasSearched: boolean;
}

interface LoadedIndex {
  source: LoadMessage;
  /** Least recently used first. */
  variants: Variant[];
}

/** Variants are whole copies in memory: two let a workload mix two efforts; a third would cost more than it brings. */
const VARIANTS_MAX = 2;

/** Without room, a variant up to this much above the wanted effort serves: cheaper than opening another file. */
const EFFORT_EXCESS_MAX = 4;

/** A native call answers no more than this many queries, so that the first of them does not wait for all. */
const CALL_QUERIES_MAX = 64;

/** Reading the RSS costs about 10 us: not for every search. */
const MEMORY_CHECK_SEARCHES = 256;

const scratchDir = process.argv[2]!;
const indexes = new Map<number, LoadedIndex>();
const arrays = new NumberArrays();
let memoryBaseline = process.memoryUsage.rss();
/** What faiss-node is known to leak: its copies of the queries. */
let leakedBytes = 0;
let growthMiB = 0;
let searchesUntilCheck = MEMORY_CHECK_SEARCHES;

function load(message: LoadMessage): void {
  changeMemory(() => {
    const variant = openVariant(message, message.effort);
    indexes.set(message.number, { source: message, variants: [variant] });
  });
}

/** Opens the file itself if it has the wanted effort, else a copy that has. @throws Error when FAISS refuses it */
function openVariant({ number, file, effortField }: LoadMessage, effort: number): Variant {
  if (effortField === undefined || effortField.value === effort) {
    return { effort, index: readFaissIndex(file), wasSearched: false };
  }
  const copy = join(scratchDir, `${process.pid}-${number}-${effort}.faiss`);
  try {
    copyFileSync(file, copy, constants.COPYFILE_FICLONE);
    const fd = openSync(copy, "r+");
    writeSync(fd, encodeField(effortField, effort), 0, effortField.bytes, effortField.offset);
    closeSync(fd);
    return { effort, index: readFaissIndex(copy), wasSearched: false };
  } finally {
    rmSync(copy, { force: true });
  }
}

/** The variant that a search of this effort runs on: never with less effort than asked for. */
function variantFor(loaded: LoadedIndex, effort: number): Variant {
  const { variants } = loaded;
  let found = variants.find((variant) => variant.effort === effort);
  if (found === undefined && variants.length === VARIANTS_MAX) {
    found = variants.find((variant) => variant.effort > effort && variant.effort <= effort * EFFORT_EXCESS_MAX);
  }
  if (found === undefined) {
    changeMemory(() => {
      // A variant that nobody has searched was a guess at load time: it goes first. It is freed before the new one is opened.
      const unused = variants.findIndex((variant) => !variant.wasSearched);
      if (unused !== -1) variants.splice(unused, 1);
      else if (variants.length === VARIANTS_MAX) variants.shift();
      collectGarbage();
      found = openVariant(loaded.source, effort);
    });
  } else {
    variants.splice(variants.indexOf(found), 1);
  }
  variants.push(found!);
  found!.wasSearched = true;
  return found!;
}

/** Native memory is freed by finalizers, which V8 does not hurry because it knows nothing of that memory. */
function collectGarbage(): void {
  globalThis.gc?.();
}

/** Runs something that takes or frees memory for good: growth is what comes on top. */
function changeMemory(change: () => void): void {
  const growth = Math.max(0, process.memoryUsage.rss() - memoryBaseline);
  try {
    change();
  } finally {
    memoryBaseline = process.memoryUsage.rss() - growth;
  }
}

function checkMemory(searches: number): void {
  searchesUntilCheck -= searches;
  if (searchesUntilCheck > 0) return;
  searchesUntilCheck = MEMORY_CHECK_SEARCHES;
  const rss = process.memoryUsage.rss();
  // Finalizers run later than the change that freed something, so the RSS alone may say too little.
  if (rss < memoryBaseline) memoryBaseline = rss;
  growthMiB = Math.floor(Math.max(rss - memoryBaseline, leakedBytes) / 2 ** 20);
}

/** Searches that can share a native call: same index, same effort, same k. In order of arrival otherwise. */
function groupSearches(searches: SearchFrame[]): SearchFrame[][] {
  const groups: SearchFrame[][] = [];
  const open = new Map<string, { group: SearchFrame[]; queries: number }>();
  for (const search of searches) {
    const key = `${search.indexNumber}/${search.effort}/${search.k}`;
    const last = open.get(key);
    if (last !== undefined && last.queries + search.nq <= CALL_QUERIES_MAX) {
      last.group.push(search);
      last.queries += search.nq;
    } else {
      const group = [search];
      groups.push(group);
      open.set(key, { group, queries: search.nq });
    }
  }
  return groups;
}

function answerGroup(group: SearchFrame[]): Uint8Array[] {
  const { indexNumber, effort, k } = group[0]!;
  const loaded = indexes.get(indexNumber);
  if (loaded === undefined) return group.map(({ id }) => newErrorFrame(id, "not loaded"));
  try {
    const { index } = variantFor(loaded, effort);
    const { labels, distances } = index.search(toNumbers(group), k);
    let offset = 0;
    return group.map(({ id, nq }) => {
      const reply = newReplyFrame({ id, nq, k, growthMiB });
      copyResults(labels, distances, offset, reply);
      offset += nq * k;
      return reply.frame;
    });
  } catch (error) {
    return group.map(({ id }) => newErrorFrame(id, error instanceof Error ? error.message : String(error)));
  }
}

function toNumbers(group: SearchFrame[]): number[] {
  let length = 0;
  for (const { queries } of group) length += queries.length;
  leakedBytes += length * 4;
  const numbers = arrays.of(length);
  let at = 0;
  for (const { queries } of group) {
    for (let i = 0; i < queries.length; i++) numbers[at++] = queries[i]!;
  }
  return numbers;
}

function copyResults(labels: number[], distances: number[], offset: number, reply: NewReplyFrame): void {
  const { rows } = reply;
  for (let i = 0; i < rows.length; i++) {
    rows[i] = labels[offset + i]!;
    reply.distances[i] = distances[offset + i]!;
  }
}

function serveSearches(pipe: Socket): void {
  const reader = new FrameReader();
  pipe.on("data", (chunk: Buffer) => {
    const searches = reader.push(chunk).map(readSearchFrame);
    checkMemory(searches.length);
    for (const group of groupSearches(searches)) {
      pipe.cork();
      for (const frame of answerGroup(group)) pipe.write(frame);
      pipe.uncork();
    }
  });
  pipe.on("close", () => process.exit(0));
  // EPIPE when the engine goes away: close follows.
  pipe.on("error", () => {});
}

function notify(notice: HostNotice): void {
  process.send?.(notice);
}

exitWithParent();
process.on("message", (request: HostRequest) => {
  const { number } = request;
  if (request.kind === "unload") {
    changeMemory(() => {
      indexes.delete(number);
      collectGarbage();
    });
    return;
  }
  try {
    load(request);
    notify({ kind: "loaded", number });
  } catch (error) {
    notify({ kind: "refused", number, message: error instanceof Error ? error.message : String(error) });
  }
});
serveSearches(new Socket({ fd: FIRST_PIPE_FD, readable: true, writable: true }));
notify({ kind: "ready" });
