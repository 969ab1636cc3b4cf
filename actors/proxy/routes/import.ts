/** /v2/vectordb/jobs/import/…: bulk imports of files. */
import { z } from "zod";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { formatOf, importFailed, uploadedObject } from "../../../runtime/import/names.ts";
import { partitionKeyField } from "../../../runtime/partitions.ts";
import type { ImportOptions } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { askCoordinator, changeCatalog } from "../ask-coordinator.ts";
import { untilOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { databaseName, partitionIdOf, resolveCollection } from "../resolve.ts";
import { RequestIdField, requestIdOf } from "../write-entities.ts";

const { IMPORT_FILES_MAX } = coordinator;

/** Every node has heard of what is longer ago. */
const HEARD_OF_MS = 60_000;

const Option = z.union([z.string(), z.number(), z.boolean()]);

const CreateBody = CollectionBody.extend({
  partitionName: optional(z.string()),
  /** Milvus groups the files of one set of rows; every file here is whole in itself, so groups mean nothing. */
  files: z.array(z.union([z.string(), z.array(z.string())])),
  options: optional(z.record(z.string(), Option)),
  requestId: RequestIdField,
});
const ListBody = z.object({ dbName: optional(z.string()), collectionName: optional(z.string()) });
const JobBody = z.object({ dbName: optional(z.string()), jobId: z.union([z.string().min(1), z.number()]) });

export const importRoutes: Route[] = [
  newestRoute(api.createImportJob, CreateBody, create),
  route(api.listImportJobs, ListBody, list),
  route(api.describeImportJob, JobBody, describe),
  route(api.getImportProgress, JobBody, describe),
];

/** Answers when the job is there, one for each request id; get_progress says when it is done. */
async function create(proxy: ProxyContext, request: z.infer<typeof CreateBody>, call: Call) {
  const { actor } = proxy;
  const requestId = requestIdOf(proxy, request.requestId);
  const files = request.files.flat();
  // First: they say what the files should be.
  const options = optionsOf(request.options ?? {});
  checkFiles(files);
  const collection = await resolveCollection(actor, request, call);
  const partitionId = partitionIdOf(collection, request.partitionName);
  const isByKey = partitionKeyField(collection.schema) !== undefined;
  const { first: jobId } = await askCoordinator(actor, coordinator.allocateIds, { count: 1 }, call);
  const { collectionId } = collection;
  const job = { jobId, collectionId, requestId, files, options, ...(isByKey ? {} : { partitionId }) };
  const made = await changeCatalog(actor, coordinator.createImport, job, call);
  return success({ jobId: String(made.jobId ?? jobId) });
}

async function list({ actor }: ProxyContext, { dbName, collectionName }: z.infer<typeof ListBody>, call: Call) {
  const isNamed = collectionName !== undefined && collectionName !== "";
  const wanted = isNamed ? await resolveCollection(actor, { dbName, collectionName }, call) : undefined;
  const request = wanted === undefined ? {} : { collectionId: wanted.collectionId };
  const { jobs: found, revision } = await askCoordinator(actor, coordinator.getImports, request, call);
  await actor.catalog.cache.waitFor(revision, call.deadline);
  // A database's are its own users' alone.
  const database = databaseName(dbName);
  const jobs =
    wanted === undefined ? found.filter(({ jobId }) => actor.catalog.importJob(jobId)?.database === database) : found;
  for (const job of jobs) await untilRowsAreSeen(actor, job, revision, call);
  const records = jobs.map(({ jobId, collectionName: name, state, progress, reason }) => ({
    jobId: String(jobId),
    collectionName: name,
    state,
    progress,
    ...(reason === "" ? {} : { reason }),
  }));
  return success({ records });
}

async function describe({ actor }: ProxyContext, { jobId: given }: z.infer<typeof JobBody>, call: Call) {
  const jobId = Number(given);
  if (!Number.isSafeInteger(jobId)) throw importFailed(`parse job id failed, jobID=${given}`);
  const { jobs, revision } = await askCoordinator(actor, coordinator.getImports, { jobId }, call);
  await untilRowsAreSeen(actor, jobs[0]!, revision, call);
  return success(describedJob(jobs[0]!));
}

/** Whoever is told that a job is completed finds its rows, whatever node the read comes to. */
async function untilRowsAreSeen(
  actor: ActorContext,
  { collectionId, state, endedAtMs = 0 }: coordinator.ImportState,
  revision: number,
  call: Call,
): Promise<void> {
  if (state !== "Completed" || actor.clock.now() - endedAtMs > HEARD_OF_MS) return;
  await actor.catalog.cache.waitFor(revision, call.deadline);
  await untilOwnersKnow(actor, collectionId, revision, call);
}

function describedJob(job: coordinator.ImportState) {
  const { files, reason } = job;
  const sum = (of: (file: coordinator.ImportState["files"][number]) => number) =>
    files.reduce((total, file) => total + of(file), 0);
  return {
    jobId: String(job.jobId),
    createTime: timeText(job.createdAtMs),
    completeTime: timeText(job.endedAtMs),
    collectionName: job.collectionName,
    state: job.state,
    progress: job.progress,
    importedRows: job.state === "Failed" ? 0 : sum(({ rows }) => rows),
    totalRows: sum(({ rows }) => rows),
    fileSize: sum(({ bytes }) => bytes),
    ...(reason === "" ? {} : { reason }),
    details: files.map((file) => ({
      fileName: file.name,
      fileSize: file.bytes,
      progress: file.progress,
      completeTime: timeText(file.endedAtMs),
      state: file.state,
      importedRows: job.state === "Failed" ? 0 : file.rows,
      totalRows: file.rows,
      ...(file.reason === "" ? {} : { reason: file.reason }),
    })),
  };
}

/** RFC 3339 in UTC, to the second; empty for what has not happened. */
function timeText(ms: number | undefined): string {
  return ms === undefined ? "" : `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** @throws VdbError import_failed */
function checkFiles(files: readonly string[]): void {
  if (files.length === 0) throw importFailed("import request is empty");
  if (files.length > IMPORT_FILES_MAX) {
    throw importFailed(`The max number of import files should not exceed ${IMPORT_FILES_MAX}, but got ${files.length}`);
  }
  for (const name of files) {
    if (uploadedObject(name) === null && name.split(/[\\/]/).includes("..")) {
      throw importFailed(`a path must not lead upwards, files=[${name}]`);
    }
    formatOf(name);
  }
}

const DURATION_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** What Milvus takes beyond these is about its own storage. @throws VdbError import_failed */
function optionsOf(given: Record<string, z.infer<typeof Option>>): ImportOptions {
  const { sep = ",", nullkey = "", timeout } = given;
  for (const name of ["backup", "l0_import"]) {
    if (String(given[name] ?? "false") === "true") throw importFailed(`option ${name} is not supported`);
  }
  const separator = String(sep);
  if (separator.length !== 1 || /["\r\n\0]/.test(separator)) {
    throw importFailed(`unsupported csv separator: ${JSON.stringify(separator)}, it must be one character`);
  }
  const options: ImportOptions = { separator, nullText: String(nullkey) };
  return timeout === undefined ? options : { ...options, timeoutMs: durationMs(String(timeout)) };
}

function durationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const ms = parts.reduce((total, [, count, unit]) => total + Number(count) * DURATION_MS[unit!]!, 0);
  if (parts.map(([part]) => part).join("") === text && ms >= 1) return Math.floor(ms);
  throw importFailed(`parse timeout failed, timeout=${text}: expected a duration such as 300s`);
}
