/**
 * Steps of reconciliation, one after the other. What is wrong with one of them (a document that has grown too large, a bug)
 * must not keep the others from their work; what is wrong with the stores is wrong for all.
 */
import { asVdbError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";

/** Runs every step, and notes which failed. @throws VdbError canceled, and what is retriable: that is the stores' */
export async function inTurn(steps: Record<string, () => Promise<void>>, logger: Pick<Logger, "warn">): Promise<void> {
  for (const [step, run] of Object.entries(steps)) {
    try {
      await run();
    } catch (error) {
      if (mustEnd(error)) throw error;
      logger.warn({ step, error: asVdbError(error).message }, "reconciliation step failed, will be repeated");
    }
  }
}

/** Whether what went wrong with one thing would go wrong with the next as well. */
export function mustEnd(error: unknown): boolean {
  const { kind, retriable } = asVdbError(error);
  return kind === "canceled" || retriable;
}
