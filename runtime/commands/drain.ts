/** `vdb-actor drain`: makes a node ready to be stopped, by having others take over what it owns; `--undo` calls it off. */
import type { Command } from "commander";
import type { Role } from "../actor.ts";
import { Bus } from "../bus/bus.ts";
import { createNatsTransport } from "../bus/nats-transport.ts";
import type { Config } from "../config/schema.ts";
import { hasSuccessor, type Owned } from "../draining.ts";
import { VdbError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { createNatsLeases } from "../meta/nats-lease.ts";
import { connectNats } from "../nats/connect.ts";
import { natsOptions } from "../nats/options.ts";
import { NodeRegistry } from "../node-registry.ts";
import { drainNode, type NodeLease } from "../protocol/node.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions, wholeNumber } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

const STORES_TIMEOUT_MS = 3_000;
const LOOK_MS = 1_000;
const TIMEOUT_SECONDS = 300;

interface DrainOptions extends SettingsOptions {
  undo?: boolean;
  timeout: number;
}

export function addDrainCommand(program: Command): void {
  const command = program
    .command("drain")
    .summary("make a node ready to be stopped")
    .description(
      "Has others take over what a node owns (the lead, log channels, segments, public requests) while it serves on, and " +
        "waits until it owns nothing. It then gets nothing new until it is stopped or the draining is undone. A node that " +
        "gets SIGTERM does the same by itself, but only for as long as node.drainTimeoutMs allows.",
    )
    .argument("<node>", "id of the node, as status shows it, the beginning of it, or HOST:PID")
    .option("--undo", "call draining off: the node takes part again")
    .option("--timeout <seconds>", "how long to wait", wholeNumber("--timeout", 1), TIMEOUT_SECONDS);
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor drain 01J9ZK4Q7M
  vdb-actor drain host-3:4711 --timeout 60
  vdb-actor drain 01J9ZK4Q7M --undo`,
    )
    .action(async (node: string, options: DrainOptions) => {
      const { config } = loadSettings(options);
      await drain(config, node, options);
    });
}

/** @throws UsageError no such node; VdbError unavailable, deadline_exceeded, node_not_found (nobody could take over) */
async function drain(config: Config, name: string, options: { undo?: boolean; timeout: number }): Promise<void> {
  const { prefix } = config.nats;
  const given = natsOptions(config, "vdb-drain");
  const connections = await connectNats(given);
  const nodes = new NodeRegistry();
  const logger = createLogger({ level: "silent" });
  const transport = createNatsTransport(connections.requests, given.inboxPrefix, logger);
  const bus = new Bus({ transport, clock: systemClock, logger, prefix });
  try {
    const leases = createNatsLeases(connections.control, { prefix, clock: systemClock, random: systemRandom });
    await leases.open({ deadlineMs: systemClock.monotonic() + STORES_TIMEOUT_MS });
    await nodes.start(leases);
    const { nodeId, roles } = findNode(nodes.all(), name);
    const ask = (isDraining: boolean | null) => bus.ask(drainNode, { nodeId }, { isDraining });
    if (options.undo === true) {
      await ask(false);
      console.log(`${nodeId} takes part again`);
      return;
    }
    const alone = roles.filter((role) => !hasSuccessor(nodeId, role, nodes));
    if (alone.length > 0) {
      throw new VdbError(
        "node_not_found",
        `nobody could take over from ${nodeId}: start another ${alone.join(", ")} first`,
      );
    }
    await ask(true);
    await untilEmpty(nodeId, options.timeout, async () => (await ask(null)).owned);
  } finally {
    bus.close();
    await nodes.close();
    await connections.close();
  }
}

async function untilEmpty(nodeId: string, timeoutSeconds: number, look: () => Promise<Owned>): Promise<void> {
  const deadline = systemClock.monotonic() + timeoutSeconds * 1_000;
  for (let told = ""; ; ) {
    const left = describeOwned(await look());
    if (left === "") break;
    if (left !== told) console.log(`${nodeId} still has ${left}`);
    told = left;
    if (systemClock.monotonic() + LOOK_MS > deadline) {
      throw new VdbError(
        "deadline_exceeded",
        `${nodeId} still has ${left} after ${timeoutSeconds} s; it goes on draining (drain it again to wait, or --undo)`,
      );
    }
    await systemClock.sleep(LOOK_MS);
  }
  console.log(`${nodeId} owns nothing any more: it can be stopped`);
}

const WORDS: Record<keyof Owned, string> = {
  leads: "the lead",
  channels: "channels",
  segments: "segments",
  jobs: "jobs",
  requests: "requests",
};

function describeOwned(owned: Owned): string {
  return (Object.keys(WORDS) as (keyof Owned)[])
    .filter((kind) => owned[kind] > 0)
    .map((kind) => (kind === "leads" ? WORDS.leads : `${owned[kind]} ${WORDS[kind]}`))
    .join(", ");
}

/** By id, by the beginning of an id that only one has, or as HOST:PID. @throws UsageError */
function findNode(leases: readonly NodeLease[], name: string): { nodeId: string; roles: Role[] } {
  const matches = (lease: NodeLease) => lease.nodeId.startsWith(name) || `${lease.host}:${lease.pid}` === name;
  const exact = leases.filter(({ nodeId }) => nodeId === name);
  const found = exact.length > 0 ? exact : leases.filter(matches);
  const ids = [...new Set(found.map(({ nodeId }) => nodeId))];
  if (ids.length === 0) throw new UsageError(`no live node is called ${JSON.stringify(name)}: see vdb-actor status`);
  if (ids.length > 1) throw new UsageError(`${JSON.stringify(name)} is the beginning of several: ${ids.join(", ")}`);
  return { nodeId: ids[0]!, roles: found.map(({ role }) => role as Role) };
}
