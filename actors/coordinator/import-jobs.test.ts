/** What is told of imports. */
import { expect, test } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { type ImportDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { catalogOfDocs } from "../../runtime/testing/catalog-of-docs.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { ImportJobs } from "./import-jobs.ts";
import type { Leadership } from "./leadership.ts";
import type { Window } from "./window.ts";

function jobOf(jobId: number, more: Partial<ImportDoc>): ImportDoc {
  return {
    ...{ jobId, collectionId: 7, database: "default", collectionName: "c", createdAt: 1n, options: {} },
    ...{ state: "Importing", isEntered: false, files: [], reason: "" },
    ...more,
  } as ImportDoc;
}

test("one that waits for query nodes says what for, and no other does", async () => {
  const jobs = [
    jobOf(1, { isEntered: true }),
    jobOf(2, {}),
    jobOf(3, { isEntered: true, state: "Completed" }),
    jobOf(4, { state: "Failed", reason: "a file is damaged" }),
  ];
  const { docs, catalog } = catalogOfDocs();
  for (const job of jobs) docs.set(metaKeys.importJob(job.jobId), job);
  const ctx = {
    clock: new ManualClock(),
    catalog,
    config: { coordinator: { indexRowsMin: 50 } },
  } as unknown as ActorContext;
  const leadership = { epoch: 1, signal: new AbortController().signal } as Leadership;
  const events = { onDone: () => undefined, onProgress: () => undefined };
  const imports = new ImportJobs(ctx, leadership, { timestamps: {} as Window }, events);
  const { jobs: states } = await imports.states({}, (collectionId) => `no room for ${collectionId}`);
  expect(states.map(({ reason }) => reason)).toEqual(["no room for 7", "", "", "a file is damaged"]);
});
