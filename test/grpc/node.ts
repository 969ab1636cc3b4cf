/** One process with every role, and clients of its gRPC service. */
import { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { GrpcCaller } from "./call.ts";

export interface GrpcNode extends AsyncDisposable {
  readonly cluster: TestCluster;
  /** Where it listens, as host:port. */
  readonly address: string;
  readonly client: MilvusClient;
  readonly caller: GrpcCaller;
}

export async function startGrpcNode(): Promise<GrpcNode> {
  const cluster = await startTestCluster([ROLES], ["proxy.http=127.0.0.1:0"]);
  const { http: address } = cluster.nodes[0]!.observe().proxy as { http: string };
  const client = new MilvusClient({ address, timeout: 60_000, logLevel: "error" });
  const caller = new GrpcCaller(address);
  const node: GrpcNode = {
    cluster,
    address,
    client,
    caller,
    async [Symbol.asyncDispose]() {
      caller.close();
      await client.closeConnection();
      await cluster[Symbol.asyncDispose]();
    },
  };
  await client.connectPromise;
  return node;
}
