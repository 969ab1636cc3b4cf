/** pgvector in a PostgreSQL of its own, over its socket: prepared statements, vectors in binary, a B-tree on the scalar. */

import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { PeerData } from "./data-sets.ts";
import { missingPackage, requirePeer } from "./packages.ts";
import { EF_CONSTRUCTION, M, type Peer, type PeerSession } from "./peer.ts";
import { providePostgres, startPostgres } from "./pgvector-server.ts";

interface PgClient {
  connect(): Promise<void>;
  query(text: string): Promise<{ rows: Record<string, unknown>[] }>;
  query(statement: { name: string; text: string; values: unknown[]; rowMode: "array" }): Promise<{ rows: number[][] }>;
  query(stream: NodeJS.WritableStream): NodeJS.WritableStream;
  end(): Promise<void>;
}

interface Pg {
  Client: new (options: { host: string; user: string; database: string }) => PgClient;
}

interface Connection {
  client: PgClient;
  /** The settings that the connection last got. */
  settings: string;
}

/** Connections that copy rows at a time: one for each core. */
const LOADERS = 2;
const COPY_ROWS = 1000;
/** Filters below this bucket are faster by sorting the rows they keep than by hnsw: measured, up to 5 %. */
const FEW = 50;

let version = "";

/**
 * plans: `own` leaves the choice between the two indexes to PostgreSQL, which takes hnsw also where a filter keeps few rows;
 * `exact-for-few` finds those rows by the B-tree and sorts them, as an expert would who knows how few they are.
 */
export function pgvectorPeer(name: string, plans: "own" | "exact-for-few"): Peer {
  return {
    name,
    describe: () =>
      `${version}, local socket, hnsw, iterative scan in strict order, B-tree on the scalar, plans ${plans}, 2 build workers`,
    missing: async () => missingPackage("pg") ?? missingPackage("pg-copy-streams") ?? providePostgres(),
    open: async (data) => openPgvector(data, plans === "own" ? 0 : FEW),
  };
}

/** Filters with a bound of `exactBelow` or less are answered exactly. */
async function openPgvector(data: PeerData, exactBelow: number): Promise<PeerSession> {
  const { Client } = requirePeer<Pg>("pg");
  const server = await startPostgres();
  const all: Connection[] = [];
  const free: Connection[] = [];
  const connect = async (): Promise<Connection> => {
    const client = new Client({ host: server.host, user: "postgres", database: "postgres" });
    await client.connect();
    await client.query("SET hnsw.iterative_scan = strict_order").catch(() => undefined);
    const connection = { client, settings: "" };
    all.push(connection);
    return connection;
  };
  const first = await connect();
  const { client } = first;
  await client.query("CREATE EXTENSION vector");
  version = await readVersion(client);
  // Otherwise 768 dimensions would be stored apart from their row, in pieces.
  const vector = `vector(${data.dimension}) STORAGE PLAIN NOT NULL`;
  await client.query(`CREATE TABLE rows (id int PRIMARY KEY, bucket int NOT NULL, title text NOT NULL, v ${vector})`);
  const [operator, operators] = data.metric === "L2" ? ["<->", "vector_l2_ops"] : ["<=>", "vector_cosine_ops"];
  return {
    filters: true,
    async load() {
      const share = Math.ceil(data.rows / LOADERS);
      const loader = async (i: number) => {
        const connection = await connect();
        await copyRows(connection.client, data, i * share, Math.min(data.rows, (i + 1) * share));
      };
      await Promise.all(Array.from({ length: LOADERS }, (_, i) => loader(i)));
    },
    async buildIndex() {
      await client.query("CREATE INDEX ON rows (bucket)");
      await client.query(
        `CREATE INDEX ON rows USING hnsw (v ${operators}) WITH (m = ${M}, ef_construction = ${EF_CONSTRUCTION})`,
      );
      await client.query("VACUUM ANALYZE rows");
      free.push(...all);
    },
    async search(query, { k, ef, below }) {
      const connection = free.pop() ?? (await connect());
      const isExact = below !== undefined && below <= exactBelow;
      const settings = `SET hnsw.ef_search = ${Math.min(1000, ef)}; SET enable_indexscan = ${isExact ? "off" : "on"}`;
      if (connection.settings !== settings) {
        await connection.client.query(settings);
        connection.settings = settings;
      }
      // The bound is part of the text, so that the plan is made for it.
      const where = below === undefined ? "" : `WHERE bucket < ${below} `;
      const { rows } = await connection.client.query({
        name: `search-${k}-${below ?? "all"}`,
        text: `SELECT id FROM rows ${where}ORDER BY v ${operator} $1::vector LIMIT ${k}`,
        values: [binaryVector(query)],
        rowMode: "array",
      });
      free.push(connection);
      return rows.map(([id]) => id!);
    },
    async addOne(row, vector) {
      await client.query({
        name: "add-one",
        text: "INSERT INTO rows VALUES ($1, 0, 'new', $2::vector)",
        values: [row, binaryVector(vector)],
        rowMode: "array",
      });
    },
    async close() {
      await Promise.all(all.map((connection) => connection.client.end()));
      await server.stop();
    },
  };
}

async function readVersion(client: PgClient): Promise<string> {
  const { rows } = await client.query(
    "SELECT 'pgvector ' || extversion || ', PostgreSQL ' || current_setting('server_version') AS version FROM pg_extension WHERE extname = 'vector'",
  );
  return String(rows[0]?.version).replace(/ \(.*/, "");
}

async function copyRows(client: PgClient, data: PeerData, from: number, to: number): Promise<void> {
  const { from: copyFrom } = requirePeer<{ from(sql: string): NodeJS.WritableStream }>("pg-copy-streams");
  const stream = client.query(copyFrom("COPY rows (id, bucket, title, v) FROM STDIN (FORMAT binary)"));
  await pipeline(Readable.from(copyData(data, from, to)), stream);
}

/** COPY's binary format: a header, rows of counted fields, a trailer. */
function* copyData({ vectors, dimension, buckets, titles }: PeerData, from: number, to: number): Generator<Buffer> {
  yield Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
  for (let start = from; start < to; start += COPY_ROWS) {
    const parts: Buffer[] = [];
    for (let row = start; row < Math.min(to, start + COPY_ROWS); row++) {
      const vector = binaryVector(vectors.subarray(row * dimension, (row + 1) * dimension));
      const fields = [int32(row), int32(buckets[row]!), Buffer.from(titles[row]!.replaceAll("\0", "")), vector];
      parts.push(Buffer.from([0, fields.length]));
      for (const field of fields) parts.push(int32(field.length), field);
    }
    yield Buffer.concat(parts);
  }
  yield Buffer.from([0xff, 0xff]);
}

/** pgvector's wire format: dimension, a reserved word, big-endian floats. */
function binaryVector(vector: Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(4 + 4 * vector.length);
  bytes.writeUInt16BE(vector.length, 0);
  bytes.writeUInt16BE(0, 2);
  for (let i = 0; i < vector.length; i++) bytes.writeFloatBE(vector[i]!, 4 + 4 * i);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}
