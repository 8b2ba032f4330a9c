/**
 * A stand-in for pfctl of macOS, for tests of the edge to it and for nothing else: arguments, standard input, exit
 * codes and what is printed. It judges no packet and knows no grammar; what a rule means is the business of model.ts.
 */
import { readFileSync } from "node:fs";

export interface PfState {
  enabled: boolean;
  tokens: string[];
  nextToken?: number;
  main: string[];
  anchors: Record<string, Anchor>;
  states: { line: string; from: string; to: string }[];
  /** How it was called. */
  calls: string[];
  lastText?: string;
  // Faults.
  failLoad?: boolean;
  failCheck?: boolean;
  failKill?: boolean;
  notRoot?: boolean;
  noToken?: boolean;
}

interface Anchor {
  rules: string[];
  tables: Record<string, string[]>;
  counts: number[];
}

export interface PfAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const CHATTER = "No ALTQ support in kernel\nALTQ related functions disabled\n";
const SYNTAX_ERROR = "stdin:1: syntax error\npfctl: Syntax error in config file: pf rules not loaded";

class Refusal extends Error {
  constructor(
    message: string,
    readonly code = 1,
  ) {
    super(message);
  }
}

/** One run of the program. It changes `state` as pf would. */
export function runPfctl(state: PfState, args: readonly string[], input: string): PfAnswer {
  state.calls.push(args.join(" "));
  const run = new Run(state, args, input);
  try {
    run.act();
    return { code: 0, stdout: run.stdout, stderr: run.stderr + CHATTER };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { code: error.code, stdout: run.stdout, stderr: `${run.stderr}${CHATTER}pfctl: ${error.message}\n` };
  }
}

class Run {
  stdout = "";
  stderr = "";
  readonly #flags: ReadonlyMap<string, readonly string[]>;

  constructor(
    readonly state: PfState,
    args: readonly string[],
    readonly input: string,
  ) {
    this.#flags = parse(args);
  }

  act(): void {
    if (this.state.notRoot === true && !this.#flags.has("-n")) throw new Refusal("/dev/pf: Permission denied");
    if (this.#flags.has("-f")) this.#load();
    else if (this.#flags.has("-E")) this.#enable();
    else if (this.#flags.has("-X")) this.#release();
    else if (this.#flags.has("-F")) this.state.anchors[this.#anchorName()] = { rules: [], tables: {}, counts: [] };
    else if (this.#flags.has("-k")) this.#kill();
    else if (this.#flags.has("-T")) this.#showTable();
    else this.#show();
  }

  #one(flag: string): string | undefined {
    return this.#flags.get(flag)?.at(-1);
  }

  #anchorName(): string {
    return this.#one("-a") ?? "";
  }

  #say(text: string): void {
    this.stdout += `${text}\n`;
  }

  #load(): void {
    const path = this.#one("-f") ?? "-";
    const text = path === "-" ? this.input : readFileSync(path, "utf8");
    this.state.lastText = text;
    if (this.state.failCheck === true && this.#flags.has("-n")) throw new Refusal(SYNTAX_ERROR);
    const loaded = read(text);
    if (this.#flags.has("-v")) {
      for (const [name, list] of Object.entries(loaded.tables))
        this.#say(`table <${name}> const { ${list.join(" ")} }`);
      for (const rule of loaded.rules) this.#say(rule);
    }
    if (this.#flags.has("-n")) return;
    // pf takes a load whole or not at all: what went wrong half way is rolled back.
    if (this.state.failLoad === true) throw new Refusal("DIOCXCOMMIT: Device busy");
    if (this.#one("-a") === undefined) this.state.main = loaded.rules;
    else this.state.anchors[this.#anchorName()] = { ...loaded, counts: loaded.rules.map(() => 0) };
  }

  #enable(): void {
    this.state.enabled = true;
    if (this.state.noToken === true) return this.#say("pf enabled");
    this.state.nextToken = (this.state.nextToken ?? 1000) + 1;
    this.state.tokens.push(String(this.state.nextToken));
    this.stderr += `pf enabled\nToken : ${this.state.nextToken}\n`;
  }

  #release(): void {
    const token = this.#one("-X") ?? "";
    if (!this.state.tokens.includes(token)) throw new Refusal("DIOCSTOPREF: Invalid argument");
    this.state.tokens = this.state.tokens.filter((one) => one !== token);
    if (this.state.tokens.length === 0) this.state.enabled = false;
  }

  #kill(): void {
    if (this.state.failKill === true) throw new Refusal("DIOCKILLSTATES: Operation not supported");
    const [source = "", destination = ""] = this.#flags.get("-k") ?? [];
    const matches = (wanted: string, address: string): boolean =>
      wanted === "0.0.0.0/0" || wanted === "::/0" || wanted === address;
    const before = this.state.states.length;
    this.state.states = this.state.states.filter(
      ({ from, to }) => !(matches(source, from) && matches(destination, to)),
    );
    this.stderr += `killed ${before - this.state.states.length} states from 1 sources and 1 destinations\n`;
  }

  #showTable(): void {
    const table = this.state.anchors[this.#anchorName()]?.tables[this.#one("-t") ?? ""];
    if (table === undefined) throw new Refusal("Table does not exist.", 255);
    for (const cidr of table) this.#say(`   ${cidr}`);
  }

  #show(): void {
    const name = this.#one("-a");
    const { main, anchors, enabled, tokens, states } = this.state;
    if (name !== undefined && anchors[name] === undefined && !main.some((line) => line.includes(`"${name}"`)))
      throw new Refusal("DIOCGETRULES: Invalid argument");
    const anchor = anchors[name ?? ""] ?? { rules: [], tables: {}, counts: [] };
    switch (this.#one("-s")) {
      case "info":
        return this.#say(`Status: ${enabled ? "Enabled for 0 days 00:00:07" : "Disabled"}           Debug: Urgent`);
      case "References":
        this.#say("TOKENS:\nPID      Process Name                 TOKEN                    TIMESTAMP");
        return tokens.forEach((token) =>
          this.#say(`1        pfctl                        ${token}             0 days 00:00:01`),
        );
      case "rules":
        return (name === undefined ? main : anchor.rules).forEach((rule) => this.#say(rule));
      case "Tables":
        return Object.keys(anchor.tables).forEach((table) => this.#say(table));
      case "labels":
        return anchor.rules.forEach((rule, at) => {
          const [, label] = /label "([^"]+)"/.exec(rule) ?? [];
          if (label !== undefined) this.#say(`${label} 10 ${anchor.counts[at]} 60 1 30 1 30 0`);
        });
      case "states":
        return states.forEach(({ line }) => this.#say(line));
      case undefined:
      default:
        throw new Refusal(`Unknown show modifier '${this.#one("-s")}'`);
    }
  }
}

function parse(args: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, readonly string[]>();
  for (let at = 0; at < args.length; at++) {
    const flag = args[at] ?? "";
    if (["-n", "-v", "-E"].includes(flag)) flags.set(flag, [""]);
    else flags.set(flag, [...(flags.get(flag) ?? []), args[++at] ?? ""]);
  }
  return flags;
}

/** As pf prints a rule: no comment, an address without the length of a host, ports with their operator. */
const printed = (line: string): string =>
  line
    .replace(/ port (\d+)( |$)/g, " port = $1$2")
    .replace(/(\d)\/32( |$)/g, "$1$2")
    .replace(/\/128( |$)/g, "$1")
    .replace(/ user "([^"]+)"/, " user = 70")
    .replace(/ icmp6?-type 8 /, " icmp-type echoreq ");

function read(text: string): { readonly rules: string[]; readonly tables: Record<string, string[]> } {
  const rules: string[] = [];
  const tables: Record<string, string[]> = {};
  for (const line of text.split("\n").map((part) => part.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name, body = ""] = /^table <(\S+)> const \{ (.*) \}$/.exec(line) ?? [];
    if (name !== undefined) tables[name] = body.split(", ").map((cidr) => cidr.replace(/\/(32|128)$/, ""));
    else if (/^(pass|block|anchor)\b/.test(line)) rules.push(printed(line));
    else if (!/^(set|scrub|nat|rdr|dummynet|load)\b/.test(line)) throw new Refusal(SYNTAX_ERROR);
  }
  return { rules, tables };
}
