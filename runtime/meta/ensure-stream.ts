/**
 * Creating and opening the streams behind stores. Older servers drop settings that they do not know without a word, and
 * a stream of that name may be somebody else's: what comes back is compared with what was asked for, field by field.
 */
import { JetStreamApiError, type StreamConfig } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import { JS_CODE, type StreamCalls } from "./stream-calls.ts";

/** Every field given is compared; all others are the server's defaults or the operator's choice. */
export type StreamSettings = Partial<StreamConfig> & { name: string };

/** How long creating or checking a stream may go on: an R3 group needs a leader first (4-9 s after a start). */
const ENSURE_TIMEOUT_MS = 30_000;

/** Absent stores are looked for once a second: this is for the seconds of a cluster's first start. */
const ABSENT_RETRY_MS = 1_000;

/**
 * Creates the stream with `settings`, `added` and `initial`, or checks the settings of the one that is there; what is
 * initial, its operator may have changed since. A stream with fewer replicas gets more of them, and what is added if it was
 * made before that was, while it is used.
 * @returns what the stream has: without what is added where this user may not change it
 * @throws VdbError unavailable; not_permitted; unexpected when the stream there differs, or has more replicas
 */
export async function ensureStream(
  calls: StreamCalls,
  settings: StreamSettings,
  options: { replicas: number; initial?: Partial<StreamConfig>; added?: Partial<StreamConfig>; clock: Clock },
): Promise<StreamConfig> {
  const { replicas, initial = {}, added = {}, clock } = options;
  const deadlineMs = clock.monotonic() + ENSURE_TIMEOUT_MS;
  let config = await readConfig(calls, deadlineMs);
  if (config === null) {
    await create(calls, { ...initial, ...added, ...settings, num_replicas: replicas }, deadlineMs);
    config = await readConfig(calls, deadlineMs);
    if (config === null) throw new VdbError("unavailable", `stream ${settings.name} vanished after it was created`);
  }
  compareSettings(config, settings);
  if (config.num_replicas !== replicas) await changeReplicas(calls, config.num_replicas, replicas, deadlineMs);
  return differences(config, added).length === 0 ? config : await add(calls, config, added, deadlineMs);
}

/**
 * Waits until the stream exists and checks it.
 * @throws VdbError not_ready when it does not exist by the (monotonic) deadline; unexpected when it differs; canceled
 */
export async function openStream(
  calls: StreamCalls,
  settings: StreamSettings,
  options: { clock: Clock; deadlineMs: number; signal?: AbortSignal | undefined },
): Promise<StreamConfig> {
  const { clock, deadlineMs, signal } = options;
  for (;;) {
    const config = await readConfig(calls, deadlineMs);
    if (config !== null) {
      compareSettings(config, settings);
      return config;
    }
    if (clock.monotonic() >= deadlineMs) {
      const advice = "start a coordinator for this prefix (it creates the stores), or check the configured prefix";
      throw new VdbError("not_ready", `stream ${settings.name} does not exist on this NATS server: ${advice}`);
    }
    await clock.sleep(ABSENT_RETRY_MS, signal);
  }
}

async function readConfig(calls: StreamCalls, deadlineMs: number): Promise<StreamConfig | null> {
  return await calls.retrying("status", deadlineMs, async (jsm) => {
    try {
      const info = await jsm.streams.info(calls.stream);
      return info.config;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JS_CODE.streamNotFound) return null;
      throw error;
    }
  });
}

async function create(calls: StreamCalls, config: StreamSettings, deadlineMs: number): Promise<void> {
  await calls.retrying("creation", deadlineMs, async (jsm) => {
    try {
      await jsm.streams.add(config);
    } catch (error) {
      // Somebody else created it meanwhile, with other settings: the comparison that follows says which.
      if (error instanceof JetStreamApiError && error.code === JS_CODE.streamNameInUse) return;
      throw explained(error, config.num_replicas ?? 1);
    }
  });
}

async function add(
  calls: StreamCalls,
  config: StreamConfig,
  added: Partial<StreamConfig>,
  deadlineMs: number,
): Promise<StreamConfig> {
  try {
    return await calls.retrying("a new setting", deadlineMs, async (jsm) => {
      const info = await jsm.streams.update(calls.stream, added);
      return info.config;
    });
  } catch (error) {
    if (isVdbError(error, "not_permitted")) return config;
    throw error;
  }
}

/**
 * Up only: the server copies what is there to the new members before they count, and goes on meanwhile. Down would take
 * away what somebody has decided on; a node that was not told of the replicas must not undo them.
 */
async function changeReplicas(calls: StreamCalls, from: number, to: number, deadlineMs: number): Promise<void> {
  const { stream } = calls;
  const command = `nats stream edit ${stream} --replicas=${to}`;
  if (from > to) {
    const message = `stream ${stream} has ${from} replicas, cluster.replicas is ${to}: set that to ${from} on every node`;
    throw new VdbError("unexpected", `${message}, or first give the copies up: ${command}`);
  }
  try {
    await calls.retrying("raising the replicas", deadlineMs, async (jsm) => {
      try {
        await jsm.streams.update(stream, { num_replicas: to });
      } catch (error) {
        throw explained(error, to);
      }
    });
  } catch (error) {
    if (!isVdbError(error, "not_permitted")) throw error;
    const message = `stream ${stream} has ${from} replicas, cluster.replicas is ${to}, and this user may not change streams`;
    throw new VdbError("not_permitted", `${message}; as an administrator: ${command}`, { cause: error });
  }
}

/** What the server says about replicas alone tells nobody which setting is meant. */
function explained(error: unknown, replicas: number): unknown {
  if (!(error instanceof JetStreamApiError) || error.code !== JS_CODE.replicasNotSupported) return error;
  const message = `cluster.replicas is ${replicas}, but this nats-server runs alone: it takes a NATS cluster of ${replicas} or more`;
  return new VdbError("unexpected", `${message}, see docs/operations.md`, { cause: error });
}

function compareSettings(actual: StreamConfig, wanted: StreamSettings): void {
  const found = differences(actual, wanted);
  if (found.length === 0) return;
  const advice = "change it with `nats stream edit`, or use another prefix";
  throw new VdbError("unexpected", `stream ${wanted.name} differs: ${found.join("; ")}; ${advice}`);
}

function differences(actual: StreamConfig, wanted: Partial<StreamConfig>): string[] {
  const all: string[] = [];
  for (const [field, value] of Object.entries(wanted)) {
    const found = actual[field as keyof StreamConfig];
    // The server leaves false and zero out of its answers.
    if (JSON.stringify(found ?? null) === JSON.stringify(value) || (!found && !value)) continue;
    all.push(`${field} is ${JSON.stringify(found ?? null)}, expected ${JSON.stringify(value)}`);
  }
  return all;
}
