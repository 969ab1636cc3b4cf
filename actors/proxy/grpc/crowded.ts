/**
 * Messages without a codec of their own are decoded in one go, at a fifth of a microsecond a value. So large ones are
 * looked through first, in steps, and refused when they hold very many values. A few long texts do no harm.
 */
import protobuf from "protobufjs/light.js";
import type { Steps } from "../../../runtime/steps.ts";
import { LENGTH } from "./wire/numbers.ts";
import { decodeWith, enter, type Reader, readFieldsInSteps } from "./wire/reader.ts";

/** Smaller messages can not hold too many. */
export const CROWDED_BYTES = 48 * 1024;

const VALUES_MAX = 48 * 1024;
const DEPTH_MAX = 32;

/** @throws VdbError invalid_parameter */
export function refuseCrowded(type: protobuf.Type, bytes: Uint8Array): Steps {
  const counted = { values: 0 };
  return decodeWith(bytes, type.name, (reader) => countIn(type, reader, reader.len, counted, 0));
}

function* countIn(type: protobuf.Type, reader: Reader, end: number, counted: { values: number }, depth: number): Steps {
  if (depth > DEPTH_MAX) throw new RangeError(`it is nested deeper than ${DEPTH_MAX} levels`);
  const count = (values: number) => {
    counted.values += values;
    if (counted.values > VALUES_MAX) throw new RangeError(`it has more than ${VALUES_MAX} values`);
  };
  yield* readFieldsInSteps(reader, end, (id, wireType) => {
    count(1);
    const field = type.fieldsById[id]?.resolve();
    if (field === undefined || wireType !== LENGTH) return undefined;
    const fieldEnd = enter(reader, wireType);
    if (field.resolvedType instanceof protobuf.Type && !field.map) {
      return countIn(field.resolvedType, reader, fieldEnd, counted, depth + 1);
    }
    // Packed numbers: a byte each may be one.
    if (field.repeated && field.type !== "string" && field.type !== "bytes") count(fieldEnd - reader.pos);
    reader.pos = fieldEnd;
    return undefined;
  });
}
