/**
 * Collecting what nothing names any more: objects of crashed flushes and jobs, replaced segments, deletes and indexes,
 * dropped collections; and the head of the log that is in objects.
 *
 * Which unnamed objects can never be named again is told by their names, not by their age: `<kind>/<vchannel>/<token>/...`
 *
 *   segment, deletes, delta, requests   written by the channel's owner; the token is its term, the file begins with the
 *                                       log sequence that the flush is about
 *   index, compacted, imported          written by data nodes; the token is the coordinator's epoch
 *
 * A writer of an earlier token can no longer commit (its guard fails), so what it left is garbage at once. An owner's
 * flushes follow each other, each entering its log sequence as the manifest's deltaSeq: what an earlier one wrote and
 * nothing names any more was replaced. What a job of this epoch is about to name, the coordinator knows itself: it asked
 * for it, under a name that no other attempt has. Uploads (`upload/...`) are nobody's: imports say when they are used up.
 *
 * Removal waits for nobody. A reader that looks for an object by an older manifest does not find it, looks at the
 * newest manifest, and finds what took its place (actors/query/loaded-segments.ts, follow-deletes.ts); a job fails, and
 * what is still wanted is asked for again. Query nodes have what they serve in memory and on their disks.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { ObjectListing } from "../../runtime/blob/port.ts";
import { objectNames } from "../../runtime/meta/manifest.ts";
import { pinHolders } from "../../runtime/pins.ts";
import type { ManifestDoc } from "../../runtime/protocol/catalog.ts";
import { takeTurn } from "../../runtime/turns.ts";
import type { Leadership } from "./leadership.ts";

/** Judged between two looks at the time: some tenths of a millisecond. */
const NAMES_A_TURN = 128;

interface ParsedName {
  kind: string;
  vchannel: string;
  token: number;
  /** Log sequence of the flush that wrote the object; NaN where the name does not say. */
  seq: number;
}

/** What other parts of the coordinator know of objects that no manifest names. */
export interface ObjectJudges {
  /** Whether a job of this epoch may still be about to name the object. */
  mayWrite(name: string): boolean;
  /** Whether it is an upload that nobody will read any more. */
  isUsedUp(object: ObjectListing): boolean;
}

/** Removes unnamed objects, and none while somebody holds a pin. */
export async function collectObjects(
  ctx: ActorContext,
  leadership: Leadership,
  { mayWrite, isUsedUp }: ObjectJudges,
): Promise<number> {
  // Listed first, judged by newer meta: whatever was named in between is seen as named. Each object is judged by one
  // state of the cache, names and terms together: a commit under an older term comes before the newer term.
  const objects = await ctx.blobs.list();
  await ctx.catalog.cache.sync(ctx.clock.monotonic() + 10_000);
  const dead: string[] = [];
  for (const [i, object] of objects.entries()) {
    if (i % NAMES_A_TURN === 0) await takeTurn(ctx.clock);
    const { name } = object;
    if (isUsedUp(object) || (!mayWrite(name) && isDead(ctx, leadership, name))) dead.push(name);
  }
  if (dead.length === 0) return 0;
  // Checked after judging: whoever takes a pin later reads manifests that no longer name what was dead before.
  const holders = await pinHolders(ctx.leases);
  if (holders.length > 0) {
    ctx.logger.info({ dead: dead.length, holders }, "garbage stays while these run");
    return 0;
  }
  let removed = 0;
  for (const name of dead) {
    if (leadership.signal.aborted) break;
    if (mayWrite(name)) continue;
    await ctx.blobs.remove(name);
    removed++;
  }
  return removed;
}

/**
 * Cuts each channel's log at its checkpoint, but not before a query node that still reads deletes there. A node that is
 * not heard of, or begins later, finds what is cut in deltas and in the segments' own deletes.
 */
export async function truncateLogs(ctx: ActorContext, isWanted = (_pchannel: number) => true): Promise<void> {
  const readers = ctx.nodes
    .ofRole("query")
    .map(({ state }) => state.deletePositions as Record<string, number> | undefined);
  const walChannels = ctx.catalog.cluster()?.walChannels ?? 0;
  for (let pchannel = 0; pchannel < walChannels; pchannel++) {
    if (!isWanted(pchannel)) continue;
    const checkpoint = ctx.catalog.checkpoint(pchannel)?.seq ?? 0;
    // A reader that has the newest delete needs nothing of what is stored.
    const newest = (await ctx.log.readLast(pchannel, "mut"))?.seq ?? 0;
    const behind = readers.flatMap((reader) => reader?.[String(pchannel)] ?? []).filter((seq) => seq < newest);
    const throughSeq = Math.min(checkpoint, ...behind);
    const { firstSeq } = await ctx.log.bounds(pchannel);
    if (throughSeq >= firstSeq) await ctx.log.purge(pchannel, throughSeq);
  }
}

/** Manifests are immutable: each one's names are gathered once. */
const knownNames = new WeakMap<ManifestDoc, Set<string>>();

function namesOf(manifest: ManifestDoc): Set<string> {
  let names = knownNames.get(manifest);
  if (names === undefined) {
    names = objectNames(manifest);
    knownNames.set(manifest, names);
  }
  return names;
}

/** Whether nobody can name the object any more. Names that are not ours are left alone. */
function isDead(ctx: ActorContext, leadership: Leadership, name: string): boolean {
  const parsed = parseName(name);
  if (parsed === null) return false;
  const { kind, vchannel, token, seq } = parsed;
  const manifest = ctx.catalog.manifest(vchannel);
  // Manifests come before their first object and vchannel names are never reused: this one was dropped.
  if (manifest === undefined) return true;
  if (namesOf(manifest).has(name)) return false;
  if (kind === "index" || kind === "compacted" || kind === "imported") return token <= leadership.epoch;
  // A shard's flushes follow each other: what sorts before the request window in force has been replaced by it.
  if (kind === "requests" && manifest.requests !== undefined && sortKey(name) < sortKey(manifest.requests.name))
    return true;
  // One with the manifest's own sequence may be another flush at the same place in the log, not entered yet.
  if (seq < manifest.deltaSeq) return true;
  return token < (ctx.catalog.channelOwner(manifest.pchannel)?.term ?? 0);
}

function parseName(name: string): ParsedName | null {
  const match =
    /^(segment|deletes|delta|requests|index|compacted|imported)\/([\w-]+)\/(\d+)\/(?:(\d{16})-)?[\w.-]+$/.exec(name);
  if (match === null) return null;
  const [, kind = "", vchannel = "", token, seq] = match;
  return { kind, vchannel, token: Number(token), seq: seq === undefined ? Number.NaN : Number(seq) };
}

/** Term, then place in the log: the order in which a shard's owners wrote. */
function sortKey(name: string): string {
  const [, , token = "", file = ""] = name.split("/");
  return `${token.padStart(12, "0")}/${file}`;
}
