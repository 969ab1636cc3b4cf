/** A writer whose log takes nothing, or not fast enough: what waits is bounded, and refused as retriable in time. */
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../system-clock.ts";
import {
  deleteOf,
  insertOf,
  noDeadline,
  openResumedWriter,
  readWholeLog,
  timestampSource,
  type WriterSettings,
} from "../testing/log-fixture.ts";
import { TEST_REPLICAS } from "../testing/nats-server.ts";
import { useNats } from "../testing/use-nats.ts";
import { createNatsLog, type NatsLog } from "./nats-log.ts";
import type { AppendOutcome, LogPort } from "./port.ts";
import type { LogWriter } from "./writer.ts";

const nats = useNats();

let log: NatsLog;
let tests = 0;
let timestamps: (count: number) => Promise<bigint>;
beforeEach(async () => {
  log = createNatsLog(nats.connections, { prefix: `t${++tests}`, replicas: TEST_REPLICAS, maxBytes: 1 << 30 });
  await log.ensureChannels(1);
  timestamps = timestampSource();
});

const open = (settings: Partial<WriterSettings>): Promise<LogWriter> =>
  openResumedWriter({ log, term: 1, timestamps, ...settings });

/** The log, which refuses rows and deletes while it is full. */
const logThatIs = (isFull: () => boolean): LogPort => ({
  ...log,
  append: (channel, kind, ...rest) =>
    kind !== "ctl" && isFull()
      ? Promise.resolve<AppendOutcome>({ kind: "refused", error: new Error("the log is full") })
      : log.append(channel, kind, ...rest),
});

describe("a writer", () => {
  test("takes no more than 64 MiB that wait", async () => {
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const writer = await open({ timestamps: (count) => held.then(() => timestamps(count)) });
    const appends: Promise<unknown>[] = [];
    for (let i = 0; i < 8; i++) appends.push(writer.append(insertOf(`r${i}`, 1_000_000), noDeadline()));
    await expect(writer.append(insertOf("more", 1_000_000), noDeadline())).rejects.toMatchObject({
      kind: "rate_limited",
    });
    letGo();
    await Promise.all(appends);
    await writer.append(insertOf("again", 1_000_000), noDeadline());
    await writer.close();
  });

  test("waits while the log refuses, and stores what waits once it does not", async () => {
    let refusals = 3;
    const writer = await open({ log: logThatIs(() => refusals-- > 0) });
    await Promise.all([writer.append(insertOf("a"), noDeadline()), writer.append(deleteOf("b"), noDeadline())]);
    expect(new Set((await readWholeLog(log)).requestIds)).toEqual(new Set(["a", "b"]));
    await writer.close();
  });

  test("refuses what has waited for a full log for a while, long before its time is over, and tries anew what comes later", async () => {
    let isFull = false;
    const writer = await open({ log: logThatIs(() => isFull) });
    // The writer's own fence is stored by now: what waits for that has not been refused by the log.
    await writer.append(insertOf("first"), noDeadline());
    isFull = true;
    const isRefused = (append: Promise<unknown>) =>
      expect(append).rejects.toMatchObject({ kind: "rate_limited", message: expect.stringContaining("full") });
    await Promise.all([
      isRefused(writer.append(insertOf("a"), noDeadline())),
      isRefused(writer.append(deleteOf("b"), noDeadline())),
      // Told while its caller still listens.
      isRefused(writer.append(insertOf("c"), systemClock.monotonic() + 900)),
    ]);
    isFull = false;
    await writer.append(insertOf("d"), noDeadline());
    expect((await readWholeLog(log)).requestIds).toEqual(["first", "d"]);
    await writer.close();
  });
});
