/** Asks the leading coordinator. When another takes the lead meanwhile, the ask is given up, since the old leader may never answer. */
import { askUntil } from "./ask-until.ts";
import type { AskOptions, Bus } from "./bus/bus.ts";
import { VdbError } from "./errors.ts";
import type { Catalog } from "./meta/catalog.ts";
import { metaKeys } from "./protocol/catalog.ts";
import type { Operation } from "./protocol/operation.ts";

/** @throws VdbError not_ready when the leader has changed; what the ask throws */
export function askLeader<Request, Reply>(
  { bus, catalog }: { bus: Bus; catalog: Catalog },
  operation: Operation<`coordinator.${string}`, Request, Reply>,
  request: Request,
  options: AskOptions = {},
): Promise<Reply> {
  // Whoever takes over answers from the moment on at which its epoch can be seen.
  const watch = (giveUp: () => void) => catalog.cache.subscribe(metaKeys.epoch, giveUp);
  const gone = (cause: unknown) => new VdbError("not_ready", "the coordinator has changed", { cause });
  return askUntil({ watch, gone }, options.signal, (signal) => bus.ask(operation, {}, request, { ...options, signal }));
}
