/** Every setting, in one place: name with its unit, default, meaning. Unknown keys are errors. */
import { z } from "zod";
import { ENGINES } from "../ann/create-engine.ts";

const MiB = 1024 * 1024;

/**
 * node.leaseSeconds unless it is set, by cluster.replicas. A replicated stream whose leader died takes no writes for 4 to
 * 8 s, until another is elected: a lease outlasts that, or every such death would depose the coordinator and all nodes.
 */
export const LEASE_SECONDS = { 1: 5, 3: 10, 5: 10 } as const;

export const Config = z.strictObject({
  nats: z
    .strictObject({
      servers: z.string().default("nats://127.0.0.1:4222").describe("NATS servers, comma-separated"),
      user: z.string().default("").describe("user name; empty: no authentication"),
      password: z.string().default("").describe("password of the user (see passwordFile)"),
      passwordFile: z.string().default("").describe("file that holds the password; read at start"),
      tlsCaFile: z
        .string()
        .default("")
        .describe("authorities, PEM, of which the NATS servers' certificates must be; empty: those that Node trusts"),
      tlsCertFile: z
        .string()
        .default("")
        .describe("certificate, PEM, for NATS servers that ask for one. It, tlsCaFile, or a tls:// URL: TLS only"),
      tlsKeyFile: z.string().default("").describe("key of the certificate, PEM"),
      prefix: z
        .string()
        .regex(/^[A-Za-z0-9_-]+$/, "letters, digits, _ and - only")
        .default("vdb")
        .describe("first token of every subject, stream and bucket: clusters with different prefixes share a NATS"),
    })
    .prefault({}),
  cluster: z
    .strictObject({
      walChannels: z
        .int()
        .min(1)
        .max(256)
        .default(4)
        .describe("physical WAL channels; fixed when the cluster is created"),
      replicas: z
        .union([z.literal(1), z.literal(3), z.literal(5)])
        .default(1)
        .describe("copies that NATS keeps of log, meta, leases and objects; the same on every node"),
      walBytesMax: z
        .int()
        .min(64 * MiB)
        .default(1024 * MiB)
        .describe("bytes that one WAL channel may hold before writes are refused"),
    })
    .prefault({}),
  node: z
    .strictObject({
      dataDir: z.string().default(".vdb/node").describe("folder for caches and job files; may be lost at any time"),
      engine: z
        .enum(ENGINES)
        .default("auto")
        .describe("what searches vectors: the native engine, or faiss-node; auto: the first where it loads"),
      engineThreads: z.int().min(0).default(0).describe("threads that search vectors; 0: one a core"),
      leaseSeconds: z
        .int()
        .min(2)
        .max(60)
        .default(LEASE_SECONDS[1])
        .describe(
          "after this long without renewal a node counts as gone, unless its connection tells sooner; 10 unless set when cluster.replicas is above 1",
        ),
      metrics: z
        .string()
        .default("")
        .describe("HOST:PORT of GET /metrics, in Prometheus's format, and GET /healthz; empty: none"),
      drainTimeoutMs: z.int().min(0).default(10_000).describe("time that a stopping node gives running requests"),
    })
    .prefault({}),
  proxy: z
    .strictObject({
      http: z.string().default("").describe("HOST:PORT of the HTTP API and of Milvus's gRPC API; empty: none"),
      tlsCertFile: z
        .string()
        .default("")
        .describe("certificate of that port, PEM: with it and its key all of it is TLS"),
      tlsKeyFile: z.string().default("").describe("key of the certificate, PEM"),
      tlsCaFile: z
        .string()
        .default("")
        .describe("certificates of authorities, PEM: clients must have a certificate of one of them"),
      httpBodyBytesMax: z
        .int()
        .default(64 * MiB)
        .describe("largest body of a request over HTTP, largest message of one over gRPC"),
      bodiesBytesMax: z
        .int()
        .min(1)
        .default(512 * MiB)
        .describe(
          "bytes of requests that a proxy holds at once, over HTTP and gRPC together; beyond it requests are refused as retriable. Never less than one of httpBodyBytesMax",
        ),
      connectionsMax: z
        .int()
        .min(1)
        .default(10_000)
        .describe("connections of that port that are open at once; more are closed as they come"),
      requestTimeoutMs: z.int().min(100).default(30_000).describe("deadline of a request that names none"),
      concurrency: z.int().min(1).default(256).describe("public requests handled at once"),
      queue: z
        .int()
        .min(0)
        .default(1024)
        .describe("public requests waiting beyond those; more are refused as overloaded"),
      authorization: z
        .boolean()
        .default(false)
        .describe(
          "whether public requests must come from a user with the privileges they need; the same on every proxy",
        ),
      rootPassword: z
        .string()
        .default("Milvus")
        .describe("password of the user root until it is changed; the same on every proxy (see rootPasswordFile)"),
      rootPasswordFile: z.string().default("").describe("file that holds that password; read at start"),
    })
    .prefault({}),
  streaming: z
    .strictObject({
      sealBytes: z
        .int()
        .min(1024)
        .default(120 * MiB)
        .describe("a growing segment is sealed at this size"),
      sealRows: z.int().min(1).default(1_000_000).describe("a growing segment is sealed at this many rows"),
      sealAgeMs: z.int().min(1000).default(600_000).describe("a growing segment with rows is sealed at this age"),
      deleteRows: z
        .int()
        .min(1)
        .default(65_536)
        .describe("deletes of a shard that wait in memory are written to an object at this number"),
      deleteBytes: z
        .int()
        .min(1)
        .default(8 * MiB)
        .describe("and at this size of their keys"),
      deltaBytesMax: z
        .int()
        .min(1 * MiB)
        .default(128 * MiB)
        .describe(
          "deletes of a shard that data nodes have not distributed to its segments yet: deletes and upserts are slowed from 75 % on, beyond it refused as retriable",
        ),
      growingBytesMax: z
        .int()
        .min(1 * MiB)
        .default(2048 * MiB)
        .describe(
          "bytes of rows of a node that wait to be flushed and loaded: inserts are slowed from 75 % on, beyond it refused as retriable",
        ),
      replayBytesMax: z
        .int()
        .min(1 * MiB)
        .default(256 * MiB)
        .describe(
          "log that a channel's next owner would have to replay (small rows and messages count more): beyond it segments are flushed early, from 150 % on writes are slowed, beyond 200 % refused",
        ),
    })
    .prefault({}),
  query: z
    .strictObject({
      cacheBytes: z
        .int()
        .default(16_384 * MiB)
        .describe("local disk for copies of segments and indexes"),
      memoryBytes: z
        .int()
        .default(1024 * MiB)
        .describe("memory for columns and indexes; vectors and indexes beyond it are read from the disk cache"),
      mmap: z
        .enum(["surplus", "always", "never"])
        .default("surplus")
        .describe(
          "which vectors and indexes are mapped from the disk cache instead of copied: those that memory has no room for, all, or none (a load beyond memory is then refused)",
        ),
      resourceGroup: z
        .string()
        .regex(/^[A-Za-z_]\w{0,254}$/, "a letter or _, then letters, digits and _")
        .default("__default_resource_group")
        .describe("resource group of this node; other than the default one it stays there whatever groups ask for"),
      engineGrowthBytes: z
        .int()
        .default(512 * MiB)
        .describe("growth of the engine host's memory at which it is replaced"),
    })
    .prefault({}),
  data: z
    .strictObject({
      buildThreads: z.int().min(1).default(2).describe("OpenMP threads of an index build"),
      concurrentJobs: z.int().min(1).default(1).describe("jobs of a data node that run at once"),
      importDir: z
        .string()
        .default("")
        .describe("folder below which imports may name files; the same on every data node; empty: only uploads"),
    })
    .prefault({}),
  coordinator: z
    .strictObject({
      indexRowsMin: z
        .int()
        .min(1)
        .default(1024)
        .describe("a segment with fewer rows is searched exactly and gets no index"),
      compactionBytes: z
        .int()
        .min(1024)
        .default(256 * MiB)
        .describe("small segments are merged into ones of about this size"),
      clusteringBytes: z
        .int()
        .min(1024)
        .default(4096 * MiB)
        .describe(
          "a clustering compaction lays out so much of a shard's partition together; query nodes have it twice meanwhile",
        ),
      deletedShare: z
        .number()
        .min(0.01)
        .max(1)
        .default(0.2)
        .describe("a segment with more deleted or expired rows than this share is written anew"),
      deltaRows: z
        .int()
        .min(1)
        .default(262_144)
        .describe("deletes of a shard that query nodes keep in memory are distributed to its segments at this number"),
      deltaBytes: z
        .int()
        .min(1)
        .default(16 * MiB)
        .describe("or at this size of their objects"),
      deltaObjects: z.int().min(1).default(10).describe("or at this number of their objects"),
      usersMax: z.int().min(1).max(1000).default(100).describe("users that there may be, root included"),
      rolesMax: z.int().min(2).max(1000).default(10).describe("roles that there may be, admin and public included"),
      garbageIntervalMs: z
        .int()
        .min(1000)
        .default(60_000)
        .describe("how often objects that nothing names are looked for"),
    })
    .prefault({}),
  limits: z
    .strictObject({
      collectionDdlPerSecond: z
        .number()
        .min(0)
        .default(0)
        .describe("changes of collections that all proxies let through in a second; 0: any number, here and below"),
      partitionDdlPerSecond: z.number().min(0).default(0).describe("changes of partitions"),
      indexDdlPerSecond: z.number().min(0).default(0).describe("changes of indexes"),
      flushesPerSecond: z.number().min(0).default(0).describe("flushes that are asked for"),
      compactionsPerSecond: z.number().min(0).default(0).describe("compactions that are asked for"),
      insertMbPerSecond: z.number().min(0).default(0).describe("MiB of rows inserted"),
      upsertMbPerSecond: z.number().min(0).default(0).describe("MiB of rows upserted"),
      deleteMbPerSecond: z.number().min(0).default(0).describe("MiB of filters of deletes"),
      searchVectorsPerSecond: z.number().min(0).default(0).describe("vectors searched for"),
      queriesPerSecond: z.number().min(0).default(0).describe("queries and gets"),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(["fatal", "error", "warn", "info", "debug", "silent"])
        .default("info")
        .describe("least severe level that is logged"),
    })
    .prefault({}),
});
export type Config = z.infer<typeof Config>;
