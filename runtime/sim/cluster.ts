/**
 * A cluster in this process: nodes that host roles on simulated ports, and clients. A node that ends, by a crash or
 * because it gives up, is started again after a while, as by a supervisor above it: as a new node on the same disk.
 */
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../actor.ts";
import { Bus } from "../bus/bus.ts";
import type { Clock } from "../clock.ts";
import { Config } from "../config/schema.ts";
import { errorMessage } from "../errors.ts";
import { type HostedRoles, hostRoles } from "../host-roles.ts";
import { decodeDoc } from "../protocol/catalog.ts";
import { Scope } from "../scope.ts";
import type { ServerSettings } from "./link.ts";
import { Process, processClock, processRandom } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import { SimServer } from "./server.ts";
import type { Files } from "./sim-blob.ts";
import { createSimLogger, type LogLine } from "./sim-logger.ts";
import { createSimMachine } from "./sim-machine.ts";

/** A place where a node runs; the node on it is a new one after every start. */
export interface SimNode {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly disk: Files;
  /** Lives of it so far. */
  lives: number;
  process: Process;
  hosted: HostedRoles | undefined;
  /** No supervisor starts it again. */
  isDown: boolean;
}

export interface ClusterOptions {
  scheduler: Scheduler;
  nodes: readonly (readonly Role[])[];
  server: ServerSettings;
  /** Sections of the configuration. */
  config: Record<string, Record<string, unknown>>;
  leaseSeconds: number;
  isVerbose: boolean;
  onLog: (line: LogLine) => void;
}

const RESTART_MS = [300, 2_000] as const;
/** What a node that is asked to stop gets until it is killed. */
const STOP_TIMEOUT_MS = 12_000;

export class SimCluster {
  readonly scheduler: Scheduler;
  readonly server: SimServer;
  readonly nodes: SimNode[];
  readonly #options: ClusterOptions;
  readonly #config: Config;
  readonly #readDoc = rememberedDocs();
  #clients = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.scheduler = options.scheduler;
    this.server = new SimServer(options.scheduler, options.server);
    const { config, leaseSeconds, server } = options;
    const parsed = Config.parse({ ...config, cluster: { walChannels: server.walChannels } });
    // It may be shorter than anybody may set it.
    this.#config = { ...parsed, node: { ...parsed.node, leaseSeconds } };
    this.nodes = options.nodes.map((roles, i) => ({
      name: `${roles.map((role) => role[0]).join("")}${i}`,
      roles,
      disk: new Map(),
      lives: 0,
      process: new Process(options.scheduler, "unborn"),
      hosted: undefined,
      isDown: true,
    }));
  }

  /** Starts a node's next life; it goes on by itself. */
  start(node: SimNode): void {
    node.isDown = false;
    node.lives++;
    const name = `${node.name}.${node.lives}`;
    const process = new Process(this.scheduler, name);
    node.process = process;
    node.hosted = undefined;
    process.onDeath(() => this.#restartLater(node, process));
    // In an event of its own, so that it counts as the process's.
    this.scheduler.after(0, process, "start", () => {
      void this.#live(node, process);
    });
  }

  /** In order: what it owns is handed over, then it ends and is started again. */
  stop(node: SimNode): void {
    const { process, hosted } = node;
    if (hosted === undefined || !process.isAlive) return;
    this.scheduler.after(STOP_TIMEOUT_MS * this.server.settings.haste, null, "stop timeout", () => process.kill());
    this.scheduler.after(0, process, "stop", () => {
      void hosted
        .drain()
        .catch(() => undefined)
        .then(() => process.kill());
    });
  }

  /** A client on a connection of its own; it lives as long as the run. */
  connectClient(timeoutMs: number): { client: VdbClient; clock: Clock; process: Process } {
    const process = new Process(this.scheduler, `client${++this.#clients}`);
    const clock = processClock(process);
    const logger = createSimLogger(process.name, this.#options.isVerbose, this.#options.onLog);
    const transport = this.server.connectClient(process);
    const bus = new Bus({ transport, clock, logger, prefix: this.#config.nats.prefix });
    const world = { clock, random: processRandom(process, clock) };
    return { client: VdbClient.inProcess(bus, { timeoutMs, world }), clock, process };
  }

  async #live(node: SimNode, process: Process): Promise<void> {
    const { isVerbose, onLog } = this.#options;
    const clock = processClock(process);
    const random = processRandom(process, clock);
    const logger = createSimLogger(process.name, isVerbose, onLog);
    const { transport, ...stores } = this.server.connect(process, clock, node.disk);
    const machine = createSimMachine(process, clock, stores.blobs, node.disk);
    const scope = new Scope((task, error) => logger.error({ task, err: error }, "node task failed"));
    try {
      const hosted = await hostRoles({
        roles: node.roles,
        nodeId: random.ulid(),
        config: this.#config,
        logger,
        scope,
        transport,
        ports: { ...stores, clock, random, machine },
        readDoc: this.#readDoc,
      });
      node.hosted = hosted;
      const error = await hosted.failed;
      logger.warn({ error: errorMessage(error) }, "node failed");
    } catch (error) {
      logger.warn({ error: errorMessage(error) }, "node could not start");
    }
    process.kill();
  }

  #restartLater(node: SimNode, died: Process): void {
    const [least, most] = RESTART_MS;
    const { seeded, settings } = this.server;
    this.scheduler.after(
      (least + seeded.next() * (most - least)) * settings.haste,
      null,
      `restart ${node.name}`,
      () => {
        if (!node.isDown && node.process === died) this.start(node);
      },
    );
  }
}

/**
 * Every node follows the meta store, and all are sent the same bytes: they are decoded and checked once. Documents are
 * immutable, in a process as between its roles.
 */
function rememberedDocs(): typeof decodeDoc {
  const known = new WeakMap<Uint8Array, unknown>();
  return (key, bytes) => {
    const doc = known.get(bytes) ?? decodeDoc(key, bytes);
    known.set(bytes, doc);
    return doc;
  };
}
