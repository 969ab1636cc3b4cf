/**
 * Data node: does the jobs that the coordinator gives out. Native work runs in a child process each, so that a crash
 * costs a job, not a node.
 *
 * Owns     nothing that outlives a job: a job's files are its own, its result counts when the coordinator enters it
 * Serves   data.build-index
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import * as data from "../runtime/protocol/data.ts";
import { buildSegmentIndex } from "./datanode/build-segment-index.ts";

type Built = Awaited<ReturnType<typeof buildSegmentIndex>>;

export class DataActor implements Actor {
  readonly #ctx: ActorContext;
  readonly #running = new Map<string, Promise<Built>>();
  #finished = 0;

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
  }

  async start(): Promise<void> {
    const { config, nodeId } = this.#ctx;
    this.#ctx.serve(data.buildIndex, { nodeId }, (job) => this.#build(job), {
      concurrency: config.data.concurrentJobs,
      capacity: 64,
    });
  }

  observe(): Record<string, unknown> {
    return { runningJobs: this.#running.size, finishedJobs: this.#finished };
  }

  /** Asked twice for the same job in the same epoch, it runs once. */
  async #build(job: data.BuildIndex): Promise<Built> {
    const key = `${job.epoch}/${job.segmentId}/${job.fieldId}/${job.indexId}`;
    let running = this.#running.get(key);
    if (running === undefined) {
      running = buildSegmentIndex(this.#ctx, job).finally(() => {
        this.#running.delete(key);
        this.#finished++;
      });
      this.#running.set(key, running);
    }
    return running;
  }
}
