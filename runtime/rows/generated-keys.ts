/** Primary keys that the database makes. */
export { keysFrom } from "../../actors/proxy/auto-ids.ts";
