/** The simulated ports keep the contracts that the ports on NATS keep: what runs on the one runs on the other. */
import { afterAll, describe, expect, test } from "vitest";
import { describeBlobs } from "../blob/blob-contract.ts";
import { describeTransport } from "../bus/transport-contract.ts";
import { describeLog } from "../log/log-contract.ts";
import { describeLeases } from "../meta/lease-contract.ts";
import { describeMeta } from "../meta/meta-contract.ts";
import type { MetaOp } from "../meta/port.ts";
import { driveLive } from "./live.ts";
import { Process, processClock, processRandom } from "./process.ts";
import { Scheduler } from "./scheduler.ts";
import { SimServer } from "./server.ts";
import type { Files } from "./sim-blob.ts";

const scheduler = new Scheduler(1);
const driving = driveLive(scheduler);
afterAll(() => driving[Symbol.dispose]());

const clock = processClock(new Process(scheduler, "test"));
let server = newServer();
let processes = 0;
let files: Files = new Map();

function newServer(logBytesMax = 64 << 20, isReplicated = false): SimServer {
  return new SimServer(scheduler, { walChannels: 1, logBytesMax, messageBytesMax: 1 << 20, isReplicated, haste: 1 });
}

/** The ports of a process on a server of its own. */
function open(on = newServer()) {
  server = on;
  files = new Map();
  const process = new Process(scheduler, `p${++processes}`);
  return server.connect(process, processClock(process), files);
}

async function restart(downMs = 100): Promise<void> {
  server.stop();
  await clock.sleep(downMs);
  server.start();
}

for (const isReplicated of [false, true]) {
  describe(`the log of ${isReplicated ? "three servers" : "one server"}`, () => {
    describeLog(() => ({
      open: ({ maxBytes } = {}) => Promise.resolve(open(newServer(maxBytes, isReplicated)).log),
      restart,
    }));
  });
}

describe("the meta store", () => {
  describeMeta(() => ({ open: () => Promise.resolve(open().meta), restart }));
});

describe("leases", () => {
  describeLeases(() => ({ open: () => Promise.resolve(open().leases), restart, clock }));

  test("one that the server ended early leaves the next its whole time", async () => {
    const { leases } = open();
    const value = new Uint8Array(1);
    await leases.acquire("role.node", value, 2);
    server.expireLeases();
    expect(await leases.acquire("role.node", value, 10)).not.toBeNull();
    await clock.sleep(3_000);
    expect(await leases.get("role.node")).not.toBeNull();
  });
});

describe("the object store", () => {
  describeBlobs(() => ({
    open: () => Promise.resolve(open().blobs),
    newPath: () => `file-${++processes}`,
    writeFile: (path, bytes) => {
      files.set(path, bytes);
      return Promise.resolve();
    },
    readFile: (path) => {
      const bytes = files.get(path);
      return bytes === undefined ? Promise.reject(new Error(`no file ${path}`)) : Promise.resolve(bytes);
    },
    breakOffPut: () => {
      server.blobs.orphans.set("halfway", scheduler.wallClock);
      return Promise.resolve();
    },
    damage: (name) => {
      server.blobs.corrupt(name);
      return Promise.resolve();
    },
  }));
});

describe("the transport", () => {
  describeTransport(() => ({
    open: (count) => {
      const on = newServer();
      return Promise.resolve(Array.from({ length: count }, () => open(on).transport));
    },
    restart,
  }));
});

test("ulids repeat with the seed, and sort by the time of their making", async () => {
  const ulids = async (seed: number) => {
    const own = new Scheduler(seed);
    const process = new Process(own, "a");
    const ownClock = processClock(process);
    const random = processRandom(process, ownClock);
    const made: string[] = [];
    await own.run(
      async () => {
        for (let i = 0; i < 20; i++) {
          made.push(random.ulid());
          await ownClock.sleep(2);
        }
      },
      { virtualMs: 1_000, events: 1_000 },
    );
    return made;
  };
  const made = await ulids(7);
  for (let i = 1; i < made.length; i++) expect(made[i]! > made[i - 1]!).toBe(true);
  expect(await ulids(7)).toEqual(made);
  expect(await ulids(8)).not.toEqual(made);
  for (const id of made) expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
});

describe("servers that fall apart", () => {
  const value = new Uint8Array([1]);
  const put = (key: string): MetaOp[] => [{ op: "put", key, value, revision: 0 }];

  /** A node on each side, and the meta store led from the far one. */
  function openApart(electMs: number) {
    const on = newServer(64 << 20, true);
    const join = (name: string) => {
      const process = new Process(scheduler, name);
      return { process, ...on.connect(process, processClock(process), new Map()) };
    };
    const [near, far] = [join("near"), join("far")];
    on.fallApart(new Set(on.linksOf(far.process)), new Set(["meta"]), electMs);
    return { on, near, far };
  }

  test("the far side reads what was, the near side goes on when it has elected, and the far side catches up", async () => {
    const { on, near, far } = openApart(500);
    expect(await near.meta.commit(put("a"))).toBe(1);
    expect(await near.meta.get("a")).not.toBeNull();
    expect(await far.meta.get("a")).toBeNull();
    on.comeTogether();
    expect(await far.meta.get("a")).not.toBeNull();
  });

  test("what the far side could not write is written late, when nobody was elected meanwhile", async () => {
    const { on, far } = openApart(60_000);
    const committed = far.meta.commit(put("a"));
    await clock.sleep(100);
    expect(on.meta.get("a")).toBeNull();
    on.comeTogether();
    expect(await committed).toBe(1);
  });

  test("messages do not cross, and nobody is told", async () => {
    const { on, near, far } = openApart(60_000);
    const got: string[] = [];
    for (const { transport } of [near, far]) transport.subscribe("news", ({ subject }) => got.push(subject));
    await Promise.all([near.transport.flush(), far.transport.flush()]);
    near.transport.publish("news", value);
    await clock.sleep(100);
    expect(got).toEqual(["news"]);
    on.comeTogether();
    near.transport.publish("news", value);
    await clock.sleep(100);
    expect(got).toEqual(["news", "news", "news"]);
  });
});
