/** The object store as the rest of the system sees it: immutable named objects, moved between files and the store. */

export interface ObjectRef {
  /** Name in the store, for example `segment/<vchannel>/<term>/<sequence>-<id>.arrow`. */
  name: string;
  bytes: number;
  /** SHA-256 of the content, base64url as NATS Object Store writes it: "SHA-256=...". */
  digest: string;
}

export interface ObjectListing extends ObjectRef {
  /** When it was stored, milliseconds since the epoch by the server's clock. */
  storedAt: number;
}

export interface BlobPort {
  /** Stores a stream of chunks under a name that must be new; an identical object already there counts as stored. */
  put(name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<ObjectRef>;
  /** Stores a file's content. */
  putFile(name: string, path: string): Promise<ObjectRef>;
  /** The whole object in memory: for small ones. @throws VdbError corrupt (also when absent) */
  get(ref: ObjectRef): Promise<Uint8Array>;
  /** Writes the object to a file (which must not exist), checking size and digest against ref. @throws VdbError corrupt (also when absent) */
  getFile(ref: ObjectRef, path: string, signal?: AbortSignal): Promise<void>;
  /** Removes objects by name; absent ones are fine. */
  remove(name: string): Promise<void>;
  list(): Promise<ObjectListing[]>;
  /** Removes what puts that never finished have left, if older than any put takes. Returns how many there were. */
  removeOrphans(olderThanMs: number): Promise<number>;
}
