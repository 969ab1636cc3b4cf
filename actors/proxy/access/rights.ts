/**
 * What a user may do, compiled from the grants of its roles: a look-up takes a few steps, and it is compiled again only
 * when a user, a role or a group of privileges changes.
 *
 * Grants are by name: of a database and a collection, or of all (`*`). A privilege that is of the whole cluster is held
 * wherever it is granted by its own name; as part of a group, or of all privileges, only where that is granted on everything.
 */
import { ADMIN, findRole, PUBLIC, privilegesOfGroup, ROOT } from "../../../runtime/access-control.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import type { GrantDoc, UserDoc } from "../../../runtime/protocol/catalog.ts";
import { ANY, PRIVILEGE_NAMES, type PrivilegeName } from "../../../runtime/protocol/privileges.ts";

export interface Rights {
  readonly userName: string;
  /** Also those that everybody has. */
  readonly roles: readonly string[];
  /** On a collection of a database; `*` for all of it. */
  may(privilege: PrivilegeName, database: string, collection: string): boolean;
  /** Of the cluster. */
  has(privilege: PrivilegeName): boolean;
  /** On a user, or on all of them. */
  mayUser(privilege: PrivilegeName, userName: string): boolean;
  /** Whether it is shown that there is such a collection, or such a database when none is named. */
  sees(database: string, collection?: string): boolean;
}

const EVERYTHING = { may: () => true, has: () => true, mayUser: () => true, sees: () => true };

export function compileRights(catalog: Catalog, user: UserDoc): Rights {
  const roles = [...new Set([...user.roles, PUBLIC])];
  const who = { userName: user.name, roles };
  if (user.name === ROOT || user.roles.includes(ADMIN)) return { ...who, ...EVERYTHING };

  /** Privilege to "database\0collection", either may be `*`. */
  const places = new Map<string, Set<string>>();
  const ofCluster = new Set<string>();
  const users = new Map<string, Set<string>>();
  /** Places of which the user's own roles say anything. */
  const own = new Set<string>();

  const grantOne = (privilege: string, { database, objectName, objectType }: GrantDoc, isNamed: boolean) => {
    if (objectType === "User") {
      setOf(users, privilege).add(objectName);
      return;
    }
    setOf(places, privilege).add(`${database}\0${objectName}`);
    if (isNamed || (database === ANY && objectName === ANY)) ofCluster.add(privilege);
  };

  for (const name of roles) {
    for (const grant of findRole(catalog, name)?.grants ?? []) {
      const { privilege, database, objectName, objectType } = grant;
      if (privilege === ANY) for (const each of PRIVILEGE_NAMES) grantOne(each, grant, false);
      else {
        const members = privilegesOfGroup(catalog, privilege);
        if (members === undefined) grantOne(privilege, grant, true);
        else for (const each of members) grantOne(each, grant, false);
      }
      if (name !== PUBLIC && objectType !== "User") own.add(`${database}\0${objectName}`);
    }
  }

  const may = (privilege: PrivilegeName, database: string, collection: string) => {
    const granted = places.get(privilege);
    if (granted === undefined) return false;
    return (
      granted.has(`${database}\0${collection}`) ||
      granted.has(`${database}\0*`) ||
      granted.has("*\0*") ||
      granted.has(`*\0${collection}`)
    );
  };
  const has = (privilege: PrivilegeName) => ofCluster.has(privilege);
  const ownDatabases = new Set([...own].map((place) => place.slice(0, place.indexOf("\0"))));
  return {
    ...who,
    may,
    has,
    mayUser: (privilege, userName) =>
      has(privilege) || users.get(privilege)?.has(userName) === true || users.get(privilege)?.has(ANY) === true,
    sees(database, collection) {
      if (collection === undefined) return ownDatabases.has(database) || ownDatabases.has(ANY) || has("ListDatabases");
      return (
        [`${database}\0${collection}`, `${database}\0*`, "*\0*", `*\0${collection}`].some((place) => own.has(place)) ||
        may("ShowCollections", database, ANY)
      );
    },
  };
}

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  let set = sets.get(key);
  if (set === undefined) {
    set = new Set();
    sets.set(key, set);
  }
  return set;
}
