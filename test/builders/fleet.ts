/**
 * A fleet: hosts with four services each, of different teams, that share the host's one address. Teams are namespaces, and
 * policies select by labels. It can be written in two forms, which mean the same.
 */
import { objectsOf } from "./state.js";
import type { ObjectSet } from "../../src/model/state.js";

export const ROLES = [
  { role: "front", port: 8080, from: "worker" },
  { role: "api", port: 8081, from: "front" },
  { role: "db", port: 5432, from: "api" },
  { role: "worker", port: 9000, from: null },
] as const;

export interface FleetOptions {
  readonly hosts: number;
  readonly teams?: number;
  /** Of the Cluster object; default: none is written. */
  readonly identity?: "address";
  /** Rules name no ports. */
  readonly everyPort?: true;
  readonly addressOf?: (host: number) => string;
  readonly nodeOf?: (host: number) => string;
  readonly cgroupOf?: (host: number, role: string) => string;
}

export interface FleetText {
  readonly hosts: string;
  readonly services: string;
  readonly policies: string;
}

/** Returns the team of a service. Each host has services of four teams, and no two hosts need have the same four. */
export function teamOf(host: number, role: number, teams: number): string {
  return `team-${(host * 3 + role * 5 + Math.floor(host / 7)) % teams}`;
}

export const hostAddress = (host: number): string => `10.20.${host >> 8}.${host & 255}`;

const nodeName = (host: number): string => `host-${host}`;

/** Every object and every field written out, an address wherever one is needed. */
export function writtenFleet(options: FleetOptions): FleetText {
  const { hosts, teams = 12, addressOf = hostAddress, nodeOf = nodeName, cgroupOf } = options;
  const each = Array.from({ length: hosts }, (_unused, host) => host);
  return {
    hosts: each
      .map((host) =>
        [
          "---",
          "apiVersion: ztap/v1",
          "kind: Node",
          "metadata:",
          `  name: ${nodeOf(host)}`,
          "spec:",
          `  address: ${addressOf(host)}:9090`,
          "",
        ].join("\n"),
      )
      .join(""),
    services: each
      .flatMap((host) =>
        ROLES.map(({ role, port }, at) =>
          [
            "---",
            "apiVersion: ztap/v1",
            "kind: Workload",
            "metadata:",
            `  name: ${role}-${host}`,
            `  namespace: ${teamOf(host, at, teams)}`,
            "  labels:",
            `    app: ${role}`,
            "spec:",
            `  node: ${nodeOf(host)}`,
            `  cgroup: ${cgroupOf?.(host, role) ?? `system.slice/${role}.service`}`,
            "  addresses:",
            `    - ${addressOf(host)}`,
            "  ports:",
            "    - name: main",
            `      port: ${port}`,
            "",
          ].join("\n"),
        ),
      )
      .join(""),
    policies: policiesOf(options),
  };
}

/** Nodes by a pattern, services by their units: addresses are reported. */
export function patternFleet(options: FleetOptions): FleetText {
  const { hosts, teams = 12 } = options;
  return {
    hosts:
      '---\n{ apiVersion: ztap/v1, kind: NodeGroup, metadata: { name: hosts },\n  spec: { nodeNames: ["host-*"], addressRanges: [10.20.0.0/16] } }\n',
    services: Array.from({ length: hosts }, (_unused, host) =>
      ROLES.map(
        ({ role, port }, at) =>
          `---\n{ apiVersion: ztap/v1, kind: Workload,\n  metadata: { name: ${role}-${host}, namespace: ${teamOf(host, at, teams)}, labels: { app: ${role} } },\n  spec: { node: host-${host}, process: { systemdUnit: ${role}.service }, ports: [{ name: main, port: ${port} }] } }\n`,
      ),
    )
      .flat()
      .join(""),
    policies: policiesOf(options),
  };
}

/** Each service lets in one other service of its team. */
function policiesOf({ teams = 12, identity, everyPort }: FleetOptions): string {
  const cluster =
    identity === undefined
      ? ""
      : `---\n{ apiVersion: ztap/v1, kind: Cluster, metadata: { name: cluster }, spec: { identity: ${identity} } }\n`;
  return (
    cluster +
    Array.from({ length: teams }, (_unused, team) =>
      ROLES.map(({ role, from }) =>
        [
          "---",
          "apiVersion: networking.k8s.io/v1",
          "kind: NetworkPolicy",
          `metadata: { name: ${role}, namespace: team-${team} }`,
          "spec:",
          `  podSelector: { matchLabels: { app: ${role} } }`,
          "  policyTypes: [Ingress]",
          ...(from === null
            ? []
            : [
                "  ingress:",
                `    - from: [{ podSelector: { matchLabels: { app: ${from} } } }]`,
                ...(everyPort === true ? [] : ["      ports: [{ port: main }]"]),
              ]),
          "",
        ].join("\n"),
      ),
    )
      .flat()
      .join("")
  );
}

export function fleetObjects({ hosts, services, policies }: FleetText): ObjectSet {
  return objectsOf(hosts + services + policies);
}

/** Returns the number of lines, without the marks between documents. */
export function linesOf(text: string): number {
  return text.split("\n").filter((line) => line !== "" && line !== "---").length;
}
