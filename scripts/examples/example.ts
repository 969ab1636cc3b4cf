/** What the examples share: which database they speak to, and that each can be run by itself or called by a test. */
import { pathToFileURL } from "node:url";
import { MilvusClient } from "@zilliz/milvus2-sdk-node";

const DEFAULT_ADDRESS = "127.0.0.1:19530";

export type Say = (line: string) => void;

/** Runs the example, if its file is what node was started with, against the address in the arguments or the environment. */
export async function runIfMain(
  url: string,
  example: (client: MilvusClient, say: Say) => Promise<unknown>,
): Promise<void> {
  const started = process.argv[1];
  if (started === undefined || pathToFileURL(started).href !== url) return;
  const address = process.argv[2] ?? process.env.MILVUS_ADDRESS ?? DEFAULT_ADDRESS;
  const client = new MilvusClient({ address, logLevel: "error" });
  try {
    await client.connectPromise;
    await example(client, (line) => console.log(line));
  } finally {
    await client.closeConnection();
  }
}

/** Most of the client's requests resolve also when they are refused: the reply's status says so. */
export async function done<Reply extends object>(asked: Promise<Reply>): Promise<Reply> {
  const reply = await asked;
  const { status = reply } = reply as { status?: object };
  const { code, reason } = status as { code?: number; reason?: string };
  if (code !== 0) throw new Error(`refused with code ${code}: ${reason}`);
  return reply;
}
