/** Rows to columns, for whoever takes rows: proxies and the readers of imports. */
export { type Row, refusePrimaryKeys, rowsToColumns } from "../../actors/proxy/rows-to-columns.ts";
