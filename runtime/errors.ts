/**
 * Errors: one table, one class. An error crosses the wire whole and comes out as the same class, so a caller
 * switches on `error.kind`, also for errors of another process.
 *
 * Codes are Milvus's (its clients match on them); `retriable` says that the same request may succeed later
 * without change; `http` is used by management endpoints only, since the public API answers 200 with a code.
 */
export const ERRORS = {
  not_ready: { code: 1, http: 503, retriable: true },
  unavailable: { code: 2, http: 503, retriable: true },
  memory_limit: { code: 3, http: 507, retriable: false },
  overloaded: { code: 4, http: 429, retriable: true },
  internal: { code: 5, http: 500, retriable: false },
  rate_limited: { code: 8, http: 429, retriable: true },
  /** Denied by a property of the database. */
  quota_exceeded: { code: 9, http: 429, retriable: false },
  unimplemented: { code: 10, http: 501, retriable: false },
  collection_not_found: { code: 100, http: 404, retriable: false },
  collection_not_loaded: { code: 101, http: 409, retriable: false },
  collection_limit: { code: 102, http: 400, retriable: false },
  collection_not_fully_loaded: { code: 103, http: 503, retriable: true },
  collection_loaded: { code: 104, http: 409, retriable: false },
  illegal_schema: { code: 105, http: 400, retriable: false },
  /** A truncation has removed the shard that was asked: the same request, repeated, finds the new ones. */
  collection_truncated: { code: 106, http: 503, retriable: true },
  vector_clustering_key: { code: 107, http: 400, retriable: false },
  schema_mismatch: { code: 109, http: 409, retriable: true },
  partition_not_found: { code: 200, http: 404, retriable: false },
  partition_not_loaded: { code: 201, http: 409, retriable: false },
  /** Partitions times shards, over all collections. */
  general_capacity: { code: 250, http: 400, retriable: false },
  resource_group_not_found: { code: 300, http: 404, retriable: false },
  resource_group_exists: { code: 301, http: 409, retriable: false },
  resource_group_limit: { code: 302, http: 400, retriable: false },
  resource_group_illegal_config: { code: 303, http: 400, retriable: false },
  /** Fewer query nodes in a resource group than replicas wanted there. */
  resource_group_nodes_not_enough: { code: 304, http: 409, retriable: false },
  /** The node asked is not (or no longer) the owner of the channel; the caller refreshes its routes and asks again. */
  channel_not_owned: { code: 500, http: 503, retriable: true },
  /** A newer owner has fenced the channel; nothing of the refused write is in the log. */
  channel_fenced: { code: 501, http: 503, retriable: true },
  /** The log no longer holds what a reader asks for: it starts again from the objects. */
  log_truncated: { code: 504, http: 503, retriable: true },
  /** The node asked does not serve the segment; the caller refreshes its query view and asks again. */
  segment_not_loaded: { code: 600, http: 503, retriable: true },
  index_not_found: { code: 700, http: 404, retriable: false },
  index_unsupported: { code: 701, http: 400, retriable: false },
  index_duplicate: { code: 702, http: 409, retriable: false },
  database_not_found: { code: 800, http: 404, retriable: false },
  database_limit: { code: 801, http: 400, retriable: false },
  invalid_database_name: { code: 802, http: 400, retriable: false },
  node_not_found: { code: 901, http: 503, retriable: true },
  /** Stored bytes fail their digest, CRC or chain: never served, never skipped. */
  corrupt: { code: 1000, http: 500, retriable: false },
  /** Written or said by a newer version in a form that this one does not know: never guessed at, never skipped. */
  newer_version: { code: 1013, http: 500, retriable: false },
  invalid_parameter: { code: 1100, http: 400, retriable: false },
  missing_parameter: { code: 1101, http: 400, retriable: false },
  parameter_too_large: { code: 1102, http: 413, retriable: false },
  /** A password that is given to be changed is not the user's. */
  not_authenticated: { code: 1400, http: 401, retriable: false },
  not_permitted: { code: 1401, http: 403, retriable: false },
  alias_not_found: { code: 1600, http: 404, retriable: false },
  alias_collection_conflict: { code: 1601, http: 409, retriable: false },
  alias_exists: { code: 1602, http: 409, retriable: false },
  field_not_found: { code: 1700, http: 400, retriable: false },
  invalid_field_name: { code: 1701, http: 400, retriable: false },
  /** The caller gives no name, or a wrong password. */
  unauthenticated: { code: 1800, http: 401, retriable: false },
  malformed_request: { code: 1801, http: 400, retriable: false },
  missing_field: { code: 1802, http: 400, retriable: false },
  invalid_insert_data: { code: 1804, http: 400, retriable: false },
  invalid_primary_key: { code: 1806, http: 400, retriable: false },
  import_failed: { code: 2100, http: 400, retriable: false },
  canceled: { code: 10000, http: 499, retriable: false },
  deadline_exceeded: { code: 10001, http: 504, retriable: true },
  /** Milvus's catch-all of untyped errors: duplicate names, index duplicates, limits. */
  unexpected: { code: 65535, http: 400, retriable: false },
} as const satisfies Record<string, { code: number; http: number; retriable: boolean }>;

export type ErrorKind = keyof typeof ERRORS;

/** Facts of an error, for programs; the message says the same to people. */
export type ErrorDetails = Record<string, string | number | boolean | null>;

export interface WireError {
  kind: string;
  message: string;
  details?: ErrorDetails;
}

export class VdbError extends Error {
  override readonly name = "VdbError";
  readonly kind: ErrorKind;
  readonly details: ErrorDetails | undefined;

  constructor(kind: ErrorKind, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.details = options.details;
  }

  get code(): number {
    return ERRORS[this.kind].code;
  }

  get retriable(): boolean {
    return ERRORS[this.kind].retriable;
  }

  toWire(): WireError {
    const wire: WireError = { kind: this.kind, message: this.message };
    if (this.details !== undefined) wire.details = this.details;
    return wire;
  }

  /** The error a peer sent. A kind that only a newer peer knows becomes `internal` and keeps its name in the message. */
  static fromWire(wire: WireError): VdbError {
    const known = Object.hasOwn(ERRORS, wire.kind);
    const kind = known ? (wire.kind as ErrorKind) : "internal";
    const message = known ? wire.message : `${wire.kind}: ${wire.message}`;
    return new VdbError(kind, message, wire.details === undefined ? {} : { details: wire.details });
  }
}

export function isVdbError(error: unknown, ...kinds: ErrorKind[]): error is VdbError {
  return error instanceof VdbError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** Anything thrown, as a VdbError: what is not one already is a bug or an unforeseen fault, and is `internal`. */
export function asVdbError(error: unknown): VdbError {
  if (error instanceof VdbError) return error;
  return new VdbError("internal", errorMessage(error), { cause: error });
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
