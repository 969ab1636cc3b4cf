/**
 * Which faults strike, whom, and when: a function of the seed alone, so that a failure can be run again. Pure.
 *
 * Every kind of fault on every role comes once, in an order of the seed's, before any comes again. Now and then two
 * strike at the same time.
 */
import type { Role } from "../../actor.ts";

export type FaultKind =
  /** SIGKILL, started again after the hold. */
  | "kill"
  /** SIGSTOP for longer than a lease, then SIGCONT. */
  | "freeze"
  /** SIGSTOP and SIGCONT in turns: a process that gets a tenth of its time, and its sockets with it. */
  | "slow"
  /** The wall clock of one process jumps, and jumps back at the end. */
  | "clock step"
  /** A byte of each file in a query node's cache is flipped while it is down. */
  | "cache corruption"
  /** SIGTERM and a new start of every process of a role, one after the other. */
  | "rolling restart"
  /** SIGKILL of every NATS server at once. */
  | "NATS kill"
  | "NATS freeze"
  /** SIGKILL of one NATS server of three, started again after the hold. */
  | "member kill"
  /** SIGSTOP of one of three, for longer than an election. */
  | "member freeze"
  /** One of three is cut off from the other two, not from its clients. */
  | "member partition"
  /** SIGTERM and a new start of all three, one after the other. */
  | "member restart"
  /** The disk under NATS is full. It is restarted once there is room again. */
  | "disk full"
  /** The streams of the log are at their bound. */
  | "log full"
  /** A byte in the stored messages of the object store is flipped; what was lost is put back at the end. */
  | "object corruption";

export interface Fault {
  kind: FaultKind;
  /** Whom it strikes, where it strikes one process: the role, and which of its processes; or which member of NATS. */
  role?: Role;
  index?: number;
  /** How long it lasts. */
  holdMs: number;
  /** Of a clock step. */
  stepMs?: number;
}

export interface Step {
  /** Two: the second strikes while the first lasts. */
  faults: Fault[];
  /** Quiet time after service is back, before the next step. */
  gapMs: number;
}

/** Processes of each role. */
export const CLUSTER: readonly (readonly [Role, number])[] = [
  ["proxy", 2],
  ["coordinator", 2],
  ["streaming", 2],
  ["query", 3],
  ["data", 2],
];

const ROLES = CLUSTER.map(([role]) => role);

/** NATS servers under the cluster; streams have as many replicas. */
export type NatsServers = 1 | 3;

/** Longer than the lease of a node (3 s, or 10 s on three servers) by far. */
const FREEZE_MS: Record<NatsServers, number> = { 1: 9_000, 3: 18_000 };

/** Longer than the members' election of another leader (4 to 9 s). */
const MEMBER_MS = 12_000;

type Variant = Pick<Fault, "kind" | "role">;

/** Of the processes, whatever NATS they run on. */
const PROCESS_VARIANTS: readonly Variant[] = [
  ...ROLES.map((role) => ({ kind: "kill" as const, role })),
  ...ROLES.map((role) => ({ kind: "freeze" as const, role })),
  ...(["streaming", "query"] as const).map((role) => ({ kind: "slow" as const, role })),
  ...(["coordinator", "streaming"] as const).map((role) => ({ kind: "clock step" as const, role })),
  { kind: "cache corruption", role: "query" },
  ...ROLES.map((role) => ({ kind: "rolling restart" as const, role })),
];

const NATS_VARIANTS: Record<NatsServers, readonly Variant[]> = {
  1: [
    { kind: "NATS kill" },
    { kind: "NATS freeze" },
    { kind: "disk full" },
    { kind: "log full" },
    { kind: "object corruption" },
  ],
  3: [
    { kind: "member kill" },
    { kind: "member freeze" },
    { kind: "member partition" },
    { kind: "member restart" },
    { kind: "NATS kill" },
    { kind: "log full" },
  ],
};

/** What may strike while another fault lasts: those of one process. */
const PAIRABLE: readonly FaultKind[] = ["kill", "freeze", "slow", "member kill", "member freeze", "member partition"];

const PAIR_SHARE = 0.15;

/** Those that strike one member. */
const MEMBER_KINDS: readonly FaultKind[] = ["member kill", "member freeze", "member partition"];

/** An endless schedule. @param random of the seed. @param kinds those wanted; all when absent */
export function* scheduleFaults(
  random: () => number,
  kinds?: readonly FaultKind[],
  natsServers: NatsServers = 1,
): Generator<Step, never> {
  const all = [...PROCESS_VARIANTS, ...NATS_VARIANTS[natsServers]];
  const variants = all.filter(({ kind }) => kinds === undefined || kinds.includes(kind));
  if (variants.length === 0) throw new Error(`no fault is of kind ${kinds?.join(", ")}`);
  for (;;) {
    const bag = shuffled(variants, random);
    for (let next = bag.pop(); next !== undefined; next = bag.pop()) {
      const faults = [faultOf(next, random, natsServers)];
      const canPair = PAIRABLE.includes(next.kind) && random() < PAIR_SHARE;
      const second = canPair ? bag.findIndex(({ kind, role }) => PAIRABLE.includes(kind) && role !== next?.role) : -1;
      if (second >= 0) faults.push(faultOf(bag.splice(second, 1)[0]!, random, natsServers));
      yield { faults, gapMs: 2_000 + Math.floor(random() * 4_000) };
    }
  }
}

function faultOf({ kind, role }: Variant, random: () => number, natsServers: NatsServers): Fault {
  const fault: Fault = { kind, holdMs: holdOf(kind, random, natsServers) };
  if (role !== undefined) fault.role = role;
  if (role !== undefined && kind !== "rolling restart") {
    fault.index = Math.floor(random() * (CLUSTER.find(([name]) => name === role)?.[1] ?? 1));
  }
  if (MEMBER_KINDS.includes(kind)) fault.index = Math.floor(random() * 3);
  if (kind === "clock step") fault.stepMs = (random() < 0.5 ? -1 : 1) * (random() < 0.5 ? 60_000 : 3_600_000);
  return fault;
}

function holdOf(kind: FaultKind, random: () => number, natsServers: NatsServers): number {
  const vary = (ms: number) => Math.floor(ms * (0.75 + random() / 2));
  switch (kind) {
    case "freeze":
    case "slow":
      return vary(FREEZE_MS[natsServers]);
    case "member kill":
    case "member freeze":
    case "member partition":
      return vary(MEMBER_MS);
    case "NATS freeze":
      return vary(6_000);
    case "NATS kill":
      return vary(1_500);
    case "kill":
    case "cache corruption":
      return vary(3_000);
    case "clock step":
    case "disk full":
    case "log full":
    case "object corruption":
      return vary(8_000);
    case "rolling restart":
    case "member restart":
      return 0;
  }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

/** As the report names it: "kill streaming". */
export function nameOf(fault: Fault): string {
  return fault.role === undefined ? fault.kind : `${fault.kind} ${fault.role}`;
}

export function describeFault(fault: Fault): string {
  const who = [fault.role, fault.index].map((part) => (part === undefined ? "" : ` ${part}`)).join("");
  const step = fault.stepMs === undefined ? "" : ` by ${fault.stepMs / 1000} s`;
  const hold = fault.holdMs === 0 ? "" : ` for ${(fault.holdMs / 1000).toFixed(1)} s`;
  return `${fault.kind}${who}${step}${hold}`;
}
