/**
 * `backup.json`: what a backup's folder holds. Written last, so a folder without it is an unfinished backup.
 *
 *   <folder>/backup.json         this description
 *   <folder>/objects/<name>      the objects as they are in the cluster: Arrow files, readable by any Arrow tool
 *
 * A backup is the state of its collections at one timestamp. Its files may hold more: rows and deletes that came later.
 * What was there is the rows with ts <= timestamp that no delete with ts <= timestamp covers: one in the segment's own
 * `deletes` (row number, $ts), or one in the shard's `deltas` (key, $ts) of the row's key and with a greater $ts.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { errorMessage, VdbError } from "../errors.ts";
import { CollectionDoc, FieldSchemaSpec, IndexSpecRequest, ObjectDoc } from "../protocol/catalog.ts";
import { FieldId, PartitionId, SegmentId, Vchannel } from "../protocol/values.ts";
import type { FieldSchema } from "../schema.ts";

export const BACKUP_FILE = "backup.json";
export const OBJECTS_FOLDER = "objects";

const KIND = "vdb-actor backup";
const FORMAT = 1;

/** Part of a path below the folder: names come from a file that anybody may have written. */
const OBJECT_NAME = /^[\w-]+(\/\w[\w.-]*)+$/;

/** Integers beyond what JSON keeps exact are text. */
const DecimalText = z
  .string()
  .regex(/^\d+$/)
  .transform((text) => BigInt(text));

const BackupObject = ObjectDoc.extend({ name: z.string().regex(OBJECT_NAME) });
export type BackupObject = z.infer<typeof BackupObject>;

const BackupSegment = z.object({
  segmentId: SegmentId,
  partitionId: PartitionId,
  rowCount: z.int().min(1),
  minTs: DecimalText,
  maxTs: DecimalText,
  /** Of every row, whatever the file says. */
  rowTs: DecimalText.optional(),
  object: BackupObject,
  deletes: z.object({ object: BackupObject, rowCount: z.int() }).optional(),
});
export type BackupSegment = z.infer<typeof BackupSegment>;

const BackupShard = z.object({
  vchannel: Vchannel,
  segments: z.array(BackupSegment),
  deltas: z.array(z.object({ object: BackupObject, rowCount: z.int() })),
});
export type BackupShard = z.infer<typeof BackupShard>;

const { collectionId, database, name, aliases, description, schema, partitions, consistencyLevel, properties } =
  CollectionDoc.shape;

/** A default of an Int64 field may be beyond what JSON keeps exact. */
const Field = z.preprocess(
  (field) => {
    const { defaultValue, ...others } = field as { defaultValue?: unknown };
    if (typeof defaultValue !== "object" || defaultValue === null) return field;
    return { ...others, defaultValue: BigInt((defaultValue as { int64: string }).int64) };
  },
  z.intersection(FieldSchemaSpec, z.object({ fieldId: FieldId })),
) as unknown as z.ZodType<FieldSchema>;

const BackupCollection = z.object({
  collectionId,
  database,
  name,
  /** Absent: none. */
  aliases,
  description,
  schema: schema.extend({ fields: z.array(Field) }),
  partitions,
  indexes: z.array(IndexSpecRequest),
  /** Absent: it was released. */
  loaded: z.object({ replicaNumber: z.int().min(1) }).optional(),
  consistencyLevel,
  properties,
  shards: z.array(BackupShard).min(1),
});
export type BackupCollection = z.infer<typeof BackupCollection>;

const Backup = z.object({
  kind: z.literal(KIND),
  format: z.literal(FORMAT),
  /** The program that wrote it. */
  writtenBy: z.string(),
  clusterId: z.string(),
  timestamp: DecimalText,
  /** The timestamp for people. */
  time: z.string(),
  collections: z.array(BackupCollection),
});
export type Backup = z.infer<typeof Backup>;

export function newBackup(content: Omit<Backup, "kind" | "format">): Backup {
  return { kind: KIND, format: FORMAT, ...content };
}

export function formatBackup(backup: Backup): string {
  // Timestamps are text by their place; a bigint elsewhere is a field's default.
  const replace = (key: string, value: unknown) =>
    typeof value === "bigint" ? (key === "defaultValue" ? { int64: String(value) } : String(value)) : value;
  return `${JSON.stringify(backup, replace, 2)}\n`;
}

/** @throws VdbError corrupt, newer_version */
export function parseBackup(text: string): Backup {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new VdbError("corrupt", `${BACKUP_FILE} is not JSON: ${errorMessage(error)}`, { cause: error });
  }
  const { kind, format } = (value ?? {}) as { kind?: unknown; format?: unknown };
  if (kind !== KIND) throw new VdbError("corrupt", `${BACKUP_FILE} does not say that it is a ${KIND}`);
  if (Number(format) > FORMAT) {
    const message = `the backup is in format ${String(format)}, this program reads ${FORMAT}: use the newer version`;
    throw new VdbError("newer_version", message);
  }
  const parsed = Backup.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new VdbError("corrupt", `${BACKUP_FILE} is damaged: ${issue?.path.join(".")}: ${issue?.message}`);
}

/** @throws VdbError invalid_parameter when the folder holds no finished backup; corrupt, newer_version */
export async function readBackup(folder: string): Promise<Backup> {
  let text: string;
  try {
    text = await readFile(join(folder, BACKUP_FILE), "utf8");
  } catch (error) {
    const message = `${folder} holds no finished backup: ${BACKUP_FILE} cannot be read (${errorMessage(error)})`;
    throw new VdbError("invalid_parameter", message, { cause: error });
  }
  return parseBackup(text);
}

export function objectPath(folder: string, object: Pick<BackupObject, "name">): string {
  return join(folder, OBJECTS_FOLDER, ...object.name.split("/"));
}

export function shardObjects({ segments, deltas }: BackupShard): BackupObject[] {
  return [
    ...segments.flatMap(({ object, deletes }) => (deletes === undefined ? [object] : [object, deletes.object])),
    ...deltas.map(({ object }) => object),
  ];
}
