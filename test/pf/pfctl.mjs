#!/usr/bin/env node
/**
 * A stand-in for pfctl of macOS, for tests of the edge to it and for nothing else: arguments, standard input, exit
 * codes and what is printed. It keeps in the file $PF_STATE what pf would hold, and writes down how it was called. It
 * judges no packet and knows no grammar; what a rule means is the business of model.ts.
 *
 * Faults, in the same file: `failLoad`, `failCheck`, `notRoot`, `failKill`, `noToken`.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = process.env.PF_STATE ?? `${process.argv[1]}.json`;
const state = JSON.parse(readFileSync(file, "utf8"));
const args = process.argv.slice(2);
const calls = `${args.join(" ")}`;
state.calls = [...(state.calls ?? []), calls];
const save = () => writeFileSync(file, JSON.stringify(state));
const say = (text) => process.stdout.write(`${text}\n`);
const fail = (text, code = 1) => {
  process.stderr.write(`No ALTQ support in kernel\nALTQ related functions disabled\npfctl: ${text}\n`);
  save();
  process.exit(code);
};

const flags = new Map();
for (let at = 0; at < args.length; at++) {
  const flag = args[at];
  if (["-n", "-v", "-E"].includes(flag)) flags.set(flag, [""]);
  else flags.set(flag, [...(flags.get(flag) ?? []), args[++at]]);
}
const one = (flag) => flags.get(flag)?.at(-1);

if (state.notRoot && !flags.has("-n")) fail("/dev/pf: Permission denied");

/** As pf prints a rule: no comment, an address without the length of a host, ports with their operator. */
const printed = (line) =>
  line
    .replace(/ port (\d+)( |$)/g, " port = $1$2")
    .replace(/(\d)\/32( |$)/g, "$1$2")
    .replace(/\/128( |$)/g, "$1")
    .replace(/ user "([^"]+)"/, " user = 70")
    .replace(/ icmp6?-type 8 /, " icmp-type echoreq ");

function load(text) {
  const rules = [];
  const tables = {};
  for (const line of text.split("\n").map((part) => part.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name, body] = /^table <(\S+)> const \{ (.*) \}$/.exec(line) ?? [];
    if (name !== undefined) tables[name] = body.split(", ").map((cidr) => cidr.replace(/\/(32|128)$/, ""));
    else if (/^(pass|block|anchor)\b/.test(line)) rules.push(printed(line));
    else if (!/^(set|scrub|nat|rdr|dummynet|load)\b/.test(line))
      fail("stdin:1: syntax error\npfctl: Syntax error in config file: pf rules not loaded");
  }
  return { rules, tables };
}

if (flags.has("-f")) {
  const text = readFileSync(one("-f") === "-" ? 0 : one("-f"), "utf8");
  state.lastText = text;
  if (state.failCheck && flags.has("-n"))
    fail("stdin:1: syntax error\npfctl: Syntax error in config file: pf rules not loaded");
  const loaded = load(text);
  if (flags.has("-v")) {
    for (const [name, list] of Object.entries(loaded.tables)) say(`table <${name}> const { ${list.join(" ")} }`);
    for (const rule of loaded.rules) say(rule);
  }
  if (!flags.has("-n")) {
    // pf takes a load whole or not at all: what went wrong half way is rolled back.
    if (state.failLoad) fail("DIOCXCOMMIT: Device busy");
    if (one("-a") === undefined) state.main = loaded.rules;
    else state.anchors[one("-a")] = { ...loaded, counts: loaded.rules.map(() => 0) };
  }
} else if (flags.has("-E")) {
  state.enabled = true;
  if (state.noToken) say("pf enabled");
  else {
    state.nextToken = (state.nextToken ?? 1000) + 1;
    state.tokens = [...(state.tokens ?? []), String(state.nextToken)];
    process.stderr.write(`pf enabled\nToken : ${state.nextToken}\n`);
  }
} else if (flags.has("-X")) {
  if (!(state.tokens ?? []).includes(one("-X"))) fail("DIOCSTOPREF: Invalid argument");
  state.tokens = state.tokens.filter((token) => token !== one("-X"));
  if (state.tokens.length === 0) state.enabled = false;
} else if (flags.has("-F")) {
  state.anchors[one("-a")] = { rules: [], tables: {}, counts: [] };
} else if (flags.has("-k")) {
  if (state.failKill) fail("DIOCKILLSTATES: Operation not supported");
  const [source, destination] = flags.get("-k");
  const matches = (wanted, address) => wanted === "0.0.0.0/0" || wanted === "::/0" || wanted === address;
  const before = state.states.length;
  state.states = state.states.filter(({ from, to }) => !(matches(source, from) && matches(destination, to)));
  process.stderr.write(`killed ${before - state.states.length} states from 1 sources and 1 destinations\n`);
} else if (flags.has("-T")) {
  const table = state.anchors[one("-a")]?.tables[one("-t")];
  if (table === undefined) fail("Table does not exist.", 255);
  for (const cidr of table) say(`   ${cidr}`);
} else {
  const isKnown =
    one("-a") === undefined || state.anchors[one("-a")] || state.main.some((line) => line.includes(`"${one("-a")}"`));
  if (!isKnown) fail("DIOCGETRULES: Invalid argument");
  const anchor = state.anchors[one("-a")] ?? { rules: [], tables: {}, counts: [] };
  switch (one("-s")) {
    case "info":
      say(`Status: ${state.enabled ? "Enabled for 0 days 00:00:07" : "Disabled"}           Debug: Urgent`);
      break;
    case "References":
      say("TOKENS:\nPID      Process Name                 TOKEN                    TIMESTAMP");
      for (const token of state.tokens ?? [])
        say(`1        pfctl                        ${token}             0 days 00:00:01`);
      break;
    case "rules":
      for (const rule of one("-a") === undefined ? state.main : anchor.rules) say(rule);
      break;
    case "Tables":
      for (const name of Object.keys(anchor.tables)) say(name);
      break;
    case "labels":
      anchor.rules.forEach((rule, at) => {
        const [, label] = /label "([^"]+)"/.exec(rule) ?? [];
        if (label !== undefined) say(`${label} 10 ${anchor.counts[at]} 60 1 30 1 30 0`);
      });
      break;
    case "states":
      for (const { line } of state.states) say(line);
      break;
    default:
      fail(`Unknown show modifier '${one("-s")}'`);
  }
}
process.stderr.write("No ALTQ support in kernel\nALTQ related functions disabled\n");
save();
