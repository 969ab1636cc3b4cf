/**
 * Creating and opening the streams behind stores. Older servers drop settings that they do not know without a word, and
 * a stream of that name may be somebody else's: what comes back is compared with what was asked for, field by field.
 */
import { JetStreamApiError, type StreamConfig } from "@nats-io/jetstream";
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { JS_CODE, type StreamCalls } from "./stream-calls.ts";

/** Every field given is compared; all others are the server's defaults or the operator's choice. */
export type StreamSettings = Partial<StreamConfig> & { name: string };

/** How long creating or checking a stream may go on: an R3 group needs a leader first (4-9 s after a start). */
const ENSURE_TIMEOUT_MS = 30_000;

/** Absent stores are looked for once a second: this is for the seconds of a cluster's first start. */
const ABSENT_RETRY_MS = 1_000;

/**
 * Creates the stream, or checks the one that is there.
 * @throws VdbError unavailable; not_permitted; unexpected when the stream there differs
 */
export async function ensureStream(calls: StreamCalls, settings: StreamSettings, clock: Clock): Promise<void> {
  const deadlineMs = clock.monotonic() + ENSURE_TIMEOUT_MS;
  let config = await readConfig(calls, deadlineMs);
  if (config === null) {
    await create(calls, settings, deadlineMs);
    config = await readConfig(calls, deadlineMs);
    if (config === null) throw new VdbError("unavailable", `stream ${settings.name} vanished after it was created`);
  }
  compareSettings(config, settings);
}

/**
 * Waits until the stream exists and checks it.
 * @throws VdbError not_ready when it does not exist by the (monotonic) deadline; unexpected when it differs; canceled
 */
export async function openStream(
  calls: StreamCalls,
  settings: StreamSettings,
  options: { clock: Clock; deadlineMs: number; signal?: AbortSignal | undefined },
): Promise<void> {
  const { clock, deadlineMs, signal } = options;
  for (;;) {
    const config = await readConfig(calls, deadlineMs);
    if (config !== null) return compareSettings(config, settings);
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

async function create(calls: StreamCalls, settings: StreamSettings, deadlineMs: number): Promise<void> {
  await calls.retrying("creation", deadlineMs, async (jsm) => {
    try {
      await jsm.streams.add(settings);
    } catch (error) {
      // Somebody else created it meanwhile, with other settings: the comparison that follows says which.
      if (error instanceof JetStreamApiError && error.code === JS_CODE.streamNameInUse) return;
      throw error;
    }
  });
}

function compareSettings(actual: StreamConfig, wanted: StreamSettings): void {
  const differences: string[] = [];
  for (const [field, value] of Object.entries(wanted)) {
    const found = actual[field as keyof StreamConfig];
    // The server leaves false and zero out of its answers.
    if (JSON.stringify(found ?? null) === JSON.stringify(value) || (!found && !value)) continue;
    differences.push(`${field} is ${JSON.stringify(found ?? null)}, expected ${JSON.stringify(value)}`);
  }
  if (differences.length === 0) return;
  const advice = "change it with `nats stream edit`, or use another prefix";
  throw new VdbError("unexpected", `stream ${wanted.name} differs: ${differences.join("; ")}; ${advice}`);
}
