/**
 * Every metric of our own, declared once: name, type, meaning. Labels are bounded by the program and its settings (roles,
 * operations, kinds of errors, log channels), never by what users make: no collection, shard, user or segment is one.
 *
 * Nothing is counted for metrics alone where it is known already. Whoever knows a figure gives it when somebody looks
 * (Actor.figures); a counter is a number that its owner adds to.
 */

interface Metric {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
}

const counter = (help: string): Metric => ({ type: "counter", help });
const gauge = (help: string): Metric => ({ type: "gauge", help });

export const METRICS = {
  vdb_node_info: gauge("1: version, roles and id of this node are labels"),
  vdb_node_draining: gauge("1 while this node is to leave"),

  vdb_request_duration_seconds: {
    type: "histogram",
    help: "time from the arrival of a request to its answer, by role and operation",
  },
  vdb_request_errors_total: counter("requests answered by an error, by role, operation and kind of error"),
  vdb_requests_in_flight: gauge("requests that have come and are not answered, by role and operation"),

  vdb_nats_connected: gauge("1 while the connection to NATS is there, by what it is for"),
  vdb_nats_reconnects_total: counter("times that a connection to NATS was lost and is back"),
  vdb_nats_sent_bytes_total: counter("bytes sent to NATS"),
  vdb_nats_received_bytes_total: counter("bytes received from NATS"),

  vdb_rows_written_total: counter("rows that writes put into the log, or keys that deletes did, by operation"),
  vdb_growing_rows: gauge("rows of streaming nodes that are in no object yet"),
  vdb_growing_bytes: gauge("memory of rows that wait to be flushed and loaded, with their indexes"),
  vdb_growing_bytes_max: gauge("beyond so many inserts are refused (streaming.growingBytesMax)"),
  vdb_writes_waiting_bytes: gauge("rows of writes that are slowed and wait to be let in"),
  vdb_flushes_total: counter("flushes of shards, by outcome"),
  vdb_channel_open: gauge("1 while the log channel is open: its shards can be written and read"),
  vdb_channel_term: gauge("term of the log channel's owner"),
  vdb_wal_lag_messages: gauge("messages of the log channel behind which its checkpoint is"),
  vdb_wal_lag_seconds: gauge("age of the log channel's oldest write that is in no object yet"),
  vdb_wal_replay_bytes: gauge("what the log channel's next owner would have to replay"),
  vdb_wal_replay_bytes_max: gauge("beyond so many writes are refused (twice streaming.replayBytesMax)"),
  vdb_sealed_asks_total: counter("questions about sealed segments to query nodes"),
  vdb_sealed_hedges_total: counter("of them those asked of a second node because the first was late"),
  vdb_sealed_retries_total: counter("of them those asked again because a node could not answer"),
  vdb_sealed_segments_read_total: counter("sealed segments that reads were about"),
  vdb_sealed_segments_skipped_total: counter("sealed segments that reads left out by their bounds"),

  vdb_sealed_segments: gauge("sealed segments loaded on this query node"),
  vdb_query_memory_bytes: gauge("memory of loaded columns and indexes"),
  vdb_query_memory_bytes_max: gauge("bound of it (query.memoryBytes)"),
  vdb_query_mapped_bytes: gauge("vectors and indexes that are read from the disk cache"),
  vdb_query_mapped_bytes_max: gauge("bound of it (query.cacheBytes)"),
  vdb_query_filter_cache_bytes: gauge("memory of results of filters"),
  vdb_query_delete_rows: gauge("deletes in memory that are not distributed to segments yet"),
  vdb_engine_searches_total: counter("searches of indexes, by engine (memory, mapped)"),
  vdb_engine_waiting: gauge("searches of indexes that wait for a thread"),
  vdb_engine_running: gauge("searches of indexes under way"),
  vdb_engine_restarts_total: counter("search processes started again because one died (faiss-node)"),

  vdb_coordinator_leading: gauge("1 on the coordinator that leads"),
  vdb_coordinator_epoch: gauge("the leader's epoch as this coordinator knows it: it grows with every new leader"),
  vdb_coordinator_jobs: gauge("what the leader has given to other nodes and has no answer to, by kind"),
  vdb_nodes: gauge("nodes that are alive, by role, as the leader sees them"),
  vdb_collections: gauge("collections, as the leader sees them"),
  vdb_segments: gauge(
    "segments in objects, as the leader sees them: flushed (all), indexed, served, unserved though loaded",
  ),
  vdb_segment_rows: gauge("rows of these segments, deleted ones included"),

  vdb_jobs_running: gauge("jobs of this data node that run or wait for their turn, by kind"),
  vdb_jobs_total: counter("jobs of this data node that have ended, by kind and outcome (done, failed, canceled)"),
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** How often which duration came. */
export interface Distribution {
  /** Upper bounds in seconds, ascending. */
  readonly bounds: readonly number[];
  /** Up to each bound and above the one before it; the last is for what is above all of them. */
  readonly counts: ArrayLike<number>;
  /** Seconds. */
  readonly sum: number;
}

export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | Distribution];

/** Some metrics, as they are now. A number alone has no labels. */
export type Figures = { readonly [Name in MetricName]?: number | readonly Sample[] };

/** The same label for each: `{ open: 1, … }` by channel. */
export function samplesBy(label: string, values: Iterable<readonly [string | number, number]>): Sample[] {
  return Array.from(values, ([name, value]) => [{ [label]: String(name) }, value] as const);
}

/** Of several sources together: what more than one has is in the result of each. */
export function mergeFigures(sources: readonly Figures[]): Map<MetricName, Sample[]> {
  const merged = new Map<MetricName, Sample[]>();
  for (const source of sources) {
    for (const [name, value] of Object.entries(source) as [MetricName, number | readonly Sample[]][]) {
      const samples = merged.get(name) ?? [];
      samples.push(...(typeof value === "number" ? [[{}, value] as const] : value));
      merged.set(name, samples);
    }
  }
  return merged;
}
