/** Text: builds the lines of an anchor, its tables before its rules. */
import type { Direction, Rule } from "../../../model/ruleset.js";
import { tableOf, type LabelKind } from "./names.js";

export interface RenderedRule {
  /** Without its label. */
  readonly text: string;
  readonly kind: LabelKind;
  readonly label: string;
  /** For kind `rule`, and for `denied` if a rule denies. */
  readonly rule?: Rule;
  /** The only workload that it concerns. */
  readonly workload?: string;
  readonly direction?: Direction;
}

export interface Hosts {
  /** In a rule's syntax: `any`, one CIDR or a table. */
  readonly text: string;
  readonly families: readonly (4 | 6)[];
}

export const ANYONE: Hosts = { text: "any", families: [4, 6] };

export class Text {
  readonly rules: RenderedRule[] = [];
  readonly #tables = new Map<string, readonly string[]>();
  readonly #lines: string[] = [];

  /** Returns the tables that a rule uses: pf drops any other right after the load. */
  get tables(): ReadonlyMap<string, readonly string[]> {
    const named = new Set(this.rules.flatMap(({ text }) => text.match(/(?<=<)[^>]+(?=>)/g) ?? []));
    return new Map([...this.#tables].filter(([name]) => named.has(name)));
  }

  /**
   * Returns hosts for a rule. One CIDR is in the rule itself; more become a table, which costs one lookup whatever its
   * size.
   * @param cidrs canonical, at least one
   * @throws TypeError for anything else: it would be read as grammar
   */
  hosts(cidrs: readonly string[]): Hosts {
    const sorted = [...new Set(cidrs)].sort();
    const wrong = sorted.find((cidr) => !/^[0-9a-f.:]+\/[0-9]+$/.test(cidr));
    if (wrong !== undefined || sorted.length === 0) throw new TypeError(`no CIDR: ${wrong ?? "none"}`);
    const families = ([4, 6] as const).filter((family) => sorted.some((cidr) => cidr.includes(":") === (family === 6)));
    const [only] = sorted;
    if (only !== undefined && sorted.length === 1) return { text: only, families };
    const name = tableOf(sorted);
    this.#tables.set(name, sorted);
    return { text: `<${name}>`, families };
  }

  comment(line: string): void {
    this.#lines.push(line);
  }

  rule(rule: RenderedRule): void {
    this.rules.push(rule);
    this.#lines.push(lineOf(rule));
  }

  toString(): string {
    const [head = "", ...rest] = this.#lines;
    const tables = [...this.tables].map(([name, cidrs]) => `table <${name}> const { ${cidrs.join(", ")} }`);
    return [head, ...tables.sort(), ...rest, ""].join("\n");
  }
}

export function lineOf({ text, label }: RenderedRule): string {
  return `${text} label "${label}"`;
}
