import { expect, it } from "vitest";
import { hashPassword, isStoredPassword, verifyPassword } from "./passwords.ts";

it("a password is known again, and no other is", async () => {
  const stored = await hashPassword("Pä$$wort: 1");
  expect(isStoredPassword(stored)).toBe(true);
  expect(await verifyPassword("Pä$$wort: 1", stored)).toBe(true);
  expect(await verifyPassword("Pä$$wort: 2", stored)).toBe(false);
  expect(await verifyPassword("", stored)).toBe(false);
});

it("the same password is stored differently each time", async () => {
  expect(await hashPassword("secret")).not.toBe(await hashPassword("secret"));
});

it.each([
  "",
  "plain",
  "scrypt$16384$8$1$AAAA",
  "scrypt$16384$8$1$$",
  "scrypt$1000$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
  "scrypt$1073741824$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
])("%j is no stored password", async (text) => {
  expect(isStoredPassword(text)).toBe(false);
  expect(await verifyPassword("", text)).toBe(false);
});
