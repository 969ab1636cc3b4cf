/** Bulk imports of files, as older clients ask for them. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { collectionOf, dataOf, given, type KeyValue, type NamedCollection, pairsOf, recordOf } from "./shapes.ts";

interface ImportRequest extends NamedCollection {
  partitionName: string;
  files: string[];
  options: KeyValue[];
}

/** As jobs/import/describe shows it. */
interface ShownJob {
  jobId: string;
  collectionName: string;
  createTime: string;
  state: string;
  progress: number;
  importedRows: number;
  reason?: string;
  details: { fileName: string }[];
}

const STATES: Readonly<Record<string, string>> = {
  Pending: "ImportPending",
  Importing: "ImportStarted",
  Completed: "ImportCompleted",
  Failed: "ImportFailed",
};

export const importRpcs: Rpc[] = [
  rpc("Import", async (front, request: ImportRequest, call) => {
    const { files } = request;
    const options = recordOf(request.options);
    const body = {
      ...(await collectionOf(front, request, call)),
      partitionName: given(request.partitionName),
      files,
      options,
    };
    const { jobId } = dataOf<{ jobId: string }>(await front.ask(api.createImportJob, body, call));
    return { tasks: [jobId] };
  }),
  rpc("GetImportState", (front, { task }: { task: string }, call) => importState(front, task, call)),
  rpc("ListImportTasks", async (front, request: NamedCollection & { limit: string }, call) => {
    const { dbName, collectionName } = request;
    const reply = await front.ask(api.listImportJobs, { dbName, collectionName: given(collectionName) }, call);
    const { records } = dataOf<{ records: { jobId: string }[] }>(reply);
    const limit = Number(request.limit);
    const tasks: object[] = [];
    for (const { jobId } of limit > 0 ? records.slice(0, limit) : records) {
      tasks.push({ status: {}, ...(await importState(front, jobId, call)) });
    }
    return { tasks };
  }),
];

async function importState(front: GrpcFront, jobId: string, call: GrpcCall): Promise<Record<string, unknown>> {
  const job = dataOf<ShownJob>(await front.ask(api.describeImportJob, { jobId }, call));
  return {
    id: job.jobId,
    state: STATES[job.state],
    rowCount: job.importedRows,
    createTs: Math.floor(Date.parse(job.createTime) / 1000),
    infos: pairsOf({
      collection: job.collectionName,
      files: job.details.map(({ fileName }) => fileName).join(","),
      progress_percent: job.progress,
      ...(job.reason === undefined ? {} : { failed_reason: job.reason }),
    }),
  };
}
