/** The arithmetic of filters, of two whole numbers or of two doubles. Who calls sees to divisors of zero, and to what a type may hold. */
import type { ArithmeticOperator } from "./ast.ts";

export function calculateBig(left: bigint, operator: ArithmeticOperator, right: bigint): bigint {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case "**":
      return bigPower(left, right);
  }
}

/** 0, 1 and -1 stay small whatever the exponent, which BigInt's own `**` refuses when it is huge. */
function bigPower(base: bigint, exponent: bigint): bigint {
  if (base >= -1n && base <= 1n && exponent > 1n) return base < 0n && exponent % 2n === 0n ? 1n : base;
  return base ** exponent;
}

export function calculateDouble(left: number, operator: ArithmeticOperator, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case "**":
      return left ** right;
  }
}
