/** A strict reader of Prometheus's text format (version 0.0.4), for tests. */

export interface Scrape {
  readonly types: ReadonlyMap<string, string>;
  /** The sum over the series of a name that have these labels, and perhaps others; NaN when there is none. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
}

interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;
// prom-client writes Nan, which Prometheus reads like NaN.
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (Na[nN]|[+-]Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)$`);
const HEAD = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`);
const TYPES = ["counter", "gauge", "histogram", "summary", "untyped"];

/** Of one or several nodes together. @throws Error that names the line which is not as it should be */
export function readScrapes(texts: readonly string[]): Scrape {
  const types = new Map<string, string>();
  const series = texts.flatMap((text) => readText(text, types));
  return {
    types,
    sum(name, labels = {}) {
      const found = series.filter(
        (one) => one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
      );
      return found.length === 0 ? Number.NaN : found.reduce((sum, { value }) => sum + value, 0);
    },
  };
}

function readText(text: string, types: Map<string, string>): Series[] {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const series: Series[] = [];
  const told = new Set<string>();
  const keys = new Set<string>();
  let family: string | undefined;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const head = HEAD.exec(line);
    if (head !== null) {
      const [, kind, name = "", rest = ""] = head;
      if (told.has(`${kind} ${name}`)) throw new Error(`told twice: ${line}`);
      told.add(`${kind} ${name}`);
      if (kind === "TYPE" && !TYPES.includes(rest)) throw new Error(`no such type: ${line}`);
      if (kind === "TYPE") types.set(name, rest);
      family = name;
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (sample === null) throw new Error(`no sample: ${line}`);
    const [, name = "", labels = "", value = ""] = sample;
    const suffix = family !== undefined && name.startsWith(family) ? name.slice(family.length) : undefined;
    const suffixes = types.get(family ?? "") === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (suffix === undefined || !suffixes.includes(suffix)) throw new Error(`not of ${family}: ${line}`);
    const one = { name, labels: readLabels(labels, line), value: Number(value.replace("Inf", "Infinity")) };
    const key = keyOf(one);
    if (keys.has(key)) throw new Error(`told twice: ${line}`);
    keys.add(key);
    series.push(one);
  }
  checkHistograms(series, types);
  return series;
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ""; ) {
    const label = LABEL.exec(rest);
    if (label === null) throw new Error(`no label: ${line}`);
    const [all, name = "", value = ""] = label;
    if (name in labels) throw new Error(`label twice: ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char));
    rest = rest.slice(all.length);
  }
  return labels;
}

function keyOf({ name, labels }: Pick<Series, "name" | "labels">): string {
  return JSON.stringify([name, Object.entries(labels).sort()]);
}

/** Buckets never fall, and the last one, +Inf, is the count. */
function checkHistograms(series: readonly Series[], types: ReadonlyMap<string, string>): void {
  const values = new Map(series.map((one) => [keyOf(one), one.value]));
  const buckets = new Map<string, { le: number; value: number }[]>();
  for (const { name, labels, value } of series) {
    const family = name.replace(/_bucket$/, "");
    if (family === name || types.get(family) !== "histogram") continue;
    const { le = "", ...others } = labels;
    const key = keyOf({ name: `${family}_count`, labels: others });
    buckets.set(key, [...(buckets.get(key) ?? []), { le: Number(le.replace("Inf", "Infinity")), value }]);
  }
  for (const [key, all] of buckets) {
    const isAscending = all.every(({ le, value }, i) => i === 0 || (le > all[i - 1]!.le && value >= all[i - 1]!.value));
    const last = all.at(-1)!;
    if (!isAscending || last.le !== Number.POSITIVE_INFINITY || last.value !== values.get(key))
      throw new Error(`buckets are not as they should be: ${key}`);
  }
}
