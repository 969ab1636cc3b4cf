/**
 * Distances in metres between geometries in degrees: x is the longitude, y the latitude, and the earth a ball. Between two
 * points it is the great circle. Between a point and anything else it is the distance to the nearest of its points, found in
 * the plane that touches the ball at the first point, scaled to the length of a degree of longitude there.
 */
import type { Parts } from "./segments.ts";
import { ANY_BOX, type Window, windowMeeting } from "./windows.ts";

const RADIUS_METRES = 6_371_000;
const RADIANS = Math.PI / 180;
const MOST = Number.POSITIVE_INFINITY;

export function metresBetween(lon1: number, lat1: number, lon2: number, lat2: number): number {
  const sinLat = Math.sin(((lat2 - lat1) * RADIANS) / 2);
  const sinLon = Math.sin(((lon2 - lon1) * RADIANS) / 2);
  const a = sinLat * sinLat + Math.cos(lat1 * RADIANS) * Math.cos(lat2 * RADIANS) * sinLon * sinLon;
  return 2 * RADIUS_METRES * Math.atan2(Math.sqrt(a), Math.sqrt(1 - a));
}

/** Windows of all boxes that may hold a point so near. */
export function nearWindows(lon: number, lat: number, metres: number): Window[] {
  // Numbers outside the range of degrees wrap around.
  if (Math.abs(lat) > 90 || Math.abs(lon) > 180) return [ANY_BOX];
  const windows: Window[] = [
    Float64Array.of(-MOST, -180, -MOST, MOST, -MOST, MOST, -MOST, MOST),
    Float64Array.of(-MOST, MOST, -MOST, -90, -MOST, MOST, -MOST, MOST),
    Float64Array.of(-MOST, MOST, -MOST, MOST, 180, MOST, -MOST, MOST),
    Float64Array.of(-MOST, MOST, -MOST, MOST, -MOST, MOST, 90, MOST),
  ];
  // Rounding must not exclude points on the circle.
  const angle = (metres / RADIUS_METRES) * (1 + 1e-9) + 1e-12;
  const height = angle / RADIANS;
  const sine = angle < Math.PI / 2 ? Math.sin(angle) / Math.cos(lat * RADIANS) : 2;
  // A circle around a pole has all longitudes.
  const isWhole = Math.abs(lat) + height >= 90 || sine >= 1;
  const width = isWhole ? 360 : (Math.asin(sine) / RADIANS) * (1 + 1e-9) + 1e-9;
  for (let turn = -360; turn <= 360; turn += 360) {
    const box = Float64Array.of(lon + turn - width, lat - height, lon + turn + width, lat + height);
    if (box[0]! <= 180 && box[2]! >= -180) windows.push(windowMeeting(box));
  }
  return windows;
}

/** Whether any point of the geometry is so near. @param isInside whether a point lies in its areas */
export function isNear(
  parts: Parts,
  lon: number,
  lat: number,
  metres: number,
  isInside: (x: number, y: number) => boolean,
): boolean {
  const { points } = parts;
  for (let i = 0; i < points.length; i += 2) {
    if (metresBetween(lon, lat, points[i]!, points[i + 1]!) <= metres) return true;
  }
  const { box } = parts;
  // Points beyond the meridian where longitudes start again are as near.
  for (let turn = -360; turn <= 360; turn += 360) {
    if (lon + turn - box[2]! > 180 || box[0]! - lon - turn > 180) continue;
    if (isInside(lon + turn, lat)) return true;
    if (metresToSegments(parts.segments, lon + turn, lat) <= metres) return true;
  }
  return false;
}

function metresToSegments(segments: Float64Array, lon: number, lat: number): number {
  const scale = Math.cos(lat * RADIANS);
  let least = Number.POSITIVE_INFINITY;
  let nearestX = 0;
  let nearestY = 0;
  for (let i = 0; i < segments.length; i += 4) {
    const ax = (segments[i]! - lon) * scale;
    const ay = segments[i + 1]! - lat;
    const dx = (segments[i + 2]! - lon) * scale - ax;
    const dy = segments[i + 3]! - lat - ay;
    const length = dx * dx + dy * dy;
    const part = length === 0 ? 0 : Math.max(0, Math.min(1, -(ax * dx + ay * dy) / length));
    const x = ax + part * dx;
    const y = ay + part * dy;
    if (x * x + y * y >= least) continue;
    least = x * x + y * y;
    nearestX = segments[i]! + part * (segments[i + 2]! - segments[i]!);
    nearestY = segments[i + 1]! + part * (segments[i + 3]! - segments[i + 1]!);
  }
  return least === Number.POSITIVE_INFINITY ? least : metresBetween(lon, lat, nearestX, nearestY);
}
