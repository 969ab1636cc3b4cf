/** Connecting, and what a client asks of the server itself. */
import { ROLES } from "../../../../runtime/actor.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { VERSION } from "../../../../runtime/version.ts";
import { type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { dataOf, numberOf } from "./shapes.ts";

/** Of Milvus's versions the one whose behaviour this is: clients choose by it what they send. */
const MILVUS_VERSION = "2.6.17";

interface AnalyzerRequest {
  analyzerParams: string;
  placeholder: Buffer[];
  withDetail: boolean;
  withHash: boolean;
  dbName: string;
  collectionName: string;
  fieldName: string;
  analyzerNames: string[];
}

export const sessionRpcs: Rpc[] = [
  rpc("Connect", async ({ actor }) => ({
    serverInfo: serverInfo(),
    identifier: String(Math.floor(actor.random.next() * 2 ** 48)),
  })),
  rpc("GetVersion", async () => ({ version: MILVUS_VERSION })),
  rpc("CheckHealth", async (front) => {
    const reasons = missingRoles(front).map((role) => `no ${role} node is alive`);
    return { isHealthy: reasons.length === 0, reasons, quotaStates: [] };
  }),
  rpc("GetComponentStates", async (front) => {
    const { actor } = front;
    const nodes = actor.nodes.all().map(({ nodeId, role, isDraining }) => ({
      nodeID: numberOf(nodeId),
      role,
      stateCode: isDraining ? "Stopping" : "Healthy",
    }));
    const stateCode = missingRoles(front).length === 0 ? "Healthy" : "Abnormal";
    return { state: { nodeID: numberOf(actor.nodeId), role: "proxy", stateCode }, subcomponentStates: nodes };
  }),
  rpc("GetMetrics", async (front) => ({
    response: JSON.stringify({ nodes_info: nodesInfo(front) }),
    componentName: "proxy",
  })),
  rpc("RunAnalyzer", async (front, request: AnalyzerRequest, call) => {
    const { analyzerParams, placeholder, withDetail, withHash, dbName, collectionName } = request;
    const body = {
      dbName,
      text: placeholder.map((bytes) => bytes.toString()),
      ...(analyzerParams === "" ? {} : { analyzerParams }),
      ...(collectionName === "" ? {} : { collectionName, fieldName: request.fieldName }),
      ...(request.analyzerNames.length === 0 ? {} : { analyzerNames: request.analyzerNames }),
      withDetail,
      withHash,
    };
    return dataOf<object>(await front.ask(api.runAnalyzer, body, call));
  }),
];

function serverInfo(): Record<string, unknown> {
  return {
    buildTags: MILVUS_VERSION,
    deployMode: "DISTRIBUTED",
    reserved: { product: "vdb-actor", version: VERSION },
  };
}

/** A database without one of these answers nothing. */
function missingRoles({ actor }: GrpcFront): string[] {
  return ROLES.filter((role) => role !== "data" && actor.nodes.ofRole(role).length === 0);
}

/** As Milvus's system_info: its consoles show a node for each. */
function nodesInfo({ actor }: GrpcFront): object[] {
  return actor.nodes.all().map(({ nodeId, role, host, version, startedAt }) => ({
    identifier: numberOf(`${role}.${nodeId}`),
    infos: {
      has_error: false,
      error_reason: "",
      name: `${role}-${nodeId}`,
      hardware_infos: { ip: host },
      system_info: { system_version: version, deploy_mode: "DISTRIBUTED" },
      created_time: new Date(startedAt).toISOString(),
      type: role,
      id: numberOf(nodeId),
    },
    connected: [],
  }));
}
