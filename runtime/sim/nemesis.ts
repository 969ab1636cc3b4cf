/**
 * What goes wrong in a run: faults one after the other and at the same time, each for a while, all of the seed's
 * choosing. `stop` heals everything.
 */
import type { SimCluster, SimNode } from "./cluster.ts";
import { FAIR_WEATHER, type Weather } from "./link.ts";
import type { Seeded } from "./seeded.ts";

export interface Nemesis {
  /** No more faults; what is broken is mended. */
  stop(): void;
}

type Strike = () => { name: string; mend: () => void };

/** Between two strikes. */
const GAP_MS = [100, 6_000] as const;
/** A fault lasts. */
const HOLD_MS = [20, 12_000] as const;
/** Steps (events and calls of a node) until a planned crash: from at once to some seconds away. */
const CRASH_STEPS = [1, 3_000] as const;
const CLOCK_STEP_MS_MAX = 60_000;

export function startNemesis(cluster: SimCluster): Nemesis {
  const { scheduler, server } = cluster;
  const random = scheduler.random.fork("nemesis");
  const strikes = chooseStrikes(cluster, random);
  const mending = new Set<() => void>();
  let isStopped = false;
  server.weather = chooseWeather(random);

  const strike = () => {
    if (isStopped) return;
    if (strikes.length > 0) {
      const { name, mend } = random.pick(strikes)();
      scheduler.note(name);
      mending.add(mend);
      scheduler.after(random.logUniform(...HOLD_MS), null, `mend ${name}`, () => {
        if (mending.delete(mend)) mend();
      });
    }
    scheduler.after(random.logUniform(...GAP_MS), null, "nemesis", strike);
  };
  scheduler.after(random.logUniform(...GAP_MS), null, "nemesis", strike);
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
function chooseStrikes(cluster: SimCluster, random: Seeded): Strike[] {
  const { server, scheduler } = cluster;
  const node = () => random.pick(cluster.nodes);
  const nothing = () => undefined;
  const links = (target: SimNode) => server.linksOf(target.process);
  const strikes: [name: string, weight: number, strike: Strike][] = [
    [
      "crash",
      3,
      () => {
        const target = node();
        target.process.killAfter(random.logUniform(...CRASH_STEPS));
        return { name: `crash ${target.name}`, mend: nothing };
      },
    ],
    [
      "freeze",
      2,
      () => {
        const { process, name } = node();
        process.freeze();
        return { name: `freeze ${name}`, mend: () => process.thaw() };
      },
    ],
    [
      "partition",
      2,
      () => {
        const target = node();
        const cut = links(target);
        const direction = random.pick(["both", "both", "in", "out"] as const);
        for (const link of cut) link.cut(direction);
        return {
          name: `cut ${target.name} ${direction}`,
          mend: () => {
            for (const link of cut) link.mend();
          },
        };
      },
    ],
    [
      "one connection",
      1,
      () => {
        const target = node();
        const cut = links(target);
        const link = cut.length === 0 ? undefined : random.pick(cut);
        if (random.chance(0.5)) link?.reset();
        else link?.cut(random.pick(["both", "in", "out"] as const));
        return { name: `cut one of ${target.name}`, mend: () => link?.mend() };
      },
    ],
    [
      "server",
      1,
      () => {
        server.stop();
        return { name: "server stops", mend: () => server.start() };
      },
    ],
    [
      "stop",
      1,
      () => {
        const target = node();
        cluster.stop(target);
        return { name: `stop ${target.name}`, mend: nothing };
      },
    ],
    [
      "clock",
      1,
      () => {
        const { process, name } = node();
        process.clockOffsetMs += Math.floor((random.next() - 0.5) * 2 * CLOCK_STEP_MS_MAX);
        return {
          name: `clock of ${name}`,
          mend: () => {
            if (random.chance(0.5)) process.clockOffsetMs = 0;
          },
        };
      },
    ],
    [
      "slow",
      1,
      () => {
        const { process, name } = node();
        process.slowness = random.logUniform(5, 200);
        return {
          name: `slow ${name}`,
          mend: () => {
            process.slowness = 1;
          },
        };
      },
    ],
    [
      "leases",
      1,
      () => {
        server.expireLeases();
        return { name: "leases end", mend: nothing };
      },
    ],
    [
      "consumers",
      1,
      () => {
        server.loseConsumers();
        return { name: "consumers lost", mend: nothing };
      },
    ],
  ];
  void scheduler;
  const chosen = strikes.filter(() => random.chance(0.4));
  return chosen.flatMap(([, weight, strike]) => Array.from({ length: weight }, () => strike));
}

function chooseWeather(random: Seeded): Weather {
  if (random.chance(0.4)) return FAIR_WEATHER;
  return {
    delayMs: random.logUniform(0.2, 20),
    tailChance: random.chance(0.5) ? random.logUniform(0.001, 0.05) : 0,
    tailMs: random.logUniform(10, 2_000),
    lossChance: random.chance(0.5) ? random.logUniform(0.0005, 0.02) : 0,
  };
}
