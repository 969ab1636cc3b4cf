/** Insert, Upsert, Delete, Search, HybridSearch, Query: their messages carry columns, and have codecs of their own (wire/). */
import type { Rpc } from "../rpc.ts";
import { readRpcs } from "./reads.ts";
import { writeRpcs } from "./writes.ts";

export const entityRpcs: Rpc[] = [...writeRpcs, ...readRpcs];
