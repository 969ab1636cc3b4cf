/**
 * Following something that only grows at the server: what comes, in order, each once, one handler call at a time, over
 * lost connections and consumers that the server has forgotten.
 */
import type { Link, ServerState } from "./link.ts";

/** A client that hears no heartbeat for so long makes a new consumer, as the real one does. */
const SILENCE_MS = 2_500;

export interface Feed<T> {
  /** Name of the store. */
  label: string;
  /** What comes after a position. Runs at the server. */
  next(after: number): { items: T[]; position: number };
  /** Called back whenever there may be more. Runs at the server. */
  readonly growth: Set<() => void>;
  /** Called to lose all consumers of the feed: a server that died with them. */
  readonly losses: Set<() => void>;
}

export function newFeed<T>(label: string, next: Feed<T>["next"]): Feed<T> {
  return { label, next, growth: new Set(), losses: new Set() };
}

export interface Follower {
  /** Rejects with what the handler threw. */
  readonly failed: Promise<never>;
  /** Resolves once a running handler call has ended; no other follows. */
  stop(): Promise<void>;
}

export interface FollowOptions<T> {
  /** Makes of what was missed while nobody could follow what is delivered; as it is unless given. */
  catchUp?: (missed: T[]) => T[];
  /** Handled as an item is, after what each new consumer has missed. */
  onCaughtUp?: (() => void | Promise<void>) | undefined;
}

/** @param wants what the server sends at all */
export function follow<T>(
  link: Link,
  server: ServerState,
  feed: Feed<T>,
  from: number,
  wants: (item: T) => boolean,
  handle: (item: T) => void | Promise<void>,
  { catchUp = (missed) => missed, onCaughtUp }: FollowOptions<T> = {},
): Follower {
  const { process } = link;
  const queue: (() => void | Promise<void>)[] = [];
  /** Of what entered the queue. */
  let received = from;
  let isStopped = false;
  let isPumping = false;
  let pumped: Promise<void> = Promise.resolve();
  /** Of the newest consumer: what an earlier one sends is ignored. */
  let consumer = 0;
  /** The newest that the server has made. */
  let made = 0;
  let forgetConsumer: () => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);

  const createConsumer = () => {
    if (isStopped) return;
    const mine = ++consumer;
    const after = received;
    link.send(feed.label, feed.label, () => {
      // A request that was overtaken makes a consumer that nobody listens to.
      if (mine < made) return;
      made = mine;
      forgetConsumer();
      let sent = after;
      let isBegun = false;
      const push = () => {
        // What it misses on the far side it gets when the servers are together again.
        if (server.split !== undefined && server.split.reach(link, feed.label) !== "now") return;
        const isFirst = !isBegun;
        isBegun = true;
        const { items: grown, position } = feed.next(sent);
        sent = position;
        const items = grown.filter(wants);
        if (items.length === 0 && !isFirst) return;
        link.deliver(feed.label, feed.label, () => {
          if (mine !== consumer || isStopped) return;
          received = Math.max(received, position);
          for (const item of isFirst ? catchUp(items) : items) queue.push(() => handle(item));
          if (isFirst && onCaughtUp !== undefined) queue.push(onCaughtUp);
          if (!isPumping) pumped = pump();
        });
      };
      const onGrowth = push;
      const onLoss = () => {
        forgetConsumer();
        process.scheduler.after(SILENCE_MS * server.settings.haste, process, `${feed.label} silent`, () => {
          if (mine === consumer) createConsumer();
        });
      };
      feed.growth.add(onGrowth);
      feed.losses.add(onLoss);
      forgetConsumer = () => {
        feed.growth.delete(onGrowth);
        feed.losses.delete(onLoss);
      };
      push();
    });
  };

  const pump = async (): Promise<void> => {
    isPumping = true;
    try {
      while (queue.length > 0 && !isStopped) {
        // A crash may fall between two messages of one packet.
        if (!process.countStep()) return;
        const handling = queue.shift()!();
        if (handling !== undefined) await handling;
      }
    } catch (error) {
      end();
      fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      isPumping = false;
    }
  };

  const end = () => {
    isStopped = true;
    consumer++;
    queue.length = 0;
    forgetConsumer();
  };

  link.onChange((isConnected) => {
    if (isConnected) createConsumer();
  });
  link.onServerSideClose(() => forgetConsumer());
  process.onDeath(end);
  createConsumer();
  return {
    failed,
    async stop() {
      end();
      await pumped;
    },
  };
}
