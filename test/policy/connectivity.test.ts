import fc from "fast-check";
import t from "tap";
import type { Rule } from "../../src/model/ruleset.js";
import { compile } from "../../src/policy/compile/compile.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { explain } from "../../src/policy/explain.js";
import { connectionLines } from "../../src/views/connectivity.js";
import { arbitraryState } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy, workload } from "../builders/state.js";
import { describe, endsOf, evaluated, Listing, pairsOf, PROTOCOLS, type End } from "./borders.js";
import { volume } from "../volume.js";

const WORKLOADS = [
  workload("web@n1 10.0.0.1 app=web [http:80/TCP]"),
  workload("db@n1 10.0.0.2 app=db [sql:5432/TCP]"),
  workload("bare@n1 - app=bare"),
].join("");
const ISOLATED = policy("deny", "  podSelector: {}\n  ingress: []\n  egress: []");

const CASES: readonly { readonly name: string; readonly state: string; readonly lines: string }[] = [
  {
    name: "without policies everything is allowed; loopback is not listed, nor workloads that no packet can name",
    state: WORKLOADS,
    lines: `
      default/bare → 0.0.0.0/0 everything
      default/bare → ::/0 everything
      default/db → default/web everything
      default/db → 0.0.0.0/0 everything
      default/db → ::/0 everything
      default/web → default/db everything
      default/web → 0.0.0.0/0 everything
      default/web → ::/0 everything
      0.0.0.0/0 → default/bare everything
      0.0.0.0/0 → default/db everything
      0.0.0.0/0 → default/web everything
      ::/0 → default/bare everything
      ::/0 → default/db everything
      ::/0 → default/web everything`,
  },
  { name: "what is isolated without rules has no connections", state: WORKLOADS + ISOLATED, lines: "" },
  {
    name: "both ends must allow, and what is left is what both allow",
    state:
      WORKLOADS +
      ISOLATED +
      policy(
        "out",
        "  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: { podSelector: {} }, ports: [{ port: 1, endPort: 6000 }, { protocol: ICMP, type: 8 }] }]",
      ) +
      policy(
        "in",
        "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: sql }, { port: 5500, endPort: 7000 }, { protocol: ICMP }] }]",
      ),
    lines: `
      default/web → default/db TCP 5432,5500-6000
      default/web → default/db ICMP 8`,
  },
  {
    name: "address blocks are cut at their borders, each address in one of them",
    state:
      WORKLOADS +
      ISOLATED +
      policy(
        "in",
        '  podSelector: { matchLabels: { app: web } }\n  ingress:\n    - { from: { ipBlock: { cidr: 10.0.0.0/8, except: [10.64.0.0/10] } }, ports: [{ port: 80 }] }\n    - { from: { ipBlock: { cidr: 10.0.0.0/9 } }, ports: [{ port: 81 }] }\n    - { from: { ipBlock: { cidr: "fd00::/8" } } }',
      ),
    lines: `
      10.0.0.0/10 → default/web TCP 80-81
      10.64.0.0/10 → default/web TCP 81
      10.128.0.0/9 → default/web TCP 80
      fd00::/8 → default/web everything`,
  },
  {
    name: "a block that workloads fill says nothing about addresses outside",
    state:
      WORKLOADS +
      ISOLATED +
      policy(
        "in",
        "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: { ipBlock: { cidr: 10.0.0.1/32 } } }]",
      ),
    lines: "",
  },
  {
    name: "audit mode passes",
    state:
      WORKLOADS +
      policy("audit", "  podSelector: { matchLabels: { app: db } }\n  mode: audit\n  ingress: []") +
      policy("out", "  podSelector: { matchLabels: { app: web } }\n  ingress: []") +
      policy("shut", "  podSelector: {}\n  egress: [{ to: { podSelector: {} }, ports: [{ protocol: UDP }] }]") +
      policy("bare", "  podSelector: { matchLabels: { app: bare } }\n  ingress: []"),
    lines: `
      default/web → default/db UDP
      0.0.0.0/0 → default/db everything
      ::/0 → default/db everything`,
  },
];

for (const { name, state, lines } of CASES) {
  t.test(name, async (t) => {
    const found = connectionLines(listConnections(objectsOf(state))).map((line) => line.replace(/ +/g, " "));
    t.same(
      found,
      lines.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim()])),
    );
  });
}

const placeOf = ({ policy: { namespace, name }, direction, index }: Rule): string =>
  `${namespace}/${name}/${direction}/${index}`;

t.test("narrowed to a port, only connections to that port are listed", async (t) => {
  const objects = objectsOf(
    WORKLOADS + policy("in", "  podSelector: {}\n  ingress: [{ ports: [{ port: 80, endPort: 90 }] }]"),
  );
  const within = (first: number, last: number) =>
    listConnections(objects, { within: [{ protocol: "TCP", first, last }] });
  t.ok(within(85, 95).some(({ from, to }) => from === "default/web" && to === "default/db"));
  t.same(
    [
      ...new Set(
        within(85, 95)
          .filter(({ to }) => to === "default/db")
          .map(({ ports }) => JSON.stringify(ports)),
      ),
    ],
    ["[[85,90]]"],
  );
  t.same(
    within(91, 95).filter(({ to }) => to.startsWith("default/")),
    [],
  );
});

t.test("connectivity agrees with the evaluator on the packets at every border", async (t) => {
  fc.assert(
    fc.property(arbitraryState, (documents) => {
      const objects = objectsOfDocuments(documents);
      const evaluate = createEvaluator(compile(objects, null));
      const listing = new Listing(listConnections(objects));
      for (const [from, to] of pairsOf(endsOf(objects))) {
        const [wanted, found] = [evaluated(evaluate, from, to), describe(listing.passes(from, to))];
        if (wanted !== found) throw new Error(`${from.name} → ${to.name}\nevaluate: ${wanted}\nlisted: ${found}`);
      }
    }),
    { numRuns: volume(100, 1000) },
  );
  t.pass();
});

t.test("the list does not depend on the order of the objects, and is sorted and merged", async (t) => {
  fc.assert(
    fc.property(arbitraryState, fc.nat(), (documents, turn) => {
      const objects = objectsOfDocuments(documents);
      const connections = listConnections(objects);
      const entries = [...objects];
      const cut = turn % (entries.length + 1);
      const turned = new Map([...entries.slice(cut), ...entries.slice(0, cut)].reverse());
      if (JSON.stringify(listConnections(turned)) !== JSON.stringify(connections)) return false;
      const keys = connections.map(({ from, to, protocol }) => `${from} ${to} ${protocol}`);
      return (
        new Set(keys).size === keys.length &&
        connections.every(({ ports }) =>
          ports.every(
            ([first, last], index) => first <= last && (index === 0 || (ports[index - 1]?.[1] ?? 0) + 1 < first),
          ),
        )
      );
    }),
    { numRuns: volume(100, 1000) },
  );
  t.pass();
});

t.test("explain agrees with connectivity and names the evaluator's rule first", async (t) => {
  fc.assert(
    fc.property(
      arbitraryState,
      fc.constantFrom("TCP", "UDP", "SCTP", "ICMP"),
      fc.constantFrom(80, 81, 443, 772, 2048),
      (documents, protocol, port) => {
        const objects = objectsOfDocuments(documents);
        const evaluate = createEvaluator(compile(objects, null));
        const listing = new Listing(listConnections(objects));
        const ends = endsOf(objects).filter(({ isWorkload }, index) => isWorkload || index % 9 === 0);
        for (const [from, to] of pairsOf(ends)) {
          const side = ({ name, isWorkload, addresses }: End) => ({ workload: isWorkload ? name : null, addresses });
          const explanation = explain(objects, { from: side(from), to: side(to), protocol, port });
          // Without a pair of addresses there is nothing to explain; between workloads nothing is listed then either.
          if (explanation === null) continue;
          const listed = listing.passes(from, to)(protocol, port) ? "Allowed" : "Denied";
          if (explanation.verdict !== listed)
            throw new Error(`${from.name} → ${to.name}: ${listed} ${JSON.stringify(explanation)}`);
          for (const pair of explanation.pairs) {
            const number = protocol === "ICMP" && pair.from.includes(":") ? 58 : PROTOCOLS[protocol];
            for (const [end, peer, direction] of [
              [from, pair.to, "egress"],
              [to, pair.from, "ingress"],
            ] as const) {
              if (!end.isWorkload) continue;
              const verdict = evaluate({ workload: end.name, direction, peer, protocol: number, port });
              const { rules, policies, reason } = pair[direction];
              const first =
                rules[0] === undefined ? undefined : `${rules[0].policy}/${rules[0].direction}/${rules[0].index}`;
              if (
                reason !== verdict.reason ||
                first !== (verdict.reason === "rule" ? placeOf(verdict.rule) : undefined)
              )
                throw new Error(`${end.name} ${direction}: ${JSON.stringify([pair[direction], verdict])}`);
              if (verdict.verdict === "Denied" && policies.length === 0) throw new Error("denied by no policy");
            }
          }
        }
      },
    ),
    { numRuns: volume(60, 600) },
  );
  t.pass();
});
