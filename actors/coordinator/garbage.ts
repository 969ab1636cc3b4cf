/**
 * Collecting what nothing names any more: objects of crashed flushes, replaced indexes, dropped collections; and the
 * head of the log that is in objects.
 *
 * Which unnamed objects can never be named again is told by their names, not by their age: `<kind>/<vchannel>/<token>/...`
 * where token is the term of the channel's owner (segment, delta, requests) or the coordinator's epoch (index). A writer
 * of an earlier token can no longer commit (its guard fails), so what it left is garbage at once.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { ManifestDoc } from "../../runtime/protocol/catalog.ts";
import type { Leadership } from "./leadership.ts";

interface ParsedName {
  kind: string;
  vchannel: string;
  token: number;
}

/** Removes unnamed objects. mayWrite: whether a job of this epoch may still be about to name the object. */
export async function collectObjects(
  ctx: ActorContext,
  leadership: Leadership,
  mayWrite: (name: string) => boolean,
): Promise<number> {
  // Listed first, judged by newer meta: whatever was named in between is seen as named. Each object is judged by one
  // state of the cache, names and terms together: a commit under an older term comes before the newer term.
  const objects = await ctx.blobs.list();
  await ctx.catalog.cache.sync(ctx.clock.monotonic() + 10_000);
  let removed = 0;
  for (const { name } of objects) {
    if (leadership.signal.aborted) break;
    if (mayWrite(name) || !isDead(ctx, leadership, name)) continue;
    await ctx.blobs.remove(name);
    removed++;
  }
  return removed;
}

/** Cuts each channel's log at its checkpoint, but not before a query node that still reads deletes there. */
export async function truncateLogs(ctx: ActorContext): Promise<void> {
  const readers = ctx.nodes
    .ofRole("query")
    .map(({ state }) => state.deletePositions as Record<string, number> | undefined);
  const walChannels = ctx.catalog.cluster()?.walChannels ?? 0;
  for (let pchannel = 0; pchannel < walChannels; pchannel++) {
    const checkpoint = ctx.catalog.checkpoint(pchannel)?.seq ?? 0;
    // A reader that has the newest delete needs nothing of what is stored.
    const newest = (await ctx.log.readLast(pchannel, "mut"))?.seq ?? 0;
    const behind = readers.flatMap((reader) => reader?.[String(pchannel)] ?? []).filter((seq) => seq < newest);
    const throughSeq = Math.min(checkpoint, ...behind);
    const { firstSeq } = await ctx.log.bounds(pchannel);
    if (throughSeq >= firstSeq) await ctx.log.purge(pchannel, throughSeq);
  }
}

function names(manifest: ManifestDoc, name: string): boolean {
  return (
    manifest.requests?.name === name ||
    manifest.deltas.some(({ object }) => object.name === name) ||
    manifest.segments.some(
      ({ object, indexes }) =>
        object.name === name || Object.values(indexes).some((index) => index.object.name === name),
    )
  );
}

/** Whether nobody can name the object any more. Names that are not ours are left alone. */
function isDead(ctx: ActorContext, leadership: Leadership, name: string): boolean {
  const parsed = parseName(name);
  if (parsed === null) return false;
  const { kind, vchannel, token } = parsed;
  const manifest = ctx.catalog.manifest(vchannel);
  // Manifests come before their first object and vchannel names are never reused: this one was dropped.
  if (manifest === undefined) return true;
  if (names(manifest, name)) return false;
  if (kind === "index") return token <= leadership.epoch;
  // A shard's flushes follow each other: what sorts before the request window in force has been replaced by it.
  if (kind === "requests" && manifest.requests !== undefined && sortKey(name) < sortKey(manifest.requests.name))
    return true;
  return token < (ctx.catalog.channelOwner(manifest.pchannel)?.term ?? 0);
}

function parseName(name: string): ParsedName | null {
  const match = /^(segment|delta|requests|index)\/([\w-]+)\/(\d+)\/[\w.-]+$/.exec(name);
  return match === null ? null : { kind: match[1]!, vchannel: match[2]!, token: Number(match[3]) };
}

/** Term, then place in the log: the order in which a shard's owners wrote. */
function sortKey(name: string): string {
  const [, , token = "", file = ""] = name.split("/");
  return `${token.padStart(12, "0")}/${file}`;
}
