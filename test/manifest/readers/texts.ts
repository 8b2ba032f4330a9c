/**
 * Texts for the fuzzer of the YAML readers: real examples and a saved corpus, changed here and there; and soups of the
 * pieces that YAML is made of. A number decides a text, so that each can be made again.
 */
import { readFileSync, readdirSync } from "node:fs";

/** Numbers from 0 (with it) to 1 (without), the same for the same seed (Mulberry32, Tommy Ettinger). */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new RangeError("There is nothing to pick from.");
    return value;
  }
}

const ROOT = new URL("../../../../", import.meta.url);

interface Case {
  readonly name: string;
  readonly text: string;
}

/** Texts that two readers once read in two ways, or that are near to such. */
export function readCorpus(): readonly Case[] {
  return JSON.parse(readFileSync(new URL("test/manifest/readers/corpus.json", ROOT), "utf8")) as readonly Case[];
}

/** Documents of the examples, each alone, and short enough that many can be tried. */
function readExamples(): readonly string[] {
  return readdirSync(new URL("examples/", ROOT), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".yaml") && !path.includes("node_modules"))
    .flatMap((path) => readFileSync(new URL(`examples/${path}`, ROOT), "utf8").split(/^---$/m))
    .filter((text) => text.includes("apiVersion") && text.length < 900);
}

const KUBERNETES = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: "web"
  labels: {app: 'x', tier: }
  annotations:
    note: |
      two
      lines
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes:
  - "Ingress"
  - Egress
  ingress:
  - from:
    - ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16] }
    - namespaceSelector: {}
    ports: [{port: 80}, {port: http, protocol: "TCP"}]
  egress: []
`;

/** What mutations put into texts: most of it has a meaning, or two, somewhere in YAML. */
const PIECES = [
  ...Array.from(" -:,[]{}#&*!|>'\"%@`?~\n\t\r\\/=.<+0123456789abefnxyzN_"),
  ...Array.from(
    "\u0000\u0007\u000b\u001b\u007f\u0085\u00a0\u00ad\u061c\u200b\u200e\u202e\u2028\u2029\u2066\ufeff\ufffe\ud800é日😀",
  ),
  ...[
    "\r\n",
    "\n\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n  - ",
    ": ",
    " :",
    ":\n",
    " #",
    "# ",
    "\n#",
    " # c\n",
    "---\n",
    "--- ",
    "...\n",
  ],
  ...[
    "\n---\n",
    "\n...\n",
    "%YAML 1.2\n---\n",
    "%YAML 1.1\n---\n",
    "\n%TAG ! x\n",
    "\n %a",
    "%",
    "<<: ",
    "<<: *a",
    "&a ",
    "*a",
    "!!str ",
  ],
  ...[
    "!!set ",
    "!!binary ",
    "!!int ",
    "!!null ",
    "!!map ",
    "!x ",
    "! ",
    "!<tag:yaml.org,2002:str> ",
    "|\n",
    ">-\n  ",
    "|2+\n",
    "? ",
    "? a\n: b\n",
  ],
  ...[
    "null",
    "~",
    "Null",
    "true",
    "Yes",
    "on",
    "y",
    "010",
    "0x1F",
    "0o17",
    "0b11",
    "1_0",
    "+1",
    "-0",
    "1e3",
    ".5",
    "1.0",
    ".inf",
    ".NaN",
  ],
  ...[
    "12:30:45",
    "190:20:30",
    "2026-01-01",
    "10.0.0.0/8",
    "fd77::1",
    "::1",
    "::",
    "a: b",
    "a:b",
    "- a",
    "[a, b]",
    "{a: b}",
    "{a}",
    "[a: b]",
    "{a: b,}",
  ],
  ...[
    '""',
    "''",
    '"a" b',
    "'a' b: c",
    '"a": b',
    '"a":b',
    '"\\n"',
    '"\\u202e"',
    "'it''s'",
    '"a\n  b"',
    "'a\n\n b'",
    '"a\\\n b"',
    "a\n  b",
    "__proto__: 1",
    "constructor: 1",
  ],
  ...[
    "spec:",
    "ingress: [{}]",
    "podSelector: {}",
    "  ingress: [{}]",
    'x"',
    "x'",
    " \n",
    "\t\n",
    "\n\t",
    "  \t",
    "-\t",
    ":\t",
    " \\\n",
  ],
  `${"k".repeat(1030)}: `,
  `"${"k".repeat(1030)}": `,
];

type Mutation = (text: string, dice: Dice, others: readonly string[]) => string;

const splice = (text: string, from: number, to: number, piece: string): string =>
  text.slice(0, from) + piece + text.slice(to);

function withLines(change: (lines: string[], at: number, dice: Dice) => readonly string[]): Mutation {
  return (text, dice) => {
    const lines = text.split("\n");
    return change(lines, dice.below(lines.length), dice).join("\n");
  };
}

/** A place where one word ends and another begins: there a change most often leaves YAML behind it. */
function edge(text: string, dice: Dice): number {
  const at = dice.below(text.length + 1);
  const next = text.slice(at).search(/\b/);
  return next === -1 ? at : at + next;
}

const MUTATIONS: readonly Mutation[] = [
  (text, dice) => splice(text, ...twice(dice.below(text.length + 1)), dice.pick(PIECES)),
  (text, dice) => splice(text, ...twice(edge(text, dice)), dice.pick(PIECES)),
  (text, dice) => {
    const at = edge(text, dice);
    return splice(text, at, at + 1 + dice.below(3), dice.pick(PIECES));
  },
  (text, dice) => {
    const at = dice.below(text.length + 1);
    return splice(text, at, at + 1 + dice.below(4), "");
  },
  // A word becomes another one.
  (text, dice) => {
    const words = [...text.matchAll(/[\w./-]+/g)];
    const word = words[dice.below(Math.max(1, words.length))];
    return word === undefined ? text : splice(text, word.index, word.index + word[0].length, dice.pick(PIECES));
  },
  withLines((lines, at, dice) => lines.toSpliced(dice.below(lines.length + 1), 0, lines[at] ?? "")),
  withLines((lines, at) => lines.toSpliced(at, 1)),
  withLines((lines, at, dice) => lines.toSpliced(at, 1, " ".repeat(dice.below(4)) + (lines[at] ?? ""))),
  withLines((lines, at, dice) => lines.toSpliced(at, 1, (lines[at] ?? "").slice(dice.below(4)))),
  withLines((lines, at, dice) =>
    lines.toSpliced(at, 2, (lines[at] ?? "") + dice.pick(["", " ", "\r"]) + (lines[at + 1] ?? "").trimStart()),
  ),
  withLines((lines, at, dice) =>
    lines.toSpliced(at, 1, (lines[at] ?? "") + dice.pick([" ", "\t", "\r", " # c", "#c", ",", " x", ":", "  "])),
  ),
  withLines((lines, at, dice) => lines.toSpliced(at, 0, (/^ */.exec(lines[at] ?? "")?.[0] ?? "") + dice.pick(PIECES))),
  (text, dice, others) => {
    const other = dice.pick(others);
    const from = dice.below(other.length);
    return splice(text, ...twice(edge(text, dice)), other.slice(from, from + dice.below(60)));
  },
];

const twice = (at: number): readonly [number, number] => [at, at];

export class Texts {
  readonly #sources: readonly string[];

  constructor() {
    this.#sources = [...readExamples(), KUBERNETES, KUBERNETES, KUBERNETES, ...readCorpus().map(({ text }) => text)];
  }

  at(seed: number): string {
    const dice = new Dice(seed);
    if (dice.below(5) === 0) return Array.from({ length: 1 + dice.below(14) }, () => dice.pick(PIECES)).join("");
    let text = dice.pick(this.#sources);
    for (let count = 1 + dice.below(2) * dice.below(4); count > 0; count -= 1)
      text = dice.pick(MUTATIONS)(text, dice, this.#sources);
    return text;
  }
}
