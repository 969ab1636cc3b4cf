/**
 * A cluster of NATS servers that has fallen apart: some connections are on the far side, with fewer servers. No message
 * crosses, and nobody is told. Each store has one leader. A store that is led from the far side takes no writes there any more,
 * and for a while answers reads with what it had; the near side elects another leader of it, which goes on. When both come
 * together before that, what waited on the far side is written after all, late.
 */
import type { Link } from "./link.ts";

/** Which state of a store a request meets. */
export type Reach = "now" | "past" | "nobody";

export interface SplitOptions {
  far: ReadonlySet<Link>;
  /** Names of the stores whose leaders are there. */
  ledFar: ReadonlySet<string>;
  now: () => number;
}

export class Split {
  readonly #options: SplitOptions;
  readonly #since: number;
  #isElected = false;
  #waiting: (() => void)[] = [];

  constructor(options: SplitOptions) {
    this.#options = options;
    this.#since = options.now();
  }

  /** For so many milliseconds. */
  get ageMs(): number {
    return this.#options.now() - this.#since;
  }

  isLedFar(store: string): boolean {
    return this.#options.ledFar.has(store);
  }

  isTogether(a: Link, b: Link): boolean {
    const { far } = this.#options;
    return far.has(a) === far.has(b);
  }

  reach(link: Link, store: string): Reach {
    const isFar = this.#options.far.has(link);
    if (this.isLedFar(store)) return isFar ? "past" : this.#isElected ? "now" : "nobody";
    return isFar ? "nobody" : "now";
  }

  /** Keeps a write that needs a majority. */
  wait(write: () => void): void {
    this.#waiting.push(write);
  }

  /** The near side has leaders of all stores: what the others have not written never will be. */
  elect(): void {
    this.#isElected = true;
    this.#waiting = [];
  }

  /** What is written now that there is a majority. */
  end(): (() => void)[] {
    return this.#waiting.splice(0);
  }
}
