import { expect, test } from "vitest";
import { ERRORS, type ErrorKind, VdbError } from "../../../runtime/errors.ts";
import { decodeMessage, encodeMessage, loadDefinitions } from "./definitions.ts";
import { statusOf } from "./status.ts";

test("every error is a failure by its code and by the enum that old clients read", () => {
  const type = loadDefinitions().type("common.Status");
  for (const kind of Object.keys(ERRORS) as ErrorKind[]) {
    const { code, retriable } = ERRORS[kind];
    const status = decodeMessage(type, encodeMessage(type, statusOf(new VdbError(kind, "why"))));
    expect(status, kind).toMatchObject({ code, retriable, reason: "why" });
    expect(status.errorCode, kind).not.toBe("Success");
  }
});

test("details are among the extra information", () => {
  const status = statusOf(new VdbError("invalid_parameter", "why", { details: { row: 3, field: "a" } }));
  expect(status).toMatchObject({ extraInfo: { row: "3", field: "a", is_input_error: "true" } });
});
