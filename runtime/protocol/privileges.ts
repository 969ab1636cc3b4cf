/**
 * Privileges: what each allows is said where operations are declared (public.ts); here are their names, at which level
 * they are granted, and the groups that are always there. The names are Milvus's.
 */

const COLLECTION_READ = [
  ...([
    "Query",
    "Search",
    "IndexDetail",
    "GetFlushState",
    "GetLoadState",
    "GetLoadingProgress",
    "HasPartition",
  ] as const),
  ...(["ShowPartitions", "DescribeCollection", "DescribeAlias", "GetStatistics", "ListAliases"] as const),
  ...(["GetImportProgress", "ListImport"] as const),
] as const;

const COLLECTION_WRITE = [
  ...(["Load", "Release", "Insert", "Delete", "Upsert", "Import", "Flush", "Compaction", "LoadBalance"] as const),
  ...(["CreateIndex", "DropIndex", "CreatePartition", "DropPartition", "AddCollectionField"] as const),
] as const;

const COLLECTION_ADMIN = ["CreateAlias", "DropAlias"] as const;

const DATABASE_READ = ["ShowCollections", "DescribeDatabase"] as const;
const DATABASE_WRITE = ["AlterDatabase"] as const;
const DATABASE_ADMIN = ["CreateCollection", "DropCollection"] as const;

const CLUSTER_READ = [
  ...(["ListDatabases", "SelectOwnership", "SelectUser", "DescribeResourceGroup", "ListResourceGroups"] as const),
  ...(["ListPrivilegeGroups", "GetReplicateConfiguration"] as const),
] as const;

const CLUSTER_WRITE = ["FlushAll", "TransferNode", "TransferReplica", "UpdateResourceGroups"] as const;

const CLUSTER_ADMIN = [
  ...(["BackupRBAC", "RestoreRBAC", "CreateDatabase", "DropDatabase", "CreateOwnership", "DropOwnership"] as const),
  ...(["ManageOwnership", "CreateResourceGroup", "DropResourceGroup", "UpdateUser", "RenameCollection"] as const),
  ...(["CreatePrivilegeGroup", "DropPrivilegeGroup", "OperatePrivilegeGroup", "UpdateReplicateConfiguration"] as const),
] as const;

/** Of the cluster, in no group. */
const FILE_RESOURCES = ["AddFileResource", "RemoveFileResource", "ListFileResources"] as const;

const LEVELS = {
  collection: [...COLLECTION_READ, ...COLLECTION_WRITE, ...COLLECTION_ADMIN],
  database: [...DATABASE_READ, ...DATABASE_WRITE, ...DATABASE_ADMIN],
  cluster: [...CLUSTER_READ, ...CLUSTER_WRITE, ...CLUSTER_ADMIN, ...FILE_RESOURCES],
} as const;

export type PrivilegeLevel = keyof typeof LEVELS;
export type PrivilegeName = (typeof LEVELS)[PrivilegeLevel][number];

/**
 * What an operation needs, and on what:
 *   collection  the one that `collectionName` names, itself or by an alias; all of the database when there is none
 *   segments    the one of `collectionID`
 *   import      the one that the import `jobId` is for
 *   alias       the collection that `aliasName` stands for, and the one that `collectionName` names, when it does
 *   database    `dbName`, whole; also `newDbName`
 *   cluster     it is held, wherever
 *   user        the user `userName`; not needed when that is the caller
 *   role        it is held; not needed when `roleName` is a role of the caller
 */
export interface NeededPrivilege {
  readonly name: PrivilegeName;
  readonly scope: "collection" | "segments" | "import" | "alias" | "database" | "cluster" | "user" | "role";
}

/** Instead of all privileges, and instead of a name of a database, collection or user. */
export const ANY = "*";

export const BUILT_IN_GROUPS: ReadonlyMap<string, readonly PrivilegeName[]> = new Map<string, readonly PrivilegeName[]>(
  [
    ["CollectionReadOnly", COLLECTION_READ],
    ["CollectionReadWrite", [...COLLECTION_READ, ...COLLECTION_WRITE]],
    ["CollectionAdmin", LEVELS.collection],
    ["DatabaseReadOnly", DATABASE_READ],
    ["DatabaseReadWrite", [...DATABASE_READ, ...DATABASE_WRITE]],
    ["DatabaseAdmin", LEVELS.database],
    ["ClusterReadOnly", CLUSTER_READ],
    ["ClusterReadWrite", [...CLUSTER_READ, ...CLUSTER_WRITE]],
    ["ClusterAdmin", [...CLUSTER_READ, ...CLUSTER_WRITE, ...CLUSTER_ADMIN]],
  ],
);

const LEVEL_OF = new Map<string, PrivilegeLevel>(
  (Object.keys(LEVELS) as PrivilegeLevel[]).flatMap((level) => LEVELS[level].map((name) => [name, level] as const)),
);

export const PRIVILEGE_NAMES: readonly PrivilegeName[] = [...LEVEL_OF.keys()] as PrivilegeName[];

/** Undefined when there is no such privilege. */
export function privilegeLevel(name: string): PrivilegeLevel | undefined {
  return LEVEL_OF.get(name);
}

export const OBJECT_TYPES = ["Collection", "Global", "User"] as const;
export type ObjectType = (typeof OBJECT_TYPES)[number];

/** Grants that name a kind of object (the older way) give these for collections; of the others all but users' are global. */
const OF_COLLECTIONS = new Set<string>(
  [...COLLECTION_READ, ...COLLECTION_WRITE].filter(
    (name) => !["DescribeCollection", "DescribeAlias", "ListAliases", "GetImportProgress", "ListImport"].includes(name),
  ),
);

export function objectTypeOf(privilege: PrivilegeName): ObjectType {
  if (privilege === "UpdateUser" || privilege === "SelectUser") return "User";
  return OF_COLLECTIONS.has(privilege) ? "Collection" : "Global";
}
