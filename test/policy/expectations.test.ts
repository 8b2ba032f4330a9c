import { containsCidr } from "cidr-tools";
import fc from "fast-check";
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import type { Expectation, Peer } from "../../src/model/objects.js";
import type { ObjectSet } from "../../src/model/state.js";
import { NetworkSetIndex } from "../../src/policy/compile/network-sets.js";
import { WorkloadIndex } from "../../src/policy/compile/workload-index.js";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { findBroken } from "../../src/policy/reachability/connectivity-tests.js";
import { blockCidrs, readPorts, resolveNames } from "../../src/policy/compile/peers.js";
import type { SelectableWorkload } from "../../src/policy/compile/select.js";
import { selectsPeer } from "../../src/policy/compile/select.js";
import { arbitraryExpectation, arbitraryState, BORDER_ADDRESSES, BORDER_PORTS } from "../builders/arbitrary.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";

const test = (name: string, spec: string) =>
  `---\napiVersion: ztap/v1\nkind: ConnectivityTest\nmetadata: { name: ${name} }\nspec:\n${spec}\n`;
const STATE =
  workload("web@n1 10.0.0.1 app=web,env=prod") +
  workload("db@n1 10.0.0.2 app=db,env=prod [sql:5432/TCP]") +
  workload("dev@n2 10.0.1.1 env=dev") +
  workload("toy@n2 10.0.1.2 env=dev") +
  policy(
    "db",
    "  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - { from: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: sql }] }\n    - { from: { podSelector: {} }, ports: [{ port: 22 }] }",
  );
const diagnose = (text: string) =>
  readManifests([{ path: "state.yaml", text: STATE + text, blobId: "" }]).diagnostics.map(
    ({ code, line, message }) => `${code} ${line} ${message}`,
  );

t.test("a state that meets its connectivity tests is accepted", async (t) => {
  const kept = test(
    "db",
    "  allow:\n    - { from: { podSelector: { matchLabels: { app: web } } }, to: { podSelector: { matchLabels: { app: db } } }, ports: [{ port: sql }, { port: 22 }] }\n" +
      "  deny:\n    - { from: { podSelector: { matchLabels: { env: dev } } }, to: { podSelector: { matchLabels: { app: db } } }, ports: [{ port: 5432 }, { protocol: UDP }] }\n" +
      "    - { from: { ipBlock: { cidr: 0.0.0.0/0 } }, to: { podSelector: { matchLabels: { app: db } } } }",
  );
  t.same(diagnose(kept), []);
});

t.test("a state that fails a test is refused at the expectation, with a packet and its rule", async (t) => {
  const broken = test(
    "lab",
    "  deny:\n    - from: { podSelector: { matchLabels: { env: dev } } }\n      to: { podSelector: { matchLabels: { app: db } } }\n" +
      "  allow:\n    - from: { podSelector: { matchLabels: { env: dev } } }\n      to: { podSelector: { matchLabels: { app: db } } }\n      ports: [{ port: sql }]\n" +
      "    - { from: { ipBlock: { cidr: 192.0.2.0/24 } }, to: { podSelector: { matchLabels: { app: db } } }, ports: [{ port: 22 }] }",
  );
  const lines = STATE.split("\n");
  const lineOf = (start: string) => 1 + lines.findLastIndex((line) => line.trim().startsWith(start));
  const [document, rule] = [lineOf("apiVersion"), lineOf("- { from: { podSelector: {} }")];
  t.same(diagnose(broken), [
    `ZT4007 ${lines.length + 6} default/dev → default/db TCP 22 is allowed and must not be: nothing isolates egress of default/dev, and default/db ingress[1] (state.yaml:${rule}) allows it; 2 pairs break it`,
    `ZT4007 ${lines.length + 9} default/dev → default/db TCP 5432 is denied and must be allowed: default/db (state.yaml:${document}) isolates ingress of default/db, and no rule allows it; 2 pairs break it`,
    `ZT4007 ${lines.length + 12} 192.0.2.0 → default/db TCP 22 is denied and must be allowed: default/db (state.yaml:${document}) isolates ingress of default/db, and no rule allows it`,
  ]);
});

t.test("a failed deny under audit mode names the mode, and the fix", async (t) => {
  const closed = (name: string) => policy(name, "  podSelector: { matchLabels: { app: db } }\n  ingress: []");
  const spec =
    "  deny: [{ from: { podSelector: { matchLabels: { env: dev } } }, to: { podSelector: { matchLabels: { app: db } } } }]";
  const diagnosed = (own: string) => {
    const modes = `---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { mode: audit }\n`;
    const workloads = workload("db@n1 10.0.0.2 app=db") + workload("dev@n2 10.0.1.1 env=dev");
    const text = workloads + own + modes + test("t", spec);
    return readManifests([{ path: "s.yaml", text, blobId: "" }]).diagnostics.filter(({ code }) => code === "ZT4007");
  };
  const fix = /audit mode denies nothing: enforce the policy/;
  const one = /and default\/a \(s\.yaml:\d+\) only audits ingress of default\/db$/;
  t.match(diagnosed(closed("a")), [{ message: one, fix }]);
  const two = /and default\/a \(\S+\), default\/b \(\S+\) only audit ingress of default\/db$/;
  t.match(diagnosed(closed("a") + closed("b")), [{ message: two, fix }]);
  t.match(diagnosed(""), [{ message: /nothing isolates ingress/, fix: "narrow what allows it" }]);
});

t.test("a test that cannot fail is refused, and a test that selects nothing gets a warning", async (t) => {
  t.match(diagnose(test("none", "  allow: []")), [/^ZT2004 .*expects nothing/]);
  t.match(
    diagnose(
      test("outside", "  deny: [{ from: { ipBlock: { cidr: 10.0.0.0/8 } }, to: { ipBlock: { cidr: 10.0.0.0/8 } } }]"),
    ),
    [/^ZT3023 .*both ends are address blocks/],
  );
  t.match(diagnose(test("gone", "  deny: [{ from: { podSelector: { matchLabels: { app: gone } } } }]")), [/^ZT5003 /]);
  t.match(diagnose(test("bits", "  deny: [{ from: { ipBlock: { cidr: 10.0.0.1/8 } }, to: { podSelector: {} } }]")), [
    /^ZT3016|^ZT30/,
  ]);
});

t.test("a workload's own address is not external, and its connection to itself is not tested", async (t) => {
  const own = test(
    "own",
    "  deny: [{ from: { podSelector: { matchLabels: { app: db } } }, to: { podSelector: { matchLabels: { app: db } } } }]",
  );
  t.same(diagnose(own), []);
  const host = test(
    "host",
    "  deny: [{ from: { ipBlock: { cidr: 10.0.0.1/32 } }, to: { podSelector: { matchLabels: { app: db } } } }]",
  );
  t.same(diagnose(host), []);
  const open = test("open", "  deny: [{ to: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: 80 }] }]");
  t.match(diagnose(open), [/default\/db → default\/web TCP 80 is allowed/]);
});

/** The same by asking the evaluator of each packet on and beside the borders. */
function isBroken(objects: ObjectSet, list: "allow" | "deny", expectation: Expectation): boolean {
  const evaluate = createEvaluator(compile(objects, null));
  const all = new WorkloadIndex(objects).all;
  const networkSets = new NetworkSetIndex(objects);
  const taken = new Set(all.flatMap(({ workload: { spec } }) => spec.addresses));
  const outside = BORDER_ADDRESSES.filter((address) => !taken.has(address));
  const spec = readPorts(expectation.ports);
  const isV6 = (address: string) => address.includes(":");
  const endOf = (peers: readonly Peer[] | undefined) => ({
    workloads: peers === undefined ? all : all.filter((one) => peers.some((peer) => selectsPeer(peer, "default", one))),
    blocks: peers === undefined || blockCidrs(peers, networkSets).length > 0,
    addresses:
      peers === undefined
        ? outside
        : outside.filter((address) => blockCidrs(peers, networkSets).some((cidr) => containsCidr(cidr, address))),
  });
  const packets = (target: SelectableWorkload | null) => {
    const ranges = [...spec.ranges, ...(target === null ? [] : resolveNames(spec, target))];
    return (["TCP", "UDP", "SCTP", "ICMP"] as const).flatMap((protocol) =>
      BORDER_PORTS.filter(
        (port) =>
          spec.any || ranges.some((range) => range.protocol === protocol && range.first <= port && port <= range.last),
      ).map((port) => ({ protocol, port })),
    );
  };
  const numberOf = (protocol: string, address: string) =>
    ({ TCP: 6, UDP: 17, SCTP: 132, ICMP: isV6(address) ? 58 : 1 })[protocol] ?? 253;
  const may = (workload: string, direction: "ingress" | "egress", peer: string, protocol: string, port: number) =>
    evaluate({ workload, direction, peer, protocol: numberOf(protocol, peer), port }).verdict === "Allowed";
  const wrong = (isAllowed: boolean) => (list === "deny" ? isAllowed : !isAllowed);
  const [from, to] = [endOf(expectation.from), endOf(expectation.to)];
  // What matches no connection proves nothing.
  const asksOf = (target: SelectableWorkload | null) => packets(target).length > 0;
  const isAsked =
    (from.workloads.length > 0 && (to.workloads.some(asksOf) || (to.blocks && asksOf(null)))) ||
    (from.blocks && to.workloads.some(asksOf));
  if (list === "allow" && !isAsked) return true;
  const pairs = from.workloads.some((source) =>
    to.workloads.some(
      (target) =>
        source !== target &&
        packets(target).some(({ protocol, port }) =>
          wrong(
            source.workload.spec.addresses.some((a) =>
              target.workload.spec.addresses.some(
                (b) =>
                  isV6(a) === isV6(b) &&
                  may(source.name, "egress", b, protocol, port) &&
                  may(target.name, "ingress", a, protocol, port),
              ),
            ),
          ),
        ),
    ),
  );
  const out = from.workloads.some(({ name }) =>
    to.addresses.some((peer) =>
      packets(null).some(({ protocol, port }) => wrong(may(name, "egress", peer, protocol, port))),
    ),
  );
  const into = to.workloads.some((target) =>
    from.addresses.some((peer) =>
      packets(target).some(({ protocol, port }) => wrong(may(target.name, "ingress", peer, protocol, port))),
    ),
  );
  return pairs || out || into;
}

t.test(
  "a test fails if and only if the evaluator contradicts it for a packet, and the example is such a packet",
  async (t) => {
    const seen = { broken: 0, kept: 0 };
    fc.assert(
      fc.property(
        arbitraryState,
        arbitraryExpectation,
        fc.constantFrom("allow" as const, "deny" as const),
        (documents, entry, list) => {
          const probe = {
            apiVersion: "ztap/v1",
            kind: "ConnectivityTest",
            metadata: { name: "t" },
            spec: { [list]: [entry] },
          };
          const text = [...documents, probe].map((document) => JSON.stringify(document)).join("\n---\n");
          // A state that breaks its test has objects, and an error beside them.
          const { objects } = readManifests([{ path: "state.yaml", text, blobId: text }]);
          const object = objects.get("ConnectivityTest/default/t")?.object;
          if (object?.kind !== "ConnectivityTest") throw new Error("the test was refused");
          const [expectation] = object.spec[list];
          const found = findBroken(objects);
          const wanted = isBroken(objects, list, expectation ?? {});
          if (found.length > 0 !== wanted) throw new Error(`found ${found.length}, wanted ${String(wanted)}`);
          for (const { example } of found) {
            const verdict = example?.explanation?.verdict ?? "Denied";
            if ((verdict === "Allowed") !== (list === "deny")) throw new Error(`${verdict} is no counter-example`);
          }
          seen[wanted ? "broken" : "kept"] += 1;
        },
      ),
      { numRuns: volume(1000, 20_000) },
    );
    t.ok(seen.broken > 100 && seen.kept > 100, JSON.stringify(seen));
  },
);

t.test("a state of a thousand workloads and policies with tests is checked", async (t) => {
  const text = Array.from({ length: 300 }, (_, index) =>
    workload(`w${index}@n1 10.1.${index >> 8}.${index & 255} app=a${index % 30}`),
  ).join("");
  const rules = Array.from({ length: 300 }, (_, index) =>
    policy(
      `p${index}`,
      `  podSelector: { matchLabels: { app: a${index % 30} } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: a${(index * 7) % 30} } } }, ports: [{ port: ${1000 + index} }] }]`,
    ),
  ).join("");
  const kept = test(
    "t",
    "  deny:\n    - { from: { podSelector: {} }, to: { podSelector: {} }, ports: [{ port: 1, endPort: 999 }] }",
  );
  t.equal(objectsOf(text + rules + kept).size, 601);
});

t.test("tests that are too expensive are refused early, and so is an allow that matches no connection", async (t) => {
  const many = Array.from({ length: 300 }, (_, index) =>
    workload(`w${index}@n1 10.1.${index >> 8}.${index & 255} app=a${index}`),
  ).join("");
  const own = Array.from({ length: 300 }, (_, index) =>
    policy(
      `p${index}`,
      `  podSelector: { matchLabels: { app: a${index} } }\n  ingress: [{ ports: [{ port: ${index + 1} }] }]`,
    ),
  ).join("");
  const asked = test("all", `  deny: [${Array.from({ length: 2000 }, () => "{}").join(", ")}]`);
  const text = many + own + asked;
  const { diagnostics } = readManifests([{ path: "state.yaml", text, blobId: text }]);
  t.match(diagnostics, [{ code: "ZT4007", message: /could not be checked: the tests cover more connections/ }]);
  t.match(
    diagnose(
      test(
        "nobody",
        "  allow: [{ from: { podSelector: { matchLabels: { app: web } } }, to: { podSelector: {} }, ports: [{ port: nosuch }] }]",
      ),
    ),
    [/^ZT4007 .*matches no connection/],
  );
});
