/**
 * What an actor is, and what it gets: everything of the outside world comes through its context's ports, so that a
 * simulator can stand behind them.
 */
import type { BlobPort } from "./blob/port.ts";
import type { Bus, Handler, Served } from "./bus/bus.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config/schema.ts";
import type { Draining } from "./draining.ts";
import type { LogPort } from "./log/port.ts";
import type { Logger } from "./logger.ts";
import type { Machine } from "./machine/port.ts";
import type { Catalog } from "./meta/catalog.ts";
import type { LeasePort, MetaPort } from "./meta/port.ts";
import type { Figures } from "./metrics/metrics.ts";
import type { NodeRegistry } from "./node-registry.ts";
import type { Operation, SubjectParams } from "./protocol/operation.ts";
import type { Random } from "./random.ts";
import type { Scope } from "./scope.ts";

export const ROLES = ["proxy", "coordinator", "streaming", "query", "data"] as const;
export type Role = (typeof ROLES)[number];

export interface Ports {
  readonly bus: Bus;
  readonly log: LogPort;
  readonly meta: MetaPort;
  /** The meta store as this node sees it: complete, in order, at most a little late. */
  readonly catalog: Catalog;
  readonly leases: LeasePort;
  /** The nodes that are alive, by their leases. */
  readonly nodes: NodeRegistry;
  readonly blobs: BlobPort;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ActorContext extends Ports {
  /** This process: new with every start, so that nobody takes one life for another. A legal subject token. */
  readonly nodeId: string;
  readonly config: Config;
  /** Whether this node is to leave: what it owns is being moved away, and it takes nothing new. */
  readonly draining: Draining;
  readonly logger: Logger;
  /** Closed when the actor stops or crashes. */
  readonly scope: Scope;
  readonly signal: AbortSignal;
  /** Serves an operation for the actor's lifetime, with a bounded mailbox; shown by `$SRV.STATS`. */
  serve<Subject extends string, Request, Reply>(
    operation: Operation<Subject, Request, Reply>,
    params: SubjectParams<Subject>,
    handler: Handler<Request, Reply>,
    options: { concurrency: number; capacity: number; queue?: string },
  ): Served;
}

export interface Actor {
  /** Resolves when the actor serves. Rejecting counts as a crash. */
  start(): Promise<void>;
  /** Hands over what it owns; called once before the context's scope is closed on a clean stop. */
  drain?(): Promise<void>;
  /** A plain snapshot for its lease, for tests and for status commands. */
  observe(): Record<string, unknown>;
  /** What it knows for metrics, asked when somebody looks. A new life of the actor counts anew. */
  figures?(): Figures;
}

export type ActorFactory = (ctx: ActorContext) => Actor;
