/** What users, roles and groups of privileges may be called, and how long passwords are: Milvus's rules. */
import { VdbError } from "../../../runtime/errors.ts";

const NAME_BYTES_MAX = 255;
const USER_NAME_CHARS_MAX = 32;
const PASSWORD_BYTES_MIN = 6;
const PASSWORD_BYTES_MAX = 72;

/** @throws VdbError invalid_parameter */
export function checkUserName(name: string): void {
  if (name.trim() === "") throw invalid("username must be not empty");
  if (name.length > USER_NAME_CHARS_MAX) {
    const range = `${name.length} out of range 1 <= value <= ${USER_NAME_CHARS_MAX}`;
    throw invalid(`the length of username must be not greater than limit: invalid parameter[${range}]`);
  }
  if (!/^[A-Za-z]/.test(name)) throw invalid(`invalid user name ${name}, the first character must be a letter`);
  if (!/^[\w.-]+$/.test(name)) {
    throw invalid(
      `invalid user name ${name}, username must contain only numbers, letters, underscores, dots, and hyphens`,
    );
  }
}

/** @throws VdbError invalid_parameter */
export function checkPassword(password: string): void {
  const bytes = Buffer.byteLength(password);
  if (bytes >= PASSWORD_BYTES_MIN && bytes <= PASSWORD_BYTES_MAX) return;
  const range = `${bytes} out of range ${PASSWORD_BYTES_MIN} <= value <= ${PASSWORD_BYTES_MAX}`;
  throw invalid(`invalid password length: invalid parameter[${range}]`);
}

/** @throws VdbError invalid_parameter */
export function checkRoleName(name: string): void {
  checkName(name, "role name");
}

/** @throws VdbError invalid_parameter */
export function checkPrivilegeGroupName(name: string): void {
  checkName(name, "privilege group name");
}

function checkName(name: string, what: string): void {
  if (name.trim() === "") throw invalid(`${what} should be not empty`);
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES_MAX) {
    const range = `${bytes} out of range 0 <= value <= ${NAME_BYTES_MAX}`;
    throw invalid(`the length of ${what} must be not greater than limit: invalid parameter[${range}]`);
  }
  if (!/^[A-Za-z_]/.test(name)) throw invalid(`the first character of ${what} must be an underscore or letter`);
  if (!/^[\w$]*$/.test(name)) throw invalid(`${what} can only contain numbers, letters, dollars and underscores`);
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
