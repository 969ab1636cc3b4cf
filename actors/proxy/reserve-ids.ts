/**
 * entities/reserve_ids: consecutive ids that nobody else gets. An insert into a collection with autoID that names the
 * first of them (`firstId`) gives its rows these ids, so that sending it again with the same requestId is the same insert.
 */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { type ProxyContext, success } from "./context.ts";

const COUNT_MAX = 1_000_000;

export const ReserveBody = z.object({ count: z.int().min(1).max(COUNT_MAX) });

export async function reserveIds(
  proxy: ProxyContext,
  { count }: z.infer<typeof ReserveBody>,
  call: Call,
): Promise<PublicReply> {
  return success({ firstId: await proxy.autoIds.take(count, call) });
}
