/** The wire of a simulated process: subjects, queue groups, requests that nobody serves; at most once, as NATS is. */

import type { Transport, WireMessage, WireSubscription } from "../bus/port.ts";
import { append } from "../lists.ts";
import { FLUSH_KEY, Link, type ServerState } from "./link.ts";
import type { Process } from "./process.ts";

interface Subscription {
  subject: string;
  queue: string | undefined;
  handler: (message: WireMessage) => void;
  isEnded: boolean;
  link: Link;
}

const INBOX = "_INBOX.";
/** The key of what tells the server of subscriptions: it comes in order. */
const SUBSCRIPTIONS_KEY = "subscriptions";
const NOBODY: readonly Subscription[] = [];

type Routed = Omit<WireMessage, "header" | "noResponders">;

/** The subscriptions that the server knows. */
export class Router {
  readonly #server: ServerState;
  /** By subject; what ends in `.*` (every inbox does) under what stands before the star. */
  readonly #exact = new Map<string, Set<Subscription>>();
  readonly #patterns = new Set<Subscription>();

  constructor(server: ServerState) {
    this.#server = server;
  }

  add(subscription: Subscription): void {
    const key = indexKey(subscription.subject);
    if (key === null) {
      this.#patterns.add(subscription);
      return;
    }
    const known = this.#exact.get(key);
    if (known === undefined) this.#exact.set(key, new Set([subscription]));
    else known.add(subscription);
  }

  remove(subscription: Subscription): void {
    this.#patterns.delete(subscription);
    const key = indexKey(subscription.subject);
    if (key === null) return;
    const known = this.#exact.get(key);
    known?.delete(subscription);
    if (known?.size === 0) this.#exact.delete(key);
  }

  /** Hands a message to every subscriber, and to one member of each queue group. Returns how many there were. */
  route(from: Link, message: Routed, headers: Record<string, string>): number {
    const { subject } = message;
    const below = subject.slice(0, subject.lastIndexOf(".") + 1);
    const matching: Subscription[] = [];
    for (const each of this.#exact.get(subject) ?? NOBODY) matching.push(each);
    for (const each of this.#exact.get(below) ?? NOBODY) matching.push(each);
    for (const each of this.#patterns) if (matches(each.subject, subject)) matching.push(each);
    let groups: Map<string, Subscription[]> | undefined;
    const { isReplicated } = this.#server.settings;
    const { seeded, split, tally, weather } = this.#server;
    let count = 0;
    for (const each of matching) {
      const isApart = split?.isTogether(from, each.link) === false;
      if (isApart) tally.count("message lost between servers");
      if (isApart) continue;
      // A route between two servers that breaks takes with it what is on it, and nobody is told.
      const isLost = isReplicated && weather.lossChance > 0 && seeded.chance(weather.lossChance);
      if (isLost && each.queue === undefined) {
        tally.count("message lost between servers");
        count++;
        continue;
      }
      if (each.queue === undefined) {
        deliver(each, message, headers);
        count++;
        continue;
      }
      groups ??= new Map();
      append(groups, `${each.subject} ${each.queue}`, each);
    }
    for (const members of groups?.values() ?? []) {
      deliver(this.#server.seeded.pick(members), message, headers);
      count++;
    }
    return count;
  }
}

function deliver(to: Subscription, message: Routed, headers: Record<string, string>, noResponders = false): void {
  const { subject, data, reply } = message;
  to.link.deliver(subject, orderKey(subject), () => {
    if (to.isEnded) return;
    to.handler({ subject, data, reply, header: (name) => headers[name] || undefined, noResponders });
  });
}

export function createSimTransport(
  server: ServerState,
  router: Router,
  process: Process,
  maxPayload = 1 << 20,
): Transport & { readonly link: Link } {
  const link = new Link(server, process, `${process.name} requests`);
  const subscriptions = new Set<Subscription>();
  const known = new Set<Subscription>();
  const flushes = new Set<{ reject: (error: Error) => void }>();
  const disconnected: (() => void)[] = [];
  let sentBytes = 0;
  let receivedBytes = 0;
  /** What the server has been told so far, by the order of telling: a flush overtakes nothing. */
  let newest = 0;

  /** What is subscribed to in one turn goes to the server as one packet, as a client sends it. */
  const untold: Subscription[] = [];
  const tellServer = (subscription: Subscription) => {
    if (untold.push(subscription) === 1) void Promise.resolve().then(tellAll);
  };
  const tellAll = () => {
    if (untold.length === 0) return;
    const told = untold.splice(0);
    send("subscriptions", SUBSCRIPTIONS_KEY, () => {
      for (const subscription of told) {
        if (subscription.isEnded) continue;
        router.add(subscription);
        known.add(subscription);
      }
    });
  };
  const untell = (subject: string, fn: () => void) => {
    tellAll();
    send(`unsub ${subject}`, SUBSCRIPTIONS_KEY, fn);
  };
  const forget = (subscription: Subscription) => {
    router.remove(subscription);
    known.delete(subscription);
  };
  /** Resolvers of flushes that wait for what was sent before them. */
  const arrived = new Map<number, true>();
  const waiting: { upTo: number; done: () => void }[] = [];
  const releaseFlushes = () => {
    if (waiting.length === 0) return;
    let first = newest + 1;
    for (const n of arrived.keys()) first = Math.min(first, n);
    for (const each of waiting.filter(({ upTo }) => upTo < first)) {
      waiting.splice(waiting.indexOf(each), 1);
      each.done();
    }
  };
  const send = (label: string, key: string | null, fn: () => void) => {
    const n = ++newest;
    if (!link.isConnected) return;
    arrived.set(n, true);
    link.send(label, key, () => {
      fn();
      arrived.delete(n);
      releaseFlushes();
    });
  };

  link.onServerSideClose(() => {
    for (const each of [...known]) forget(each);
    arrived.clear();
    waiting.length = 0;
  });
  link.onChange((isConnected) => {
    arrived.clear();
    untold.length = 0;
    if (isConnected) for (const each of subscriptions) tellServer(each);
    else {
      for (const flush of flushes) flush.reject(new Error("connection disconnected"));
      flushes.clear();
    }
    for (const callback of disconnected) callback();
  });

  return {
    link,
    inbox: `${INBOX}${process.name}`,
    maxPayload,
    publish(subject, data, options = {}) {
      if (!process.isAlive) return;
      if (data.length > maxPayload) throw new Error(`'payload' max_payload size exceeded`);
      const { reply, headers = {} } = options;
      sentBytes += subject.length + data.length;
      const diesAfter = server.seeded.chance(0.5);
      if (!diesAfter && !process.countStep()) return;
      send(subject, orderKey(subject), () => {
        const message = { subject, data: server.rewriteMessage?.(subject, data) ?? data, reply };
        if (router.route(link, message, headers) > 0 || reply === undefined) return;
        // The server itself answers for those that are not there.
        for (const each of known) {
          if (matches(each.subject, reply)) {
            deliver(each, { subject: reply, data: new Uint8Array(0), reply: undefined }, {}, true);
          }
        }
      });
      if (diesAfter) process.countStep();
    },
    subscribe(subject, handler, options = {}): WireSubscription {
      const subscription: Subscription = {
        subject,
        queue: options.queue,
        handler: (message) => {
          receivedBytes += message.subject.length + message.data.length;
          handler(message);
        },
        isEnded: false,
        link,
      };
      subscriptions.add(subscription);
      if (process.isAlive) tellServer(subscription);
      const end = () => {
        subscription.isEnded = true;
        subscriptions.delete(subscription);
      };
      return {
        unsubscribe() {
          end();
          if (process.isAlive) untell(subject, () => forget(subscription));
        },
        async drain() {
          subscriptions.delete(subscription);
          if (!link.isConnected) {
            end();
            return;
          }
          await new Promise<void>((resolve) => {
            const lost = { reject: () => resolve() };
            flushes.add(lost);
            untell(subject, () => {
              forget(subscription);
              link.deliver(`drained ${subject}`, subject, () => {
                flushes.delete(lost);
                resolve();
              });
            });
          });
          end();
        },
      };
    },
    onDisconnect(callback) {
      disconnected.push(callback);
    },
    flush() {
      return new Promise<void>((resolve, reject) => {
        if (!process.isAlive) return;
        if (!link.isConnected) {
          reject(new Error("connection disconnected"));
          return;
        }
        const flush = { reject };
        flushes.add(flush);
        tellAll();
        const upTo = newest;
        link.send("flush", FLUSH_KEY, () => {
          const done = () =>
            link.deliver("flushed", FLUSH_KEY, () => {
              flushes.delete(flush);
              resolve();
            });
          waiting.push({ upTo, done });
          releaseFlushes();
        });
      });
    },
    traffic: () => ({ sentBytes, receivedBytes }),
  };
}

/** Each answer has a subject of its own, so there is nothing that it must not overtake. */
function orderKey(subject: string): string | null {
  return subject.startsWith(INBOX) ? null : subject;
}

/** Null for what must be compared with every subject. */
function indexKey(subject: string): string | null {
  const stem = subject.endsWith(".*") ? subject.slice(0, -1) : subject;
  return stem.endsWith(">") || stem.includes("*") ? null : stem;
}

/** `*` stands for one token, `>` for one or more at the end. */
export function matches(pattern: string, subject: string): boolean {
  let at = 0;
  for (let i = 0; i < pattern.length; i++) {
    const wanted = pattern.charCodeAt(i);
    if (wanted === REST) return at < subject.length;
    if (wanted === ANY) {
      const from = at;
      while (at < subject.length && subject.charCodeAt(at) !== DOT) at++;
      if (at === from) return false;
    } else if (subject.charCodeAt(at++) !== wanted) return false;
  }
  return at === subject.length;
}

const [ANY, REST, DOT] = [..."*>."].map((char) => char.charCodeAt(0)) as [number, number, number];
