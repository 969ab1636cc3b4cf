/** The simulated NATS server: connections, subjects, and the stores; with what can go wrong with it. */
import type { Clock } from "../clock.ts";
import { FAIR_WEATHER, Link, type ServerState, type Weather } from "./link.ts";
import type { Process } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";
import { BlobStore, createSimBlob, type Files } from "./sim-blob.ts";
import { KeyedStore } from "./sim-keyed.ts";
import { createSimLeases, LeaseStore } from "./sim-leases.ts";
import { createSimLog, LogStream } from "./sim-log.ts";
import { createSimMeta } from "./sim-meta.ts";
import { createSimTransport, Router } from "./sim-transport.ts";

export interface ServerSettings {
  walChannels: number;
  /** Of one channel. */
  logBytesMax: number;
  /** Whether streams check message ids before expectations, as replicated ones do. */
  isReplicated: boolean;
}

const MAX_MESSAGE_BYTES = 1 << 20;

export class SimServer implements ServerState {
  readonly scheduler: Scheduler;
  readonly seeded: Seeded;
  readonly settings: ServerSettings;
  weather: Weather = FAIR_WEATHER;
  isUp = true;
  /** A planted bug: what a server does that does not keep its word. */
  onStop: (() => void) | undefined;
  readonly meta: KeyedStore;
  readonly leases: LeaseStore;
  readonly blobs = new BlobStore();
  readonly streams: LogStream[];
  readonly #router: Router;
  readonly #links: Link[] = [];

  constructor(scheduler: Scheduler, settings: ServerSettings) {
    this.scheduler = scheduler;
    this.settings = settings;
    this.seeded = scheduler.random.fork("server");
    this.meta = new KeyedStore("meta");
    this.leases = new LeaseStore(this);
    this.#router = new Router(this);
    const log = this.#logSettings;
    this.streams = Array.from({ length: settings.walChannels }, (_, channel) => new LogStream(this, channel, log));
  }

  /** The ports of a process, on connections of its own, as a real node has them. */
  connect(process: Process, clock: Clock, files: Files) {
    const transport = createSimTransport(this, this.#router, process, MAX_MESSAGE_BYTES);
    const link = (name: string) => new Link(this, process, `${process.name} ${name}`);
    const [control, wal, bulk] = [link("control"), link("wal"), link("bulk")];
    this.#links.push(transport.link, control, wal, bulk);
    return {
      transport,
      meta: createSimMeta(this.meta, this, control, clock),
      leases: createSimLeases(this.leases, this, control, clock),
      log: createSimLog(this.streams, this, { write: wal, read: bulk }, this.#logSettings),
      blobs: createSimBlob(this.blobs, this, bulk, clock, files),
    };
  }

  /** The connections of a process that lives. */
  linksOf(process: Process): Link[] {
    return this.#links.filter((link) => link.process === process && process.isAlive);
  }

  /** Ends the server; what it has stored stays, and so do leases until their time is over. */
  stop(): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.onStop?.();
    this.scheduler.note("server stops");
    for (const link of this.#links) if (link.process.isAlive) link.serverDown();
  }

  start(): void {
    if (this.isUp) return;
    this.isUp = true;
    for (const link of this.#links) if (link.process.isAlive) link.serverUp();
  }

  /** Forgets the consumers of what is followed: their clients notice the silence. */
  loseConsumers(): void {
    for (const { feed } of [this.meta, this.leases, ...this.streams]) for (const lose of [...feed.losses]) lose();
  }

  /** Ends every lease now, as a server's clock that jumps ahead does. */
  expireLeases(): void {
    for (const key of this.leases.held()) this.leases.end(key);
  }

  get #logSettings() {
    const { logBytesMax: maxBytes, isReplicated } = this.settings;
    return { maxBytes, maxMessageBytes: MAX_MESSAGE_BYTES - 4_096, isReplicated };
  }
}
