/**
 * pf against the evaluator: random rulesets, rendered, and read back by a model of pf that knows nothing but the text.
 * On every packet both give one verdict, and name one rule. `ZTAP_SEED=<seed>:<case>` plays one case again.
 *
 * Where pf cannot or must not be what the evaluator says, the difference is told here in one place (`exception`).
 */
import { isIPv4 } from "node:net";
import t from "tap";
import { labelOf } from "../../src/adapters/pf/render/names.js";
import { render } from "../../src/adapters/pf/render/render.js";
import type { Direction, PortRange, Ruleset, Subject } from "../../src/model/ruleset.js";
import { createEvaluator, type Evaluator } from "../../src/policy/evaluate.js";
import { anyRuleset } from "../kernel/generate.js";
import { anyHost, bordersOf, Dice, type Borders, type Family } from "../kernel/pool.js";
import { SeededRandom } from "../fakes/random.js";
import { PfModel, type Packet } from "./model.js";

const PACKETS = Number(process.env["ZTAP_PACKETS"] ?? 100_000);
const PER_RULESET = 500;
const USERS = ["_www", "quick", "root"] as const;

/** A ruleset as it could be for a pf node: with addresses, and mostly without what pf cannot say. */
function forPf(dice: Dice, ruleset: Ruleset): Ruleset {
  const asks = dice.chance(15);
  const mend = (range: PortRange): PortRange => {
    if (asks || range.protocol === "TCP" || range.protocol === "UDP") return range;
    if (range.protocol === "SCTP") return { ...range, first: 0, last: 65535 };
    // ICMP as policies say it: everything, one type, or one code of a type.
    const type = range.first >> 8;
    if (range.first === 0 && range.last === 65535) return range;
    return range.first === range.last
      ? { ...range, first: Math.min(range.first, 0xfefe) & 0xfefe, last: Math.min(range.first, 0xfefe) & 0xfefe }
      : { ...range, first: (type % 255) << 8, last: ((type % 255) << 8) | 255 };
  };
  const subjects = ruleset.subjects.map(({ workload, cgroup, ingress, egress, identity }, at): Subject => {
    const addresses = dice.pick([[`10.0.0.${at + 1}`, `fd00::${at + 1}`], [`10.0.0.${at + 1}`], [`fd00::${at + 1}`]]);
    const shared = asks && dice.chance(20) ? ["10.0.0.99"] : [];
    return {
      ...{ workload, cgroup, ingress, egress },
      // The compiler makes none for a node that declares pf.
      ...(identity !== undefined && asks && dice.chance(20) ? { identity } : {}),
      addresses: asks && dice.chance(20) ? [] : [...addresses, ...shared],
      ...(dice.chance(20) ? { user: dice.pick(USERS) } : {}),
    };
  });
  const profiles = ruleset.profiles.map((profile) => ({
    ...profile,
    clauses: profile.clauses.map((clause) => ({
      ...clause,
      ports: clause.ports === "any" ? ("any" as const) : clause.ports.map(mend),
    })),
  }));
  return { ...ruleset, subjects, profiles };
}

interface Asked {
  readonly subject: Subject;
  readonly direction: Direction;
  readonly peer: string;
  readonly packet: Packet;
}

function anyPacket(dice: Dice, subjects: readonly Subject[], { hosts, ports }: Borders): Asked {
  const subject = dice.pick(subjects);
  const own = dice.pick(subject.addresses);
  const family: Family = isIPv4(own) ? 4 : 6;
  const peer = dice.chance(70) ? dice.pick(hosts[family]) : anyHost(dice, family);
  const direction = dice.pick(["ingress", "egress"] as const);
  const protocol = dice.weighted([
    [40, 6],
    [30, 17],
    [15, family === 4 ? 1 : 58],
    [8, 132],
    // ICMP in IPv6 and ICMPv6 in IPv4 do not exist: what no policy can name gets what a rule for everything says.
    [7, dice.pick([0, 2, 41, 47, 50, 51, 255])],
  ]);
  const isNamed = [1, 6, 17, 58, 132].includes(protocol);
  const packet: Packet = {
    direction: direction === "egress" ? "out" : "in",
    iface: "en0",
    from: direction === "egress" ? own : peer,
    to: direction === "egress" ? peer : own,
    protocol,
    sourcePort: protocol === 6 || protocol === 17 ? 1 + dice.below(65535) : null,
    port: !isNamed || dice.chance(3) ? null : dice.chance(80) ? dice.pick(ports) : dice.below(65536),
    opens: true,
    user: dice.chance(70) ? (subject.user ?? "root") : dice.pick(USERS),
  };
  return { subject, direction, peer, packet };
}

/** The verdict that pf gives in place of the evaluator's, with the reason; null where the two agree. */
function exception(
  { subject, packet }: Asked,
  closed: boolean,
): { readonly passes: boolean; readonly why: string } | null {
  const { protocol, port } = packet;
  if ((protocol === 6 || protocol === 17) && port === 0)
    return { passes: false, why: "port 0 is dropped by pf itself" };
  if (closed) return { passes: false, why: "closed, since pf cannot say what its policies ask" };
  const direction = packet.direction === "in" ? "ingress" : "egress";
  if (subject[direction].mode === "open") return null;
  const type = (port ?? 0) >> 8;
  const isDiscovery = protocol === 58 && type >= 133 && type <= 136 && ((port ?? 0) & 255) === 0;
  if (isDiscovery && packet.from.includes(":")) return { passes: true, why: "neighbour discovery" };
  // In audit mode what is named here is counted as audited.
  const passes = subject[direction].mode === "audit";
  if (protocol === 6 && port === null) return { passes, why: "a later fragment of TCP opens nothing" };
  const isSockets = (protocol === 6 || protocol === 17) && port !== null;
  if (isSockets && subject.user !== undefined && subject.user !== packet.user)
    return { passes, why: "the socket of another user" };
  return null;
}

const allowedBy = (evaluate: Evaluator, { subject, direction, peer, packet }: Asked) =>
  evaluate({ workload: subject.workload, direction, peer, protocol: packet.protocol, port: packet.port });

function wantedLabel(evaluate: Evaluator, asked: Asked): string | null {
  const { subject, direction } = asked;
  const found = allowedBy(evaluate, asked);
  const identity = `${direction}:${subject.workload}${subject.user === undefined ? "" : `:${subject.user}`}`;
  switch (found.reason) {
    case "quarantine":
    case "breakglass":
    case "identity":
      throw new TypeError(
        "a workload that is asked for its identity is closed, and overrides are no part of these rulesets",
      );
    case "not-isolated":
      return null;
    case "rule":
      return labelOf(found.verdict === "Allowed" ? "rule" : "denied", found.rule.key);
    case "audit":
      return labelOf("audited", identity);
    case "no-rule":
      return labelOf("denied", identity);
  }
}

function describe(asked: Asked, wanted: unknown, found: unknown, text: string): object {
  return { packet: asked.packet, subject: asked.subject, wanted, found, text: text.slice(0, 4000) };
}

t.test("pf's rules and the evaluator agree on every packet, and on the rule that decides", async (t) => {
  const [, asked, only] = /^(\d+)(?::(\d+))?$/.exec(process.env["ZTAP_SEED"] ?? "") ?? [];
  const seed = asked === undefined ? 1 + Math.floor(Math.random() * 0x7ffffffe) : Number(asked);
  const first = only === undefined ? 0 : Number(only);
  const counts = { passed: 0, blocked: 0, excepted: 0, closed: 0, packets: 0 };
  const goesOn = (index: number): boolean => (only === undefined ? counts.packets < PACKETS : index === first);
  for (let index = first; goesOn(index); index++) {
    const dice = new Dice(new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)));
    const ruleset = forPf(dice, anyRuleset(dice));
    const rendered = render(ruleset);
    const evaluate = createEvaluator(ruleset);
    const refused = new Set(rendered.refusals.map(({ workload }) => workload));
    const subjects = ruleset.subjects.filter(
      ({ workload, addresses }) => addresses.length > 0 && (!refused.has(workload) || rendered.closed.has(workload)),
    );
    if (subjects.length === 0) continue;
    const shut = new Set(
      ruleset.subjects.flatMap(({ workload, addresses }) => (rendered.closed.has(workload) ? addresses : [])),
    );
    const borders = bordersOf(ruleset);
    const model = new PfModel(rendered.text);
    for (let at = 0; at < PER_RULESET; at++) {
      const one = anyPacket(dice, subjects, borders);
      // A state of an earlier packet would answer for this one: each is the first of its connection.
      model.forget();
      const found = model.decide(one.packet);
      // Of two workloads at one address, either is closed with the other.
      const isShut = shut.has(one.packet.direction === "in" ? one.packet.to : one.packet.from);
      const excepted = exception(one, isShut);
      const wanted = excepted?.passes ?? allowedBy(evaluate, one).verdict === "Allowed";
      const label = excepted === null ? wantedLabel(evaluate, one) : found.label;
      counts.packets += 1;
      counts[found.passes ? "passed" : "blocked"] += 1;
      if (excepted !== null) counts[isShut ? "closed" : "excepted"] += 1;
      if (found.passes === wanted && found.label === label) continue;
      const replay = `ZTAP_SEED=${seed}:${index} sh bin/node test/run.mjs pf/agreement`;
      t.fail(
        `play it again: ${replay}`,
        describe(one, { passes: wanted, label, why: excepted?.why }, found, rendered.text),
      );
      return;
    }
  }
  t.ok(counts.passed > 0 && counts.blocked > 0);
  t.pass(`${counts.packets} packets, seed ${seed}: ${JSON.stringify(counts)}`);
});
