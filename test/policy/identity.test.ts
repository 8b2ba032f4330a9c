import fc from "fast-check";
import t from "tap";
import type { IngressRule, NetworkPolicy, Peer, PolicyPort, Workload } from "../../src/model/objects.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { modeOf } from "../../src/policy/compile/modes.js";
import {
  listSelectable,
  selectsPeer,
  selectsSubject,
  type SelectableWorkload,
} from "../../src/policy/compile/select.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { AddressParser, AddressSet } from "../../src/policy/address-space.js";
import { NetworkSetIndex } from "../../src/policy/compile/network-sets.js";
import { blockCidrs } from "../../src/policy/compile/peers.js";
import { BORDER_PORTS, arbitraryState } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, other: 47 } as const;
type Protocol = keyof typeof PROTOCOLS;

/** The definition, word by word, for one sender and one destination: slow, and made of nothing that the compiler uses but selectors. */
class Definition {
  readonly #all: readonly SelectableWorkload[];
  readonly #policies: readonly NetworkPolicy[];
  readonly #sets: NetworkSetIndex;
  readonly #parser = new AddressParser();

  constructor(objects: ObjectSet) {
    this.#all = listSelectable(objects);
    this.#sets = new NetworkSetIndex(objects);
    this.#policies = [...objects.values()].flatMap(({ object }) =>
      object.kind === "NetworkPolicy" &&
      object.spec.policyTypes.includes("Ingress") &&
      modeOf(object, "ingress", objects) === "enforce"
        ? [object]
        : [],
    );
  }

  workload(name: string): SelectableWorkload {
    const found = this.#all.find((one) => one.name === name);
    if (found === undefined) throw new TypeError(name);
    return found;
  }

  /** Whether the destination lets the sender in, as far as its own node is to know. */
  passes(sender: SelectableWorkload, address: string, protocol: Protocol, port: number | null): boolean {
    const { node, cgroup } = sender.workload.spec;
    if (node === undefined || cgroup === undefined || !this.#isDoubtful(sender, address)) return true;
    const owners = this.owners(address, protocol, port);
    return owners.length === 0 || owners.some((owner) => this.letsIn(owner, sender, protocol, port));
  }

  owners(address: string, protocol: Protocol, port: number | null): readonly SelectableWorkload[] {
    const here = this.#all.filter(({ workload: { spec } }) => spec.addresses.includes(address));
    if (protocol === "ICMP" || protocol === "other") return here;
    const having = here.filter(({ workload: { spec } }) =>
      spec.ports.some((one) => one.protocol === protocol && one.port === port),
    );
    const unknown = here.filter(({ workload: { spec } }) => spec.ports.length === 0);
    if (having.length > 0 || unknown.length > 0) return having.length > 0 ? having : unknown;
    const isolated = here.filter((owner) => this.#policies.some((one) => selectsSubject(one, owner)));
    return isolated.some((owner) => this.#letsWorkloadsIn(owner, protocol, port)) ? isolated : [];
  }

  /** Whether a rule lets workloads in by name at the port. */
  #letsWorkloadsIn(owner: SelectableWorkload, protocol: Protocol, port: number | null): boolean {
    return this.#policies.some(
      (one) =>
        selectsSubject(one, owner) &&
        (one.spec.ingress ?? []).some(
          ({ from = [], ports = [] }) =>
            from.some((peer) => peer.podSelector !== undefined || peer.namespaceSelector !== undefined) &&
            matchesPorts(ports, owner.workload, protocol, port),
        ),
    );
  }

  letsIn(owner: SelectableWorkload, sender: SelectableWorkload, protocol: Protocol, port: number | null): boolean {
    const isolating = this.#policies.filter((one) => selectsSubject(one, owner));
    return (
      isolating.length === 0 ||
      isolating.some((one) =>
        (one.spec.ingress ?? []).some(
          (rule) =>
            this.#matchesPeers(rule, one.metadata.namespace, sender) &&
            matchesPorts(rule.ports ?? [], owner.workload, protocol, port),
        ),
      )
    );
  }

  /** Whether a workload there lets somebody in at the sender's address, and not the sender. */
  #isDoubtful(sender: SelectableWorkload, address: string): boolean {
    const others = this.#all.filter(
      (one) =>
        one !== sender && one.workload.spec.addresses.some((own) => sender.workload.spec.addresses.includes(own)),
    );
    const here = this.#all.filter(({ workload: { spec } }) => spec.addresses.includes(address));
    return this.#policies.some(
      (one) =>
        here.some((owner) => selectsSubject(one, owner)) &&
        (one.spec.ingress ?? []).some(
          ({ from = [] }) => others.some((other) => selects(from, one, other)) && !selects(from, one, sender),
        ),
    );
  }

  #matchesPeers({ from = [] }: IngressRule, namespace: string, sender: SelectableWorkload): boolean {
    if (from.length === 0 || from.some((peer) => selectsPeer(peer, namespace, sender))) return true;
    const blocks = new AddressSet(blockCidrs(from, this.#sets).map((cidr) => this.#parser.parse(cidr)));
    return sender.workload.spec.addresses.some((address) => blocks.has(this.#parser.parse(address)));
  }
}

const selects = (from: readonly Peer[], { metadata }: NetworkPolicy, one: SelectableWorkload): boolean =>
  from.some((peer) => selectsPeer(peer, metadata.namespace, one));

function matchesPorts(
  ports: readonly PolicyPort[],
  { spec }: Workload,
  protocol: Protocol,
  port: number | null,
): boolean {
  if (ports.length === 0) return true;
  return ports.some((one) => {
    if (one.protocol !== protocol || port === null) return false;
    if (one.protocol === "ICMP") {
      const [type, code] = [port >> 8, port & 255];
      return (one.type ?? type) === type && (one.code ?? code) === code;
    }
    const name = one.port;
    if (typeof name === "string")
      return spec.ports.some((own) => own.name === name && own.protocol === protocol && own.port === port);
    return name === undefined || (name <= port && port <= (one.endPort ?? name));
  });
}

/** Egress policies that allow everything, so that only the destinations decide. */
function withoutEgress(ruleset: Ruleset): Ruleset {
  const subjects = ruleset.subjects.map((subject) => ({
    ...subject,
    egress: { mode: "open" as const, profile: null, policies: [] },
  }));
  return { ...ruleset, subjects };
}

const portsOf = (protocol: Protocol): readonly (number | null)[] =>
  protocol === "other" ? [null] : protocol === "ICMP" ? [0, 2048, 772, 768] : BORDER_PORTS;

t.test("an address is in a set of blocks that overlap if it is in one of them", async (t) => {
  const parser = new AddressParser();
  const set = new AddressSet(
    ["0.0.0.0/0", "10.0.0.0/29", "10.0.0.4/30", "fd00::/64", "fd00::/125"].map((cidr) => parser.parse(cidr)),
  );
  for (const address of ["9.255.255.255", "10.0.0.7", "10.0.0.8", "255.255.255.255", "fd00::8"])
    t.ok(set.has(parser.parse(address)), address);
  t.notOk(set.has(parser.parse("fd00:0:0:1::")));
  t.ok(set.contains(parser.parse("10.0.0.0/24")));
});

t.test("a sender that one of several overlapping blocks lets in is not refused at the source", async (t) => {
  const block = (cidr: string): string => `{ ipBlock: { cidr: ${cidr} } }`;
  const rule = (from: string): string => `{ from: [${from}], ports: [{ port: 5432 }] }`;
  const db = policy(
    "db",
    `  podSelector: { matchLabels: { app: db } }\n  ingress: [${rule(`${block("0.0.0.0/0")}, ${block("10.0.0.0/29")}`)}, ${rule("{ podSelector: { matchLabels: { app: api } } }")}]\n`,
  );
  const objects = objectsOf(
    workload("web@n 10.0.0.8 app=web") +
      workload("api@n 10.0.0.8 app=api") +
      workload("db@m 10.0.1.1 app=db [sql:5432/TCP]") +
      db,
  );
  const evaluate = createEvaluator(compile(objects, null));
  const packet = { direction: "egress", peer: "10.0.1.1", protocol: 6, port: 5432 } as const;
  t.equal(evaluate({ workload: "default/web", ...packet }).verdict, "Allowed");
});

t.test("an identity profile is what the definition says", (t) => {
  fc.assert(
    fc.property(arbitraryState, (documents) => {
      const objects = objectsOfDocuments(documents);
      const definition = new Definition(objects);
      const ruleset = compile(objects, null);
      const evaluate = createEvaluator(withoutEgress(ruleset));
      const addresses = new Set(ruleset.subjects.flatMap((subject) => subject.addresses));
      for (const { workload: name } of ruleset.subjects) {
        const sender = definition.workload(name);
        for (const address of [...addresses, "192.0.2.1"])
          for (const protocol of ["TCP", "UDP", "SCTP", "ICMP", "other"] as const)
            for (const port of portsOf(protocol)) {
              const number = protocol === "ICMP" && address.includes(":") ? 58 : PROTOCOLS[protocol];
              const found = evaluate({ workload: name, direction: "egress", peer: address, protocol: number, port });
              const passes = definition.passes(sender, address, protocol, port);
              if ((found.verdict === "Allowed") !== passes)
                throw new Error(`${name} → ${address} ${protocol} ${port}: ${found.verdict}, and it ${passes}`);
            }
      }
    }),
    { numRuns: volume(300, 5000, 60) },
  );
  t.pass();
  t.end();
});

t.test("to the only owner of a port, exactly those connect that its policies let in by name or block", (t) => {
  fc.assert(
    fc.property(arbitraryState, (documents) => {
      const objects = objectsOfDocuments(documents);
      const definition = new Definition(objects);
      const evaluate = createEvaluator(withoutEgress(compile(objects, null)));
      const all = listSelectable(objects);
      for (const sender of all) {
        if (sender.workload.spec.cgroup === undefined) continue;
        for (const target of all) {
          if (sender === target) continue;
          for (const to of target.workload.spec.addresses)
            for (const { protocol, port } of target.workload.spec.ports) {
              if (definition.owners(to, protocol, port).length !== 1) continue;
              const packet = { protocol: PROTOCOLS[protocol], port };
              const isOpen = sender.workload.spec.addresses
                .filter((from) => from.includes(":") === to.includes(":"))
                .map(
                  (from) =>
                    evaluate({ workload: sender.name, direction: "egress", peer: to, ...packet }).verdict ===
                      "Allowed" &&
                    evaluate({ workload: target.name, direction: "ingress", peer: from, ...packet }).verdict ===
                      "Allowed",
                );
              if (isOpen.includes(true) && !definition.letsIn(target, sender, protocol, port))
                throw new Error(`${sender.name} → ${target.name} at ${to}:${port}/${protocol} is open`);
            }
        }
      }
    }),
    { numRuns: volume(300, 5000, 60) },
  );
  t.pass();
  t.end();
});

const STATE = [
  workload("web@n1 10.0.0.1 app=web [http:80/TCP]"),
  workload("other@n1 10.0.0.1 app=other [http:81/TCP]"),
  workload("db@n2 10.0.0.2 app=db [sql:5432/TCP]"),
  workload("cache@n2 10.0.0.2 app=cache [redis:6379/TCP]"),
  policy(
    "db",
    "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: web } } } }]",
  ),
].join("");
const CLUSTER = (identity: string) =>
  `---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { identity: ${identity} }\n`;

function verdict(objects: ObjectSet, from: string, peer: string, port: number): string {
  const query = { workload: from, direction: "egress" as const, peer, protocol: 6, port };
  const found = createEvaluator(compile(objects, null))(query);
  return `${found.verdict} ${found.reason}`;
}

t.test("who shares the address of one that is let in is refused at the source", (t) => {
  const objects = objectsOf(STATE);
  t.equal(verdict(objects, "default/web", "10.0.0.2", 5432), "Allowed not-isolated");
  t.equal(verdict(objects, "default/other", "10.0.0.2", 5432), "Denied identity");
  t.equal(verdict(objects, "default/other", "10.0.0.2", 6379), "Allowed not-isolated", "of another workload there");
  t.equal(
    verdict(objects, "default/other", "10.0.0.2", 7),
    "Denied identity",
    "of nobody: the rule lets in at every port",
  );
  const named = objectsOf(STATE.replace("app: web } } } }]", "app: web } } }, ports: [{ port: 5432 }] }]"));
  t.equal(verdict(named, "default/other", "10.0.0.2", 7), "Allowed not-isolated", "of nobody, and no rule is about it");
  t.equal(verdict(objects, "default/other", "10.0.0.3", 5432), "Allowed not-isolated");
  t.equal(compile(objects, "n2").subjects[1]?.identity, undefined, "what no rule confuses is not limited");
  t.end();
});

t.test("a port that one declares is not another's, whatever that one listens on", (t) => {
  const placed = (text: string): ObjectSet =>
    new Map(
      [...objectsOf(text)].map(([key, state]) => {
        const { object } = state;
        if (object.kind !== "Workload" || object.metadata.name !== "cache") return [key, state];
        const listening = [{ port: 5432, protocol: "TCP" as const }];
        return [key, { ...state, object: { ...object, spec: { ...object.spec, ports: [], listening } } }];
      }),
    );
  t.equal(
    verdict(placed(STATE), "default/other", "10.0.0.2", 5432),
    "Denied identity",
    "an open neighbour lifts nothing",
  );
  t.end();
});

t.test("identity: address asks nothing at the source, and syn asks it too", (t) => {
  t.equal(verdict(objectsOf(STATE + CLUSTER("address")), "default/other", "10.0.0.2", 5432), "Allowed not-isolated");
  t.equal(verdict(objectsOf(STATE + CLUSTER("syn")), "default/other", "10.0.0.2", 5432), "Denied identity");
  t.end();
});

t.test("where ports are not known, the workload has all that nobody is known to have", (t) => {
  const objects = objectsOf(
    STATE.replace("[sql:5432/TCP]", "").replace("name: sql, port: 5432, protocol: TCP", "").replace("{  }", ""),
  );
  t.equal(verdict(objects, "default/other", "10.0.0.2", 5432), "Denied identity");
  t.equal(verdict(objects, "default/other", "10.0.0.2", 7), "Denied identity");
  t.equal(verdict(objects, "default/other", "10.0.0.2", 6379), "Allowed not-isolated");
  t.end();
});

t.test("audited egress does not pass what the destination refuses", (t) => {
  const audited = policy("audit", "  podSelector: { matchLabels: { app: other } }\n  mode: audit\n  egress: []");
  t.equal(verdict(objectsOf(STATE + audited), "default/other", "10.0.0.2", 5432), "Denied identity");
  t.equal(verdict(objectsOf(STATE + audited), "default/other", "10.0.0.2", 6379), "Allowed audit");
  t.end();
});

t.test("workloads that are let in alike share a profile, whatever their number", (t) => {
  const hosts = Array.from({ length: 20 }, (_unused, at) => [
    workload(`web${at}@n${at} 10.0.1.${at} app=web [http:80/TCP]`),
    workload(`other${at}@n${at} 10.0.1.${at} app=other [http:81/TCP]`),
  ]);
  const { subjects, profiles } = compile(objectsOf([STATE, ...hosts.flat()].join("")), null);
  t.equal(subjects.filter(({ identity }) => identity !== undefined).length, 21);
  t.equal(profiles.filter(({ key }) => key.startsWith("identity:")).length, 1);
  t.end();
});
