/**
 * Puts the messages of a keyed stream together again as they were committed: all members of an atomic batch in one
 * group, everything else alone.
 *
 * A batch is whole when its last message has come: every batch of ours ends with the marker key, which every watch follows
 * whatever its filter. If even that was overwritten before it was read, the next message from elsewhere proves that the batch
 * is over, since its members are stored one after the other. So nothing waits for ever.
 */

import type { StreamMessage } from "../nats/stream-tail.ts";
import { BATCH_COMMIT_HEADER, BATCH_ID_HEADER } from "./atomic-batch.ts";

export class BatchGrouping {
  readonly #deliver: (group: StreamMessage[]) => void;
  #open: StreamMessage[] = [];
  #openId = "";

  constructor(deliver: (group: StreamMessage[]) => void) {
    this.#deliver = deliver;
  }

  add(message: StreamMessage): void {
    const batchId = message.headers?.get(BATCH_ID_HEADER) ?? "";
    if (batchId !== this.#openId) this.flush();
    this.#open.push(message);
    this.#openId = batchId;
    const isLast = batchId === "" || message.headers?.get(BATCH_COMMIT_HEADER) !== "";
    if (isLast) this.flush();
  }

  flush(): void {
    const group = this.takeOpen();
    if (group.length > 0) this.#deliver(group);
  }

  /** The members of an incomplete batch. */
  takeOpen(): StreamMessage[] {
    const group = this.#open;
    this.#open = [];
    this.#openId = "";
    return group;
  }
}
