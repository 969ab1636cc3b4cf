/**
 * Creating and opening the streams behind stores. Older servers silently drop settings that they do not know, and a stream of
 * that name may be somebody else's: the result is compared with the request, field by field.
 */
import { JetStreamApiError, type StreamConfig } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { asVdbError, isVdbError, VdbError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { JS_CODE, type StreamCalls } from "./stream-calls.ts";

/** Every field given is compared; all others are the server's defaults or the operator's choice. */
export type StreamSettings = Partial<StreamConfig> & { name: string };

/** How long creating or checking a stream may go on: an R3 group needs a leader first (4-9 s after a start). */
const ENSURE_TIMEOUT_MS = 30_000;

/** How long a start may wait for an optional setting. */
const ADD_TIMEOUT_MS = 5_000;

/** Absent stores are looked for once a second, which matters only during a cluster's first start. */
const ABSENT_RETRY_MS = 1_000;

/**
 * Creates the stream with `settings`, `added` and `initial`, or checks the settings of an existing one; `initial` settings may
 * have been changed by its operator. An existing stream with fewer replicas gets more, and one from an earlier version gets the
 * `added` settings, while it is in use. The replicas are a promise; `added` settings are not, and their absence prevents no
 * start.
 * @returns the stream's settings: without the `added` ones if that failed or is not permitted; the next start tries again
 * @throws VdbError unavailable; not_permitted; unexpected when the stream there differs, or has more replicas
 */
export async function ensureStream(
  calls: StreamCalls,
  settings: StreamSettings,
  options: {
    replicas: number;
    initial?: Partial<StreamConfig>;
    added?: Partial<StreamConfig>;
    clock: Clock;
    logger?: Pick<Logger, "warn">;
  },
): Promise<StreamConfig> {
  const { replicas, initial = {}, added = {}, clock, logger } = options;
  const deadlineMs = clock.monotonic() + ENSURE_TIMEOUT_MS;
  let config = await readConfig(calls, deadlineMs);
  if (config === null) {
    await create(calls, { ...initial, ...added, ...settings, num_replicas: replicas }, deadlineMs);
    config = await readConfig(calls, deadlineMs);
    if (config === null) throw new VdbError("unavailable", `stream ${settings.name} vanished after it was created`);
  }
  compareSettings(config, settings);
  if (config.num_replicas !== replicas) await changeReplicas(calls, config.num_replicas, replicas, deadlineMs);
  if (differences(config, added).length === 0) return config;
  try {
    return await add(calls, added, clock.monotonic() + ADD_TIMEOUT_MS);
  } catch (error) {
    // Where only an administrator may, this is as intended.
    if (!isVdbError(error, "not_permitted")) {
      const fields = { stream: settings.name, added, error: asVdbError(error).message };
      logger?.warn(fields, "stream has not got a new setting, goes on without");
    }
    return config;
  }
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

async function add(calls: StreamCalls, added: Partial<StreamConfig>, deadlineMs: number): Promise<StreamConfig> {
  return await calls.retrying("a new setting", deadlineMs, async (jsm) => {
    const info = await jsm.streams.update(calls.stream, added);
    return info.config;
  });
}

/**
 * Only upwards: the server copies the data to the new members before they count, and serves meanwhile. Lowering would revoke
 * somebody's decision: a node with an old configuration must not do that.
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

/** The server's message about replicas does not tell which setting is meant. */
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
