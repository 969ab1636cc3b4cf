/** Relations of two geometries (DE-9IM, as OGC's Simple Features name them). */

export const RELATIONS = ["equals", "touches", "overlaps", "crosses", "contains", "intersects", "within"] as const;

/** The relation of a row's geometry to the filter's: `within` is true if the row's lies within the filter's. */
export type Relation = (typeof RELATIONS)[number];
