/** How each fault is done to a cluster, and undone. */
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock as clock } from "../../system-clock.ts";
import type { NatsCluster } from "../nats-cluster.ts";
import { corruptObjects } from "./corrupt-objects.ts";
import type { FaultCluster, Place } from "./fault-cluster.ts";
import { fillLog } from "./fill-log.ts";
import type { Fault } from "./schedule.ts";

/** What undoes the fault; resolves when whatever it had to start runs. */
export type Heal = () => Promise<void>;

/** A tenth of the time is left to a slow process. */
const SLOW_STOP_MS = 450;
const SLOW_RUN_MS = 50;

/** Resolves when the fault is in effect (a rolling restart: when it is over). Null: cannot be done here. */
export async function inject(cluster: FaultCluster, fault: Fault): Promise<Heal | null> {
  const { nats } = cluster;
  const place = fault.role === undefined || fault.index === undefined ? null : cluster.placeOf(fault.role, fault.index);
  switch (fault.kind) {
    case "kill":
      await cluster.end(place!, "SIGKILL");
      return () => cluster.start(place!);
    case "freeze":
      cluster.signal(place!, "SIGSTOP");
      return async () => cluster.signal(place!, "SIGCONT");
    case "slow":
      return slowDown(cluster, place!);
    case "clock step":
      await cluster.stepClock(place!, fault.stepMs ?? 0);
      return () => cluster.stepClock(place!, 0);
    case "cache corruption":
      await cluster.end(place!, "SIGKILL");
      await flipCachedFiles(place!);
      return () => cluster.start(place!);
    case "rolling restart":
      for (const each of cluster.places.filter(({ role }) => role === fault.role)) {
        await cluster.end(each, "SIGTERM");
        await cluster.start(each);
      }
      return () => Promise.resolve();
    case "NATS kill":
      await nats.stop("SIGKILL");
      return () => nats.start();
    case "NATS freeze":
      nats.signal("SIGSTOP");
      return async () => nats.signal("SIGCONT");
    case "member kill":
    case "member freeze":
    case "member partition":
    case "member restart":
      return breakMember(nats.members!, fault);
    case "disk full":
      return fillDisk(cluster);
    case "log full":
      return fillLog(nats.servers);
    case "object corruption":
      return corruptObjects(cluster);
  }
}

/** What undoes it resolves when all members are up to date again: a second one may be missing only then. */
async function breakMember(members: NatsCluster, { kind, index = 0 }: Fault): Promise<Heal> {
  const undo: Record<string, () => Promise<void> | void> = {
    "member kill": () => members.start(index),
    "member freeze": () => members.thaw(index),
    "member partition": () => members.mend(index),
  };
  if (kind === "member kill") await members.kill(index);
  else if (kind === "member freeze") members.freeze(index);
  else if (kind === "member partition") members.cut(index);
  else {
    for (let each = 0; each < members.members.length; each++) {
      await members.stop(each);
      await members.start(each);
      await members.settled();
    }
  }
  return async () => {
    await undo[kind]?.();
    await members.settled();
  };
}

function slowDown(cluster: FaultCluster, place: Place): Heal {
  let isOver = false;
  const running = (async () => {
    while (!isOver && place.process.isAlive()) {
      cluster.signal(place, "SIGSTOP");
      await clock.sleep(SLOW_STOP_MS);
      cluster.signal(place, "SIGCONT");
      await clock.sleep(SLOW_RUN_MS);
    }
  })();
  return async () => {
    isOver = true;
    await running;
  };
}

async function fillDisk(cluster: FaultCluster): Promise<Heal | null> {
  const { disk } = cluster;
  if (disk === null) return null;
  await disk.fill();
  return async () => {
    await disk.free();
    // A stream that met a full disk stays as it is until the server starts anew.
    await cluster.nats.stop("SIGTERM");
    await cluster.nats.start();
  };
}

/** One byte in the middle of every cached object of a query node. */
async function flipCachedFiles(place: Place): Promise<void> {
  for (const entry of await readdir(place.folder, { recursive: true, withFileTypes: true })) {
    // The cache names its files by digest.
    if (!entry.isFile() || !/^[0-9a-f]{64}/.test(entry.name)) continue;
    await flipByte(join(entry.parentPath, entry.name));
  }
}

/** @param at offset; the middle when absent */
export async function flipByte(path: string, at?: number): Promise<void> {
  await using file = await open(path, "r+");
  const { size } = await file.stat();
  if (size === 0) return;
  const offset = at ?? Math.floor(size / 2);
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0] = byte[0]! ^ 0x10;
  await file.write(byte, 0, 1, offset);
}

/** The cache of a place whose process is down. */
export async function dropCache(place: Place): Promise<void> {
  await rm(place.folder, { recursive: true, force: true });
}
