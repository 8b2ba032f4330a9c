/** Generate: random rulesets, written by hand or through the compiler from random objects. */
import type {
  EgressRule,
  IngressRule,
  LabelSelector,
  NetworkPolicy,
  NetworkSet,
  Peer,
  PolicyPort,
  Workload,
  ZtapObject,
} from "../../src/model/objects.js";
import type { IsolationMode, Ruleset } from "../../src/model/ruleset.js";
import { subtractCidrs } from "../../src/manifest/document/address.js";
import { refKey, refOf, type ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { canonicalCidrs } from "../../src/policy/compile/peers.js";
import { stateObject } from "../fakes/objects.js";
import { anyCidr, anyPartOf, anyRange, type Dice, type Family } from "./pool.js";
import { rulesetOf, type Allow, type Isolation, type WorkloadSpec } from "./rulesets.js";

export const WORKLOADS = ["a/db", "a/web", "b/db", "b/web"] as const;
/** Whether a workload has its ruleset or not, its processes have these addresses. */
export const OWN: Readonly<Record<Family, readonly string[]>> = {
  4: ["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.0.2.7"],
  6: ["fd00::1", "fd00::2", "fd01::7", "2001:db8::1"],
};

export function anyRuleset(dice: Dice): Ruleset {
  return dice.chance(50) ? compile(anyObjects(dice), "n") : writtenRuleset(dice);
}

function writtenRuleset(dice: Dice): Ruleset {
  const isolation = (): { readonly isolation?: Isolation } => {
    const mode = dice.weighted<IsolationMode>([
      [2, "open"],
      [6, "enforce"],
      [2, "audit"],
    ]);
    return mode === "open" ? {} : { isolation: { mode, allow: dice.some(6, () => anyAllow(dice)) } };
  };
  const workloads: Record<string, WorkloadSpec> = {};
  for (const name of WORKLOADS) {
    const { isolation: ingress } = isolation();
    const { isolation: egress } = isolation();
    workloads[name] = {
      cgroup: name,
      addresses: [],
      ...(ingress === undefined ? {} : { ingress }),
      ...(egress === undefined ? {} : { egress }),
      ...(dice.chance(50) ? { identity: dice.some(6, () => anyAllow(dice)) } : {}),
    };
  }
  return rulesetOf("n", workloads);
}

function anyAllow(dice: Dice): Allow {
  const cidrs = [anyCidr(dice, 4), anyCidr(dice, 6), ...dice.some(4, () => anyCidr(dice, dice.pick([4, 6])))];
  const range = (): string => `${dice.pick(["tcp", "udp", "udp", "sctp", "icmp"])}/${anyRange(dice).join("-")}`;
  return {
    peers: dice.chance(15) ? "any" : canonicalCidrs(cidrs.slice(dice.below(2))),
    ports: dice.chance(20) ? "any" : [range(), ...dice.some(4, range), ...(dice.chance(25) ? ["icmp/2048"] : [])],
    isDenied: dice.chance(30),
  };
}

/** Several workloads have them. */
const SHARED = ["10.0.0.128", "fd00::1:0"] as const;

const LABELS = { app: ["web", "db"], tier: ["front", "back"] } as const;
const PORT_NAMES = ["http", "dns", "alt"] as const;

function anyObjects(dice: Dice): ObjectSet {
  const objects: ZtapObject[] = [
    { apiVersion: "ztap/v1", kind: "Namespace", metadata: { name: "a", labels: { team: "red" } } },
    {
      apiVersion: "ztap/v1",
      kind: "Namespace",
      metadata: { name: "b", labels: { team: "blue" } },
      ...(dice.chance(20) ? { spec: { mode: "audit" } } : {}),
    },
    ...SET_NAMES.map((name, at) => anySet(dice, name, at)),
    ...WORKLOADS.map((name, at) => anyWorkload(dice, name, at)),
    ...Array.from({ length: dice.between(1, 8) }, (_unused, at) => anyPolicy(dice, at)),
  ];
  const states = objects.map((object) => stateObject(object));
  return new Map(states.map((state) => [refKey(refOf(state.object)), state]));
}

function anyWorkload(dice: Dice, qualified: string, at: number): Workload {
  const [namespace = "", name = ""] = qualified.split("/");
  const port = (portName: string) => ({
    name: portName,
    port: anyRange(dice)[0] || 80,
    protocol: dice.pick(["TCP", "UDP", "SCTP"] as const),
  });
  return {
    apiVersion: "ztap/v1",
    kind: "Workload",
    metadata: { name, namespace, labels: { app: name, tier: dice.pick(LABELS.tier) } },
    spec: {
      node: "n",
      cgroup: qualified,
      addresses: [OWN[4][at] ?? "", OWN[6][at] ?? "", ...SHARED.filter(() => dice.chance(60))],
      ports: dice.chance(40) ? [] : PORT_NAMES.filter(() => dice.chance(70)).map(port),
    },
  };
}

function anyPolicy(dice: Dice, at: number): NetworkPolicy {
  const types = dice.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]] as const);
  const rules = () =>
    dice.some(4, () => ({ peers: dice.some(3, () => anyPeer(dice)), ports: dice.some(4, () => anyPort(dice)) }));
  const ingress: readonly IngressRule[] = rules().map(({ peers, ports }) => ({ from: peers, ports }));
  const egress: readonly EgressRule[] = rules().map(({ peers, ports }) => ({ to: peers, ports }));
  return {
    apiVersion: "ztap/v1",
    kind: "NetworkPolicy",
    metadata: { name: `p${at}`, namespace: dice.pick(["a", "b"]) },
    spec: {
      podSelector: anySelector(dice),
      policyTypes: types,
      ingress,
      egress,
      ...(dice.chance(20)
        ? { mode: dice.pick(["audit", "enforce", { ingress: "audit" }, { egress: "audit" }] as const) }
        : {}),
    },
  };
}

function anySelector(dice: Dice): LabelSelector {
  if (dice.chance(35)) return {};
  if (dice.chance(50)) return { matchLabels: { app: dice.pick(LABELS.app) } };
  const operator = dice.pick(["In", "NotIn"] as const);
  return { matchExpressions: [{ key: "tier", operator, values: [dice.pick(LABELS.tier)] }] };
}

const SET_NAMES = ["s0", "s1", "s2"] as const;

/** Sets overlap each other and the blocks of policies, since all come from one pool. */
function anySet(dice: Dice, name: string, at: number): NetworkSet {
  const cidrs = Array.from({ length: dice.below(8) }, () => anyCidr(dice, dice.pick([4, 6])));
  const except = cidrs.flatMap((cidr) => (dice.chance(30) ? (anyPartOf(dice, cidr) ?? []) : []));
  return {
    apiVersion: "ztap/v1",
    kind: "NetworkSet",
    metadata: { name, labels: { side: at === 0 ? "in" : "out" } },
    spec: { cidrs: subtractCidrs(cidrs, except) },
  };
}

function anyPeer(dice: Dice): Peer {
  if (dice.chance(15)) return { networkSet: dice.pick(SET_NAMES) };
  if (dice.chance(10)) return { networkSetSelector: dice.chance(30) ? {} : { matchLabels: { side: "out" } } };
  if (dice.chance(40)) return { podSelector: anySelector(dice) };
  if (dice.chance(30)) return { namespaceSelector: dice.chance(50) ? {} : { matchLabels: { team: "red" } } };
  const cidr = anyCidr(dice, dice.pick([4, 6]));
  const except = dice.some(3, () => anyPartOf(dice, cidr)).filter((part) => part !== null);
  return { ipBlock: except.length === 0 ? { cidr } : { cidr, except } };
}

function anyPort(dice: Dice): PolicyPort {
  if (dice.chance(20)) return anyIcmp(dice);
  const protocol = dice.pick(["TCP", "UDP", "UDP", "SCTP"] as const);
  if (dice.chance(25)) return { protocol, port: dice.pick(PORT_NAMES) };
  if (dice.chance(15)) return { protocol };
  const [first, last] = anyRange(dice);
  return first === last ? { protocol, port: first } : { protocol, port: first, endPort: last };
}

function anyIcmp(dice: Dice): PolicyPort {
  if (dice.chance(25)) return { protocol: "ICMP" };
  const type = dice.pick([0, 3, 8, 8, 128, 129]);
  return dice.chance(50) ? { protocol: "ICMP", type } : { protocol: "ICMP", type, code: dice.below(3) };
}
