/** What a node says of itself, and operations of every node, whatever its roles. */
import { z } from "zod";
import { operation } from "./operation.ts";

/** One role of one node. */
export const NodeLease = z.object({
  nodeId: z.string(),
  role: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string(),
  startedAt: z.number(),
  /** The node serves what it has and gets nothing new: what it owns is being moved away. */
  isDraining: z.boolean().default(false),
  /** What the actor observes of itself: load, channels, segments. */
  state: z.record(z.string(), z.unknown()),
});
export type NodeLease = z.infer<typeof NodeLease>;

const Count = z.int();

/** Begins draining (or calls it off) and answers what the node still owns; null changes nothing. */
export const drainNode = operation("node.{nodeId}.drain", {
  request: z.object({ isDraining: z.boolean().nullable() }),
  reply: z.object({
    isDraining: z.boolean(),
    owned: z.object({ leads: Count, channels: Count, segments: Count, jobs: Count, requests: Count }),
  }),
  timeoutMs: 5_000,
  idempotent: true,
});
