/**
 * How an object lies in its stream (NATS ADR-20), so that any NATS client's object store reads what we write and the
 * other way round: the chunks as messages of one subject, then one message that names them and commits the object.
 */
export interface ObjectMeta {
  name: string;
  bucket: string;
  /** Id of this attempt to store the object: its chunks have a subject of their own. */
  nuid: string;
  size: number;
  chunks: number;
  /** "SHA-256=" + base64url with padding. */
  digest: string;
  deleted?: boolean;
  mtime?: string;
  description?: string;
  options?: { max_chunk_size?: number; link?: unknown };
}

export function objectBucket(prefix: string): string {
  return `${prefix}-objects`;
}

export function objectStream(bucket: string): string {
  return `OBJ_${bucket}`;
}

export function chunkSubject(bucket: string, nuid: string): string {
  return `$O.${bucket}.C.${nuid}`;
}

export function metaSubject(bucket: string, name: string): string {
  return `$O.${bucket}.M.${paddedBase64Url(Buffer.from(name, "utf8"))}`;
}

export function formatDigest(sha256: Buffer): string {
  return `SHA-256=${paddedBase64Url(sha256)}`;
}

export function parseObjectMeta(payload: Uint8Array): ObjectMeta {
  return JSON.parse(new TextDecoder().decode(payload)) as ObjectMeta;
}

function paddedBase64Url(bytes: Buffer): string {
  const encoded = bytes.toString("base64url");
  return encoded + "=".repeat((4 - (encoded.length % 4)) % 4);
}
