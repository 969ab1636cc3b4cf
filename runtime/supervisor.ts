/**
 * Keeps one actor of a node running: a crashed actor is started again with backoff, in a new scope; one that keeps
 * crashing fails the node.
 */
import type { Actor, ActorContext, ActorFactory, Role } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { asVdbError, errorMessage, isVdbError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import type { Figures } from "./metrics/metrics.ts";
import { Scope } from "./scope.ts";

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5_000;
/**
 * After this many crashes within the window the node gives up, and leaves it to a supervisor above it (systemd,
 * Kubernetes).
 */
const CRASHES_MAX = 8;
const CRASH_WINDOW_MS = 60_000;

export interface SupervisedOptions {
  role: Role;
  factory: ActorFactory;
  /** A context for one life of the actor. */
  newContext: (scope: Scope) => ActorContext;
  clock: Clock;
  logger: Logger;
  /** Called when the actor cannot be kept running. */
  onGivenUp: (error: Error) => void;
}

export class Supervised {
  readonly role: Role;
  readonly #options: SupervisedOptions;
  readonly #crashes: number[] = [];
  #life: { actor: Actor; scope: Scope } | undefined;
  #isStopping = false;
  #restarting: Promise<void> = Promise.resolve();

  constructor(options: SupervisedOptions) {
    this.role = options.role;
    this.#options = options;
  }

  /** Starts the first life. @throws what the actor's start threw: a node that cannot start says so at once */
  async start(): Promise<void> {
    await this.#startLife();
  }

  observe(): Record<string, unknown> {
    return this.#life?.actor.observe() ?? { isRestarting: true };
  }

  figures(): Figures {
    return this.#life?.actor.figures?.() ?? {};
  }

  /** Hands over and stops. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#restarting;
    const life = this.#life;
    if (life === undefined) return;
    await life.actor.drain?.();
    await life.scope.close();
  }

  async #startLife(): Promise<void> {
    const { role, factory, newContext, logger } = this.#options;
    let early: { task: string; error: unknown } | undefined;
    const scope = new Scope((task, error) => {
      if (this.#life === undefined) early ??= { task, error };
      else this.#onCrash(scope, task, error);
    });
    try {
      const actor = factory(newContext(scope));
      await actor.start();
      this.#life = { actor, scope };
    } catch (error) {
      await scope.close().catch(() => undefined);
      throw error;
    }
    logger.debug({ role }, "actor started");
    // A task that failed while the others were being started.
    if (early !== undefined) this.#onCrash(scope, early.task, early.error);
  }

  #onCrash(scope: Scope, task: string, error: unknown): void {
    if (this.#isStopping || this.#life?.scope !== scope) return;
    const { role, logger } = this.#options;
    logger.error({ role, task, err: error }, "actor crashed, starting it again");
    this.#life = undefined;
    this.#restarting = this.#restart(scope, error);
  }

  async #restart(crashed: Scope, cause: unknown): Promise<void> {
    const { clock, logger, onGivenUp, role } = this.#options;
    // The scope waits for its tasks, and the crashed one is still unwinding: let it.
    await clock.sleep(0);
    await crashed.close().catch((error: unknown) => {
      logger.warn({ role, error: errorMessage(error) }, "crashed actor did not stop cleanly");
    });
    for (let attempt = 0; !this.#isStopping; attempt++) {
      const now = clock.monotonic();
      while (this.#crashes[0] !== undefined && now - this.#crashes[0] > CRASH_WINDOW_MS) this.#crashes.shift();
      if (this.#crashes.push(now) > CRASHES_MAX) {
        onGivenUp(asVdbError(cause));
        return;
      }
      await clock.sleep(Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** attempt));
      if (this.#isStopping) return;
      try {
        return await this.#startLife();
      } catch (error) {
        if (isVdbError(error, "canceled")) return;
        logger.error({ role, err: error }, "actor could not be started again");
      }
    }
  }
}
