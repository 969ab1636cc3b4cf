/**
 * Ids for rows of collections that make their own keys: reserved before an insert is sent, so that a repetition gives
 * its rows the same ids, and they are stored once.
 */

/**
 * Large enough to ask the database only now and then; ids left over when the client closes are lost, which does not
 * matter.
 */
const RESERVE_IDS = 10_000;

export class IdReserve {
  readonly #fetch: (count: number) => Promise<number>;
  /** By collection; false is looked up again after an unanswered insert: the collection may be another one by now. */
  readonly #autoId = new Map<string, boolean>();
  #next = 0;
  #end = 0;
  #fetching: Promise<void> | undefined;

  /** fetch: reserves consecutive ids, answers the first. */
  constructor(fetch: (count: number) => Promise<number>) {
    this.#fetch = fetch;
  }

  /** The first of count consecutive ids. */
  async take(count: number): Promise<number> {
    if (count > RESERVE_IDS) return this.#fetch(count);
    while (this.#next + count > this.#end) {
      this.#fetching ??= this.#refill().finally(() => {
        this.#fetching = undefined;
      });
      await this.#fetching;
    }
    this.#next += count;
    return this.#next - count;
  }

  /** look: undefined when there is no such collection. */
  async isAutoId(collectionName: string, look: () => Promise<boolean | undefined>): Promise<boolean> {
    const autoId = this.#autoId.get(collectionName) ?? (await look());
    if (autoId !== undefined) this.#autoId.set(collectionName, autoId);
    return autoId ?? false;
  }

  forget(collectionName: string): void {
    this.#autoId.delete(collectionName);
  }

  async #refill(): Promise<void> {
    this.#next = await this.#fetch(RESERVE_IDS);
    this.#end = this.#next + RESERVE_IDS;
  }
}
