/** How two geometries may lie to each other (DE-9IM, as OGC's Simple Features name it). */

export const RELATIONS = ["equals", "touches", "overlaps", "crosses", "contains", "intersects", "within"] as const;

/** Of a row's geometry to the filter's: `within` is true where the row's lies within the filter's. */
export type Relation = (typeof RELATIONS)[number];
