/**
 * What goes wrong in a run: faults one after the other and at the same time, each for a while, all of the seed's
 * choosing. `stop` heals everything.
 */
import type { VdbClient } from "../../client/client.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import { FAIR_WEATHER, type Weather } from "./link.ts";
import type { Seeded } from "./seeded.ts";

export interface Nemesis {
  /** No more faults; what is broken is mended. */
  stop(): void;
}

export interface NemesisOptions {
  /** Who asks for what makes the cluster move: flushes, compactions, other numbers of replicas. */
  admin: VdbClient;
  collectionName: string;
  /** Whether there is a key to lay rows out by. */
  isClustered: boolean;
}

interface Strike {
  name: string;
  /** Begins it, and returns how it is mended. */
  begin: () => () => void;
  holdMs?: readonly [number, number];
}

/** Between two strikes; times the haste of the run, as is the next. */
const GAP_MS = [100, 6_000] as const;
/** A fault lasts. */
const HOLD_MS = [20, 12_000] as const;
/** Steps (events and calls of a node) until a planned crash: from at once to some seconds away. */
const CRASH_STEPS = [1, 2_000] as const;
const CLOCK_STEP_MS_MAX = 60_000;
/** Until servers that are apart have elected leaders: longer than a leader counts as one that nobody has heard of. */
const ELECTION_MS = [4_000, 8_000] as const;
/** They are apart for less than that, or for longer, so that there are two leaders. */
const APART_MS = [500, 30_000] as const;
const ASKED_MS = 5_000;
/** Of each kind, to be among a run's faults. */
const CHOICE = 0.4;

export function startNemesis(cluster: SimCluster, options: NemesisOptions): Nemesis {
  const { scheduler, server } = cluster;
  const { haste } = server.settings;
  const random = scheduler.random.fork("nemesis");
  const strikes = chooseStrikes(cluster, options, random);
  const mending = new Set<() => void>();
  let isStopped = false;
  server.weather = chooseWeather(random, haste);

  const after = (range: readonly [number, number], what: string, fn: () => void) =>
    scheduler.after(random.logUniform(...range) * haste, null, what, fn);
  const strike = () => {
    if (isStopped) return;
    if (strikes.length > 0) {
      const { name, begin, holdMs = HOLD_MS } = random.pick(strikes);
      scheduler.note(name);
      server.tally.count(name);
      const mend = begin();
      mending.add(mend);
      after(holdMs, `mend ${name}`, () => {
        if (mending.delete(mend)) mend();
      });
    }
    after(GAP_MS, "nemesis", strike);
  };
  after(GAP_MS, "nemesis", strike);
  return {
    stop() {
      isStopped = true;
      server.weather = FAIR_WEATHER;
      for (const mend of mending) mend();
      mending.clear();
    },
  };
}

/** Some kinds of fault, not all: a run that has every kind has little time for any combination. */
function chooseStrikes(
  cluster: SimCluster,
  { admin, collectionName, isClustered }: NemesisOptions,
  random: Seeded,
): Strike[] {
  const { server } = cluster;
  const node = () => random.pick(cluster.nodes);
  const nothing = () => undefined;
  const links = (target: SimNode) => server.linksOf(target.process);
  /** What is asked for may fail like anything else. */
  const asked = (call: Promise<unknown>) => {
    call.catch(() => undefined);
    return nothing;
  };

  const strikes: [name: string, weight: number, begin: Strike["begin"], holdMs?: Strike["holdMs"]][] = [
    [
      "crash",
      3,
      () => {
        node().process.killAfter(random.logUniform(...CRASH_STEPS));
        return nothing;
      },
    ],
    [
      "freeze",
      2,
      () => {
        const { process } = node();
        process.freeze();
        return () => process.thaw();
      },
    ],
    [
      "partition",
      2,
      () => {
        const cut = links(node());
        const direction = random.pick(["both", "both", "in", "out"] as const);
        for (const link of cut) link.cut(direction);
        return () => {
          for (const link of cut) link.mend();
        };
      },
    ],
    [
      "one connection",
      1,
      () => {
        const cut = links(node());
        const link = cut.length === 0 ? undefined : random.pick(cut);
        if (random.chance(0.5)) link?.reset();
        else link?.cut(random.pick(["both", "in", "out"] as const));
        return () => link?.mend();
      },
    ],
    [
      "server",
      1,
      () => {
        server.stop();
        return () => server.start();
      },
    ],
    [
      "stop",
      1,
      () => {
        cluster.stop(node());
        return nothing;
      },
    ],
    [
      "clock",
      1,
      () => {
        const { process } = node();
        process.clockOffsetMs += Math.floor((random.next() - 0.5) * 2 * CLOCK_STEP_MS_MAX);
        return () => {
          if (random.chance(0.5)) process.clockOffsetMs = 0;
        };
      },
    ],
    [
      "slow",
      1,
      () => {
        const { process } = node();
        process.slowness = random.logUniform(5, 200);
        return () => {
          process.slowness = 1;
        };
      },
    ],
    [
      "leases end",
      1,
      () => {
        server.expireLeases();
        return nothing;
      },
    ],
    [
      "consumers lost",
      1,
      () => {
        // Some nodes hear nothing for a while, and others do.
        const share = random.pick([0.2, 0.5, 1]);
        server.loseConsumers(() => random.chance(share));
        return nothing;
      },
    ],
    ["flush", 2, () => asked(admin.flush({ collectionName, timeoutMs: ASKED_MS }))],
    [
      "compact",
      isClustered ? 3 : 1,
      () => {
        const how = isClustered && random.chance(0.7) ? { isClustering: true } : {};
        return asked(admin.compact({ collectionName, ...how, wait: false }));
      },
    ],
    [
      "replicas",
      1,
      () => asked(admin.loadCollection({ collectionName, replicaNumber: 1 + random.int(3), wait: false })),
    ],
  ];
  if (server.settings.isReplicated) {
    strikes.push([
      "servers apart",
      3,
      () => {
        // A process has several connections, to one server or to several.
        const isFar = new Map(cluster.nodes.map(({ process }) => [process, random.chance(0.4)]));
        const isMixed = random.chance(0.3);
        const all = cluster.nodes.flatMap(links);
        const far = new Set(all.filter(({ process }) => (isMixed ? random.chance(0.4) : isFar.get(process))));
        const ledFar = new Set(server.storeNames.filter(() => random.chance(0.5)));
        const [least, most] = ELECTION_MS;
        server.fallApart(far, ledFar, (least + random.next() * (most - least)) * server.settings.haste);
        return () => server.comeTogether();
      },
      APART_MS,
    ]);
  }
  const chosen = strikes.filter(([name]) => random.chance(CHOICE) || (isClustered && name === "compact"));
  return chosen.flatMap(([name, weight, begin, holdMs]) => {
    const strike: Strike = holdMs === undefined ? { name, begin } : { name, begin, holdMs };
    return Array.from({ length: weight }, () => strike);
  });
}

function chooseWeather(random: Seeded, haste: number): Weather {
  if (random.chance(0.4)) return FAIR_WEATHER;
  return {
    delayMs: random.logUniform(0.2, 20),
    tailChance: random.chance(0.5) ? random.logUniform(0.001, 0.05) : 0,
    tailMs: random.logUniform(10, 2_000) * haste,
    lossChance: random.chance(0.5) ? random.logUniform(0.001, 0.05) : 0,
  };
}
