/** Everything that is kept by name or number in this process: what grows with each thing that came and went is a leak. */
import { Session } from "node:inspector/promises";

/** Of each Map and Set when it was last looked at. */
const sizes = new WeakMap<object, number>();

/**
 * The Maps and Sets, of all that are alive, that have at least so many entries more than when they were marked: how many,
 * and one of the keys. Takes a second or so.
 */
export async function grownSince(least: number): Promise<string[]> {
  const grown: string[] = [];
  for (const each of await mapsAndSets()) {
    const growth = each.size - (sizes.get(each) ?? 0);
    if (growth >= least) grown.push(`${growth} like ${String([...each.keys()].at(-1))}`);
  }
  return grown;
}

/** What is there now is no growth. */
export async function markSizes(): Promise<void> {
  for (const each of await mapsAndSets()) sizes.set(each, each.size);
}

async function mapsAndSets(): Promise<(Map<unknown, unknown> | Set<unknown>)[]> {
  return [...(await instancesOf<Map<unknown, unknown>>("Map")), ...(await instancesOf<Set<unknown>>("Set"))];
}

async function instancesOf<T>(kind: "Map" | "Set"): Promise<T[]> {
  let found: T[] = [];
  const taker = globalThis as { takeInstances?: (instances: T[]) => void };
  // Prototypes of classes that extend one are among them, and have no size.
  taker.takeInstances = (instances) => {
    found = instances.filter((each) => Object.prototype.toString.call(each) === `[object ${kind}]` && hasSize(each));
  };
  const session = new Session();
  session.connect();
  try {
    const { result } = await session.post("Runtime.evaluate", { expression: `${kind}.prototype` });
    const { objects } = await session.post("Runtime.queryObjects", { prototypeObjectId: result.objectId! });
    await session.post("Runtime.callFunctionOn", {
      objectId: objects.objectId!,
      functionDeclaration: "function () { globalThis.takeInstances([...this]); }",
    });
  } finally {
    session.disconnect();
    delete taker.takeInstances;
  }
  return found;
}

function hasSize(each: unknown): boolean {
  try {
    return (each as { size: number }).size >= 0;
  } catch {
    return false;
  }
}
