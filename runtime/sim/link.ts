/**
 * Connections of simulated processes to the simulated server: what is sent arrives in order (by publisher and subject),
 * after a while, or not at all.
 *
 * A link that is cut in one direction holds what is sent, as TCP does. When it is mended soon, everything arrives late;
 * after some seconds the client gives the connection up and dials again: what it was waiting for is lost then, though
 * part of what it had sent may still reach the server, even later.
 */
import type { Process } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";
import type { Split } from "./split.ts";
import type { Tally } from "./tally.ts";

export interface Weather {
  /** Usual time of one way, milliseconds. */
  delayMs: number;
  /** Probability of a delay that is far longer than usual, up to `tailMs`. */
  tailChance: number;
  tailMs: number;
  /** Probability that a request to a store, or its answer, is lost, though the connection stays: a server that hangs. */
  lossChance: number;
}

export const FAIR_WEATHER: Weather = { delayMs: 0.4, tailChance: 0, tailMs: 0, lossChance: 0 };

export interface ServerSettings {
  walChannels: number;
  /** Of one channel. */
  logBytesMax: number;
  messageBytesMax: number;
  /** A cluster of servers: streams check message ids before expectations, and the servers may be apart. */
  isReplicated: boolean;
  /** Factor on what takes seconds outside the product (time-outs of connections and requests, elections, restarts), so that it fits a short run. */
  haste: number;
}

/** The server process, as connections see it. */
export interface ServerState {
  readonly scheduler: Scheduler;
  readonly seeded: Seeded;
  isUp: boolean;
  weather: Weather;
  /** While the servers are apart. */
  split: Split | undefined;
  readonly settings: ServerSettings;
  /** How often what happened that the product has to bear. */
  readonly tally: Tally;
  /** A planted bug: a message is delivered as another one. */
  rewriteMessage: ((subject: string, data: Uint8Array) => Uint8Array) | undefined;
}

interface Held {
  label: string;
  key: string | null;
  fn: () => void;
}

/** A client that hears nothing gives up after two pings of 2 s, or a little later. */
const PING_TIMEOUT_MS = [4_000, 6_000] as const;
/** The server's pings are 5 s apart, and it allows for two or three. */
const SERVER_PING_TIMEOUT_MS = [10_000, 15_000] as const;
const RECONNECT_MS = [250, 350] as const;

/** The key of messages that overtake nothing. */
export const FLUSH_KEY = "flush";

export class Link {
  readonly process: Process;
  readonly #server: ServerState;
  readonly #name: string;
  #isConnected: boolean = true;
  /** Whether the server still takes this connection for open. */
  #isServerSideOpen: boolean = true;
  /** Counts connections: what belongs to an earlier one is lost. */
  #connection = 1;
  #isCutOut: boolean = false;
  #isCutIn: boolean = false;
  #heldOut: Held[] = [];
  #heldIn: (Held & { connection: number })[] = [];
  #lastOut = new Map<string, number>();
  #lastIn = new Map<string, number>();
  #latestIn = 0;
  readonly #onChange: ((isConnected: boolean) => void)[] = [];
  readonly #onServerSideClose: (() => void)[] = [];

  constructor(server: ServerState, process: Process, name: string) {
    this.#server = server;
    this.process = process;
    this.#name = name;
    process.onDeath(() => {
      this.#isConnected = false;
      // A process that dies leaves a kernel that closes its sockets.
      this.#server.scheduler.after(this.#delay(), null, `${name} closed`, () => this.#closeServerSide());
    });
    process.onFreeze((isFrozen) => {
      if (isFrozen) this.#closeServerSideIfSilent(() => this.process.isFrozen);
    });
    if (!server.isUp) this.#disconnect();
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get connection(): number {
    return this.#connection;
  }

  /** Called in the process when it has lost the connection, and when it has another. */
  onChange(callback: (isConnected: boolean) => void): void {
    this.#onChange.push(callback);
  }

  /** Called at the server when it forgets the connection, with the subscriptions and consumers on it. */
  onServerSideClose(callback: () => void): void {
    this.#onServerSideClose.push(callback);
  }

  /** Has fn run at the server if the message arrives there. Messages of one key arrive in the order of sending; null: in any. */
  send(label: string, key: string | null, fn: () => void, extraMs = 0): void {
    if (!this.process.isAlive) return;
    // Published while disconnected: the next dial throws it away.
    if (!this.#isConnected) {
      this.#lost();
      return;
    }
    if (this.#isCutOut) {
      this.#heldOut.push({ label, key, fn });
      return;
    }
    this.#arrive(label, key, fn, extraMs);
  }

  /** Has fn run in the process if the message arrives there. */
  deliver(label: string, key: string | null, fn: () => void): void {
    if (!this.#server.isUp || !this.#isServerSideOpen || !this.process.isAlive) {
      this.#lost();
      return;
    }
    const connection = this.#connection;
    if (this.#isCutIn) {
      this.#heldIn.push({ label, key, fn, connection });
      return;
    }
    this.#reach(label, key, fn, connection);
  }

  /** The connection breaks, for no reason that the client can know, and is made again. */
  reset(): void {
    if (!this.#isConnected) return;
    this.#disconnect();
    if (this.#server.isUp) this.#dial();
  }

  cut(direction: "out" | "in" | "both"): void {
    if (direction !== "in") this.#isCutOut = true;
    if (direction !== "out") this.#isCutIn = true;
    const connection = this.#connection;
    const isStillCut = () => (this.#isCutOut || this.#isCutIn) && this.#connection === connection;
    this.#server.scheduler.after(this.#between(PING_TIMEOUT_MS), this.process, `${this.#name} ping timeout`, () => {
      if (isStillCut() && this.#isConnected) this.#disconnect();
    });
    this.#closeServerSideIfSilent(isStillCut);
  }

  mend(): void {
    this.#isCutOut = false;
    this.#isCutIn = false;
    const [out, into] = [this.#heldOut.splice(0), this.#heldIn.splice(0)];
    for (const { label, key, fn } of out) this.#arrive(label, key, fn, 0);
    for (const { label, key, fn, connection } of into) {
      if (connection === this.#connection && this.#isConnected) this.#reach(label, key, fn, connection);
    }
    if (!this.#isConnected && this.#server.isUp) this.#dial();
  }

  serverDown(): void {
    this.#heldIn = [];
    this.#heldOut = [];
    this.#closeServerSide();
    this.#server.scheduler.after(this.#delay(), this.process, `${this.#name} reset`, () => {
      if (this.#isConnected) this.#disconnect();
      if (this.#server.isUp) this.#dial();
    });
  }

  serverUp(): void {
    if (!this.#isConnected) this.#dial();
  }

  // -- the client's side

  #disconnect(): void {
    this.#isConnected = false;
    this.#connection++;
    this.#lastIn = new Map();
    this.#heldIn = [];
    // What the kernel had taken may still get through: all of it, or its beginning.
    if (this.#heldOut.length > 0) this.#heldOut.length = this.process.seeded.int(this.#heldOut.length + 1);
    for (const callback of this.#onChange) callback(false);
  }

  #dial(): void {
    this.#server.scheduler.after(this.#between(RECONNECT_MS), this.process, `${this.#name} dials`, () => {
      if (this.#isConnected) return;
      // Tried again when the server is up, or the link mended.
      if (!this.#server.isUp || this.#isCutOut || this.#isCutIn) return;
      this.#closeServerSide();
      this.#connection++;
      this.#isConnected = true;
      this.#isServerSideOpen = true;
      this.#lastOut = new Map();
      for (const callback of this.#onChange) callback(true);
    });
  }

  #reach(label: string, key: string | null, fn: () => void, connection: number): void {
    const { scheduler } = this.#server;
    // What was delivered before an answer to a flush has arrived by then.
    const earliest = key === FLUSH_KEY ? this.#latestIn : 0;
    const at = inOrder(this.#lastIn, key, Math.max(earliest, scheduler.now + this.#delay()));
    if (at > this.#latestIn) this.#latestIn = at;
    scheduler.at(at, this.process, label, () => {
      if (this.#connection === connection && this.#isConnected) fn();
      else this.#lost();
    });
  }

  // -- the server's side

  #arrive(label: string, key: string | null, fn: () => void, extraMs: number): void {
    const { scheduler } = this.#server;
    const at = inOrder(this.#lastOut, key, scheduler.now + this.#delay() + extraMs);
    scheduler.at(at, null, label, () => {
      if (this.#server.isUp) fn();
      else this.#lost();
    });
  }

  #lost(): void {
    this.#server.tally.count("message lost with a connection");
  }

  #closeServerSide(): void {
    if (!this.#isServerSideOpen) return;
    this.#isServerSideOpen = false;
    for (const callback of this.#onServerSideClose) callback();
  }

  #closeServerSideIfSilent(isSilent: () => boolean): void {
    const connection = this.#connection;
    const ms = this.#between(SERVER_PING_TIMEOUT_MS);
    this.#server.scheduler.after(ms, null, `${this.#name} is silent`, () => {
      if (!isSilent() || this.#connection !== connection) return;
      this.#closeServerSide();
      // The client finds it closed when it looks: at once, or when it wakes up.
      this.#server.scheduler.after(this.#delay(), this.process, `${this.#name} found closed`, () => {
        if (this.#connection !== connection || !this.#isConnected) return;
        this.#disconnect();
        this.#dial();
      });
    });
  }

  #delay(): number {
    const { seeded, weather } = this.#server;
    const usual = weather.delayMs * (0.3 + 1.4 * seeded.next()) * this.process.slowness;
    return weather.tailChance > 0 && seeded.chance(weather.tailChance)
      ? usual + seeded.logUniform(1, Math.max(1, weather.tailMs))
      : usual;
  }

  #between([least, most]: readonly [number, number]): number {
    const { seeded, settings } = this.#server;
    return (least + seeded.next() * (most - least)) * settings.haste;
  }
}

/** The time of arrival that keeps messages of one key in order. */
function inOrder(last: Map<string, number>, key: string | null, at: number): number {
  if (key === null) return at;
  const before = last.get(key);
  const time = before === undefined || at > before ? at : before + 0.0001;
  last.set(key, time);
  return time;
}

/** A request to the server that may go unanswered. */
export interface Answered<T> {
  value: T;
}

export interface RequestOptions {
  label: string;
  /** Of the store: requests to it arrive in the order of sending. */
  store: string;
  timeoutMs: number;
  /** Writes wait for a majority of the servers; reads are answered by whoever leads, or believes to. */
  isWrite?: boolean;
  /** A leader that is cut off from the others for longer does not answer. */
  leadsForMs?: number;
}

/**
 * Has `act` run at the server, once or never, and resolves with what it gave; null when no answer came in time, whether
 * it ran or not. isPast: what answers is a leader that was replaced without knowing. Never resolves in a process that has
 * died. A store that throws is a bug of the simulator.
 */
export function request<T>(
  link: Link,
  server: ServerState,
  options: RequestOptions,
  act: (isPast: boolean) => T,
): Promise<Answered<T> | null> {
  const { label, store, timeoutMs, isWrite = false, leadsForMs = Number.POSITIVE_INFINITY } = options;
  const { process } = link;
  return new Promise((resolve) => {
    if (!process.isAlive) return;
    const { scheduler, seeded, tally, weather } = server;
    const { haste } = server.settings;
    const timeout = scheduler.after(timeoutMs * haste, process, "no answer", () => resolve(null), "timer");
    // The crash may come just before the request leaves, or just after.
    const diesAfter = seeded.chance(0.5);
    if (!diesAfter && !process.countStep()) return;
    const isLost = weather.lossChance > 0 && seeded.chance(weather.lossChance);
    const isAnswerLost = weather.lossChance > 0 && seeded.chance(weather.lossChance);
    // A server that hangs answers nobody for a while, but does what it was asked in the end.
    const hangMs =
      weather.lossChance > 0 && seeded.chance(weather.lossChance) ? seeded.logUniform(100, 5_000) * haste : 0;
    const answer = (isPast: boolean) => {
      const value = act(isPast);
      if (isPast) tally.count("stale read");
      if (isAnswerLost) tally.count("answer of a store lost");
      if (isAnswerLost) return;
      link.deliver(label, store, () => {
        timeout[Symbol.dispose]();
        resolve({ value });
      });
    };
    const arrive = () => {
      const { split } = server;
      const reach = split === undefined ? "now" : split.reach(link, store);
      if (reach === "now") answer(false);
      else if (reach === "past" && isWrite) split!.wait(() => answer(false));
      else if (reach === "past" && split!.ageMs <= leadsForMs) answer(true);
    };
    if (isLost) tally.count("request to a store lost");
    else link.send(label, store, arrive, hangMs);
    if (hangMs > 0) tally.count("request to a store late");
    if (diesAfter) process.countStep();
  });
}
