import fc from "fast-check";
import t from "tap";
import { ABI } from "../../../src/adapters/ebpf/kernel/abi.generated.js";
import { coverClause, joinAll, type Coverage } from "../../../src/adapters/ebpf/lower/coverage.js";
import { lower } from "../../../src/adapters/ebpf/lower/lower.js";
import { EBPF_CAPACITY, countProfileEntries } from "../../../src/adapters/ebpf/lower/capacity.js";
import { countPortEntries, portEntries, type PortMapEntry } from "../../../src/adapters/ebpf/lower/port-entries.js";
import type { Clause, PortRange, Profile, Ruleset } from "../../../src/model/ruleset.js";

const PROTOCOLS = ["TCP", "UDP"] as const;
const border = fc.constantFrom(0, 1, 2, 3, 79, 80, 81, 255, 256, 32767, 32768, 65534, 65535);
const range = fc
  .tuple(fc.constantFrom(...PROTOCOLS), border, border)
  .map(([protocol, a, b]): PortRange => ({ protocol, first: Math.min(a, b), last: Math.max(a, b) }));
const clauses = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.array(range, { minLength: 1, maxLength: 5 }) },
    { weight: 1, arbitrary: fc.constant("any" as const) },
  ),
  { minLength: 1, maxLength: 6 },
);

function profileOf(allow: readonly { readonly peers: Clause["peers"]; readonly ports: Clause["ports"] }[]): Profile {
  return {
    key: "egress demo/web",
    direction: "egress",
    rules: allow.map((_one, index) => ({
      key: `demo/web/egress/${index}`,
      policy: { namespace: "demo", name: "web" },
      direction: "egress",
      index,
    })),
    clauses: allow.map((clause, rule) => ({ rule, ...clause })),
  };
}

function allows(ports: Clause["ports"], protocol: PortRange["protocol"], port: number | null): boolean {
  if (ports === "any") return true;
  return ports.some(
    ({ protocol: own, first, last }) =>
      own === protocol && (port === null ? first === 0 && last === 65535 : first <= port && port <= last),
  );
}

await t.test("entries do not overlap, and name the first clause with the port", async (t) => {
  fc.assert(
    fc.property(clauses, (list) => {
      const profile = profileOf(list.map((ports) => ({ peers: "any", ports })));
      const effort = { runs: 0 };
      const coverage: Coverage = joinAll(
        profile.clauses.map((clause, at) => coverClause(clause, at, effort)),
        effort,
      );
      const entries = [...portEntries(profile, coverage)];
      if (entries.length !== countPortEntries(coverage)) return false;
      return PROTOCOLS.every((protocol) =>
        [null, 0, 1, 2, 3, 4, 79, 80, 81, 200, 255, 256, 257, 32767, 32768, 40000, 65534, 65535].every((port) => {
          const number = protocol === "TCP" ? 6 : 17;
          const matching = entries.filter((entry) => {
            if (entry.bits === ABI.PORT_ANY_BITS) return true;
            if (entry.protocol !== number) return false;
            const free = ABI.PORT_FULL_BITS - entry.bits;
            return free === 16 || (port !== null && port >> free === entry.port >> free);
          });
          const longest = matching.reduce<Pick<PortMapEntry, "bits" | "rule">>((a, b) => (b.bits > a.bits ? b : a), {
            bits: -1,
            rule: -1,
          });
          const clashes = matching.filter(({ bits }) => bits > ABI.PORT_PROTOCOL_BITS).length > 1;
          return !clashes && longest.rule === list.findIndex((ports) => allows(ports, protocol, port));
        }),
      );
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

const ports = (count: number, at = 0): PortRange[] =>
  Array.from({ length: count }, (_one, index) => ({ protocol: "TCP", first: 2 * index + at, last: 2 * index + at }));
const cidr = (index: number): string => `10.${index >> 8}.${index & 255}.0/24`;
const SHAPES: Readonly<Record<string, Profile>> = {
  "one rule": profileOf([{ peers: Array.from({ length: 300 }, (_one, at) => cidr(at)), ports: ports(2000) }]),
  "a rule for each CIDR": profileOf(
    Array.from({ length: 300 }, (_one, at) => ({ peers: [cidr(at)], ports: ports(2000, at & 1) })),
  ),
  "a rule for everybody, and one for each CIDR": profileOf([
    { peers: "any", ports: ports(2000) },
    ...Array.from({ length: 300 }, (_one, at) => ({ peers: [cidr(at)], ports: ports(1, 20_001) })),
  ]),
  "CIDRs in one another": profileOf(
    Array.from({ length: 300 }, (_one, at) => ({ peers: [`fd00::/${8 + (at % 120)}`], ports: ports(2000, at & 1) })),
  ),
};

await t.test("the cost is proportional to input and output", async (t) => {
  for (const [name, profile] of Object.entries(SHAPES)) {
    const effort = { runs: 0 };
    const size = countProfileEntries(profile, effort);
    const input = profile.clauses.reduce((sum, clause) => sum + clause.ports.length, 0);
    t.ok(effort.runs <= 4 * (input + size.ports), `${name}: ${effort.runs} for ${input} and ${size.ports}`);
    const image = lower(rulesetOf(profile));
    t.strictSame(
      { addresses: image.addrs.size - 2, ports: image.ports.size },
      size,
      "what is measured is what is built",
    );
  }
});

function rulesetOf(...profiles: readonly Profile[]): Ruleset {
  const open = { mode: "open", profile: null, policies: [] } as const;
  const subjects = profiles.map((profile, at) => ({
    workload: `demo/w${at}`,
    cgroup: `w${at}`,
    addresses: [],
    ingress: open,
    egress: { mode: "enforce" as const, profile: profile.key, policies: [] },
  }));
  return { node: "n", digest: "", subjects, profiles };
}

await t.test("a ruleset that does not fit into the tables is refused before it is built", async (t) => {
  const effort = { runs: 0 };
  const huge = profileOf([
    { peers: "any", ports: ports(30_000) },
    ...Array.from({ length: 20_000 }, (_one, at) => ({ peers: [cidr(at)], ports: ports(1, 1) })),
  ]);
  t.ok(countProfileEntries(huge, effort).ports > EBPF_CAPACITY.limit.ports);
  t.ok(effort.runs < 3 * EBPF_CAPACITY.limit.ports, "and is not counted to its end");
  t.throws(() => lower(rulesetOf(huge)), { code: "limit", message: /more port entries than the 4194304/ });
});
