/** Asking the leading coordinator: an ask that is under way when another begins to lead is given up, since the old one may never answer. */
import type { AskOptions, Bus } from "./bus/bus.ts";
import { isVdbError, VdbError } from "./errors.ts";
import type { Catalog } from "./meta/catalog.ts";
import { metaKeys } from "./protocol/catalog.ts";
import type { Operation } from "./protocol/operation.ts";

/** @throws VdbError not_ready when the leader has changed; what the ask throws */
export async function askLeader<Request, Reply>(
  { bus, catalog }: { bus: Bus; catalog: Catalog },
  operation: Operation<`coordinator.${string}`, Request, Reply>,
  request: Request,
  options: AskOptions = {},
): Promise<Reply> {
  const { signal } = options;
  const replaced = new AbortController();
  // Whoever takes over answers from the moment on at which its epoch can be seen.
  using _epoch = catalog.cache.subscribe(metaKeys.epoch, () => replaced.abort());
  try {
    return await bus.ask(operation, {}, request, {
      ...options,
      signal: signal === undefined ? replaced.signal : AbortSignal.any([signal, replaced.signal]),
    });
  } catch (error) {
    if (!replaced.signal.aborted || !isVdbError(error, "canceled") || signal?.aborted === true) throw error;
    throw new VdbError("not_ready", "the coordinator has changed", { cause: error });
  }
}
