import { describe, expect, it } from "vitest";
import { ADMIN, PUBLIC } from "../../../runtime/access-control.ts";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import { hashPassword } from "../../../runtime/passwords.ts";
import type { CollectionDoc, GrantDoc } from "../../../runtime/protocol/catalog.ts";
import {
  BUILT_IN_GROUPS,
  objectTypeOf,
  PRIVILEGE_NAMES,
  privilegeLevel,
} from "../../../runtime/protocol/privileges.ts";
import { alterAlias, createAlias, dropAlias, searchEntities } from "../../../runtime/protocol/public.ts";
import { PUBLIC_OPERATIONS } from "../../proxy.ts";
import { AccessControl, refusal } from "./access.ts";
import { readCredentials } from "./credentials.ts";
import { resolvedFor } from "./resolved.ts";
import { compileRights } from "./rights.ts";

function grant(privilege: string, database: string, objectName: string): GrantDoc {
  const name = PRIVILEGE_NAMES.find((known) => known === privilege);
  return {
    privilege,
    database,
    objectName,
    objectType: name === undefined ? "Global" : objectTypeOf(name),
    grantor: "root",
  };
}

/** What there is of roles, as rights need it. */
function catalogOf(grants: GrantDoc[], groups: Record<string, string[]> = {}): Catalog {
  return {
    role: (name: string) => (name === "r" ? { name, description: "", grants } : undefined),
    privilegeGroup: (name: string) => (groups[name] === undefined ? undefined : { name, privileges: groups[name] }),
    user: () => undefined,
    collectionByName: () => undefined,
    collection: () => undefined,
    importJob: () => undefined,
  } as unknown as Catalog;
}

function rightsBy(...grants: GrantDoc[]) {
  return compileRights(catalogOf(grants), { name: "u", password: "", roles: ["r"] });
}

describe("what grants give", () => {
  it("is on the named collection of the named database", () => {
    const rights = rightsBy(grant("Search", "db", "c"));
    expect(rights.may("Search", "db", "c")).toBe(true);
    expect(rights.may("Search", "db", "d")).toBe(false);
    expect(rights.may("Search", "other", "c")).toBe(false);
    expect(rights.may("Query", "db", "c")).toBe(false);
    expect(rights.may("Search", "db", "*")).toBe(false);
  });

  it("is on what * stands for", () => {
    const all = rightsBy(grant("Search", "*", "*"));
    const whole = rightsBy(grant("Search", "db", "*"));
    expect([all.may("Search", "x", "y"), all.may("Search", "x", "*")]).toEqual([true, true]);
    expect([whole.may("Search", "db", "y"), whole.may("Search", "db", "*")]).toEqual([true, true]);
    expect(whole.may("Search", "x", "y")).toBe(false);
  });

  it("is not on names that would match a pattern", () => {
    expect(rightsBy(grant("Search", "db", "c*")).may("Search", "db", "cd")).toBe(false);
  });

  it("is of the cluster by a privilege's own name, not as part of all on a database", () => {
    expect(rightsBy(grant("CreateDatabase", "default", "*")).has("CreateDatabase")).toBe(true);
    expect(rightsBy(grant("*", "db", "*")).has("CreateDatabase")).toBe(false);
    expect(rightsBy(grant("*", "*", "*")).has("CreateDatabase")).toBe(true);
    expect(rightsBy(grant("ClusterAdmin", "*", "*")).has("CreateDatabase")).toBe(true);
  });

  it("is what a group that was made holds now", () => {
    const catalog = catalogOf([grant("g", "db", "c")], { g: ["Search", "Query"] });
    const rights = compileRights(catalog, { name: "u", password: "", roles: ["r"] });
    expect([rights.may("Query", "db", "c"), rights.may("Insert", "db", "c")]).toEqual([true, false]);
  });

  it("is on users by their names", () => {
    const rights = rightsBy(grant("UpdateUser", "default", "bob"));
    expect([rights.mayUser("UpdateUser", "bob"), rights.mayUser("UpdateUser", "eve")]).toEqual([true, false]);
    expect(rightsBy(grant("UpdateUser", "default", "*")).mayUser("UpdateUser", "eve")).toBe(true);
  });

  it("is everything for root and for admins", () => {
    for (const user of [
      { name: "root", roles: [] },
      { name: "a", roles: [ADMIN] },
    ]) {
      const rights = compileRights(catalogOf([]), { ...user, password: "" });
      expect([rights.may("Search", "x", "y"), rights.has("RestoreRBAC"), rights.sees("x")]).toEqual([true, true, true]);
    }
  });

  it("is little for everybody", () => {
    const rights = compileRights(catalogOf([]), { name: "u", password: "", roles: [] });
    expect(rights.roles).toEqual([PUBLIC]);
    expect(rights.may("DescribeCollection", "x", "y")).toBe(true);
    expect(PRIVILEGE_NAMES.filter((name) => rights.may(name, "x", "y")).sort()).toEqual([
      "DescribeCollection",
      "IndexDetail",
      "ListAliases",
    ]);
    expect(rights.sees("default", "y")).toBe(false);
  });
});

describe("an alias", () => {
  const catalog = {
    ...catalogOf([grant("CreateAlias", "default", "books"), grant("DropAlias", "default", "books")]),
    collectionByName: (_database: string, name: string) => ({ books: { name }, lib: { name: "films" } })[name],
  } as unknown as Catalog;
  const rights = compileRights(catalog, { name: "u", password: "", roles: ["r"] });

  it("is made by who has the right on its collection", () => {
    expect(refusal(catalog, rights, createAlias, { collectionName: "books", aliasName: "new" })).toBeUndefined();
    expect(refusal(catalog, rights, createAlias, { collectionName: "films", aliasName: "new" })).toBeDefined();
  });

  it("is not taken from another collection, nor dropped from it", () => {
    expect(refusal(catalog, rights, alterAlias, { collectionName: "books", aliasName: "lib" })).toBeDefined();
    expect(refusal(catalog, rights, dropAlias, { aliasName: "lib" })).toBeDefined();
    expect(refusal(catalog, rights, dropAlias, { aliasName: "lib", collectionName: "books" })).toBeDefined();
  });
});

describe("operations", () => {
  it("each say what they need, of what there is", () => {
    for (const { subject, privilege } of PUBLIC_OPERATIONS) {
      expect(privilege, subject).toBeDefined();
      if (typeof privilege === "object") expect(privilegeLevel(privilege.name), subject).toBeDefined();
    }
  });

  it("that say nothing are for nobody, root included", () => {
    const root = compileRights(catalogOf([]), { name: "root", password: "", roles: [] });
    const { privilege: _, ...silent } = PUBLIC_OPERATIONS[0]!;
    expect(refusal(catalogOf([]), root, silent, {})).toMatchObject({ kind: "not_permitted" });
  });
});

it("groups that are built in hold privileges of one level", () => {
  for (const members of BUILT_IN_GROUPS.values()) expect(new Set(members.map(privilegeLevel)).size).toBe(1);
});

it("credentials are read in every form that clients use", () => {
  const who = { userName: "bob", password: "a:b c" };
  expect(readCredentials("Bearer bob:a:b c")).toEqual(who);
  expect(readCredentials("bob:a:b c")).toEqual({ userName: "bob", password: "a:b c" });
  expect(readCredentials(`Basic ${Buffer.from("bob:a:b c").toString("base64")}`)).toEqual(who);
  expect(readCredentials(`basic ${Buffer.from("bob:a:b c").toString("base64")}`)).toEqual(who);
  for (const nobody of [undefined, "", "Bearer", "Bearer token", ":x", "Basic !!"]) {
    expect(readCredentials(nobody)).toBeUndefined();
  }
});

it("lets a call that was admitted for an alias have no other collection than one of its rights", async () => {
  const password = await hashPassword("password");
  const books = { database: "default", name: "books" };
  const catalog = {
    ...catalogOf([grant("Search", "default", "books")]),
    user: (name: string) => (name === "bob" ? { name, password, roles: ["r"] } : undefined),
    collectionByName: () => books,
    cache: { subscribe: () => undefined },
  };
  const config = { proxy: { authorization: true, rootPassword: "" } };
  const access = new AccessControl({ catalog, config, scope: { use: () => undefined } } as unknown as ActorContext);
  const call: Call = { deadline: 0, signal: undefined, authorization: "Bearer bob:password" };
  await access.admit(searchEntities, { collectionName: "an_alias" }, call);
  expect(resolvedFor(call, books as CollectionDoc)).toBe(books);
  const films = { database: "default", name: "films" } as CollectionDoc;
  expect(() => resolvedFor(call, films)).toThrowError("PrivilegeSearch: permission deny to bob");
});
