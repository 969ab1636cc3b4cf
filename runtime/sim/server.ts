/** The simulated NATS server: connections, subjects, and the stores; with what can go wrong with it. */
import type { Transport } from "../bus/port.ts";
import type { Clock } from "../clock.ts";
import { FAIR_WEATHER, Link, type ServerSettings, type ServerState, type Weather } from "./link.ts";
import type { Process } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";
import { BlobStore, createSimBlob, type Files } from "./sim-blob.ts";
import { KeyedStore } from "./sim-keyed.ts";
import { createSimLeases, LeaseStore } from "./sim-leases.ts";
import { createSimLog, LogStream } from "./sim-log.ts";
import { createSimMeta } from "./sim-meta.ts";
import { createSimTransport, Router } from "./sim-transport.ts";
import { Split } from "./split.ts";
import { Tally } from "./tally.ts";

/** Of a message, for what is not its payload. */
const HEADER_BYTES_MAX = 4_096;

export class SimServer implements ServerState {
  readonly scheduler: Scheduler;
  readonly seeded: Seeded;
  readonly settings: ServerSettings;
  readonly tally = new Tally();
  weather: Weather = FAIR_WEATHER;
  isUp = true;
  split: Split | undefined;
  /** A planted bug: what a server does that does not keep its word. */
  onStop: (() => void) | undefined;
  rewriteMessage: ServerState["rewriteMessage"];
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

  /** The wire alone, as a client has it. */
  connectClient(process: Process): Transport {
    const transport = createSimTransport(this, this.#router, process, this.settings.messageBytesMax);
    this.#links.push(transport.link);
    return transport;
  }

  /** The ports of a process, on connections of its own, as a real node has them. */
  connect(process: Process, clock: Clock, files: Files) {
    const transport = this.connectClient(process);
    const link = (name: string) => new Link(this, process, name);
    const [control, wal, bulk] = [link("control"), link("wal"), link("bulk")];
    this.#links.push(control, wal, bulk);
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

  /** Forgets consumers of what is followed, each that is chosen: their clients notice the silence. */
  loseConsumers(isChosen: () => boolean): void {
    for (const { feed } of this.#stores) for (const lose of [...feed.losses]) if (isChosen()) lose();
  }

  /** Takes some connections, and the leaders of some stores, to a far side; after electMs the near side has leaders of all. */
  fallApart(far: ReadonlySet<Link>, ledFar: ReadonlySet<string>, electMs: number): void {
    if (this.split !== undefined) return;
    const split = new Split({ far, ledFar, now: () => this.scheduler.now });
    this.split = split;
    for (const store of this.#stores) if (split.isLedFar(store.feed.label)) store.splitOff();
    this.scheduler.after(electMs, null, "election", () => split.elect());
  }

  comeTogether(): void {
    const { split } = this;
    if (split === undefined) return;
    this.split = undefined;
    for (const write of split.end()) write();
    for (const { feed } of this.#stores) for (const grown of [...feed.growth]) grown();
  }

  get storeNames(): string[] {
    return [...this.#stores.map(({ feed }) => feed.label), "blob"];
  }

  get #stores() {
    return [this.meta, this.leases, ...this.streams];
  }

  /** Ends every lease now, as a server's clock that jumps ahead does. */
  expireLeases(): void {
    for (const key of this.leases.held()) this.leases.end(key);
  }

  get #logSettings() {
    const { logBytesMax: maxBytes, messageBytesMax, isReplicated } = this.settings;
    return { maxBytes, maxMessageBytes: messageBytesMax - HEADER_BYTES_MAX, isReplicated };
  }
}
