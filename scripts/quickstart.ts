/**
 * `npm run quickstart`: a cluster of five processes on a nats-server, real data, an index, searches. Ends by itself with
 * exit code 0; when something fails, says what, shows the ends of the logs, and exits with 1.
 */
import { VdbClient } from "../client/client.ts";
import { errorMessage } from "../runtime/errors.ts";
import { systemClock } from "../runtime/system-clock.ts";
import { startDemoCluster } from "./quickstart/cluster.ts";
import { showTour } from "./quickstart/tour.ts";

/** Everything between the start and the end; measured: 5 s. */
const TOUR_TIMEOUT_MS = 120_000;

const say = (line: string) => console.log(line);
const startedMs = systemClock.monotonic();
const seconds = () => ((systemClock.monotonic() - startedMs) / 1000).toFixed(1);

try {
  await run();
  say(`\ndone in ${seconds()} s. Next: npx vdb-actor dev, a database of your own in ./.vdb`);
  process.exit(0);
} catch (error) {
  console.error(`\nquickstart failed after ${seconds()} s: ${errorMessage(error)}`);
  process.exit(1);
}

async function run(): Promise<void> {
  say("starting a nats-server and five processes: proxy, coordinator, streaming, query, data");
  await using cluster = await startDemoCluster();
  const pids = Object.entries(cluster.pids).map(([name, pid]) => `${name} ${pid}`);
  say(`ready after ${seconds()} s (process ids: ${pids.join(", ")})`);
  const client = await VdbClient.connect({ servers: cluster.natsUrl });
  const isOver = new AbortController();
  try {
    await Promise.race([showTour(client, say), cluster.failed, interrupted(), late(isOver.signal)]);
  } catch (error) {
    throw new Error(`${errorMessage(error)}\n${await cluster.logTails()}`);
  } finally {
    isOver.abort();
    await client.close();
  }
}

function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  });
}

async function late(signal: AbortSignal): Promise<never> {
  await systemClock.sleep(TOUR_TIMEOUT_MS, signal).catch(() => undefined);
  throw new Error(`not done after ${TOUR_TIMEOUT_MS / 1000} s`);
}
