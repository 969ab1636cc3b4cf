/** Operations of every node, whatever its roles. */
import { z } from "zod";
import { operation } from "./operation.ts";

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
