/**
 * Endpoints: what one node's agent reports of the node: its addresses, and the instances of workloads that it found. Only
 * its shape is checked when it is read from a store; src/inventory decides what of it counts.
 */
import { isIP } from "node:net";
import {
  isLabel,
  isObjectName,
  isPort,
  isString,
  isTime,
  isToken,
  listOf,
  oneOf,
  optional,
  shaped,
  type Guard,
} from "./guards.js";
import type { PortProtocol } from "./objects.js";

export interface NodeEndpoints {
  /** The node that wrote it. */
  readonly node: string;
  /** When its agent looked; RFC 3339, UTC. */
  readonly at: string;
  /** Operating system, as in the label `kubernetes.io/os`. */
  readonly os: string;
  /** The node's own addresses. */
  readonly addresses: readonly string[];
  readonly instances: readonly ReportedInstance[];
  /** The node's public key; absent if it has none. */
  readonly publicKey?: string;
}

/** One cgroup that matches the pattern of a workload. */
export interface ReportedInstance {
  /** `namespace/name`. */
  readonly workload: string;
  /** Its name among the workload's instances on this node; empty if there can be only one. */
  readonly instance: string;
  /** Path below the cgroup v2 root; empty for the host. */
  readonly cgroup: string;
  /** Addresses of its own network namespace; empty: those of the node. */
  readonly addresses: readonly string[];
  /** The ports that it listens on. */
  readonly ports: readonly ListeningPort[];
}

export interface ListeningPort {
  readonly protocol: PortProtocol;
  readonly port: number;
}

/** Bounds of one record. A record beyond them is invalid, which concerns its node alone. */
export const MOST_INSTANCES = 4096;
export const MOST_NODE_ADDRESSES = 256;
export const MOST_INSTANCE_ADDRESSES = 64;
export const MOST_PORTS = 256;
const MAX_CGROUP = 4095;
const MAX_INSTANCE = 1024;

const isIpAddress: Guard<string> = (value): value is string =>
  isString(value) && value.length <= 45 && !value.includes("%") && isIP(value) !== 0;

const isCgroup: Guard<string> = (value): value is string =>
  isString(value) && value.length <= MAX_CGROUP && !/[\u0000-\u001f\u007f]/.test(value);

/** ASCII without spaces, since it becomes a part of a name. */
const isInstanceName: Guard<string> = (value): value is string =>
  isString(value) && value.length <= MAX_INSTANCE && /^[\x21-\x7e]*$/.test(value);

/** Accepts `namespace/name` of a Workload. */
const isWorkloadName: Guard<string> = (value): value is string => {
  const [namespace, name, ...rest] = isString(value) ? value.split("/") : [];
  return isLabel(namespace) && isLabel(name) && rest.length === 0;
};

export const isReportedInstance = shaped<ReportedInstance>({
  workload: isWorkloadName,
  instance: isInstanceName,
  cgroup: isCgroup,
  addresses: listOf(isIpAddress, MOST_INSTANCE_ADDRESSES),
  ports: listOf(shaped<ListeningPort>({ protocol: oneOf("TCP", "UDP", "SCTP"), port: isPort }), MOST_PORTS),
});

export const isNodeEndpoints = shaped<NodeEndpoints>({
  node: isLabel,
  at: isTime,
  os: (value): value is string => isString(value) && /^[a-z0-9]{1,32}$/.test(value),
  addresses: listOf(isIpAddress, MOST_NODE_ADDRESSES),
  instances: listOf(isReportedInstance, MOST_INSTANCES),
  publicKey: optional(isToken),
});

/**
 * Accepts the name of a subject: `namespace/name` of a workload, or `namespace/name@node` and
 * `namespace/name@node/instance` of an instance.
 */
export const isSubjectName: Guard<string> = (value): value is string => {
  const [, namespace, name, node = "n", instance = ""] =
    (isString(value) ? /^([^/@]+)\/([^/@]+)(?:@([^/@]+)(?:\/(.+))?)?$/s.exec(value) : null) ?? [];
  return isLabel(namespace) && isObjectName(name) && isLabel(node) && isInstanceName(instance);
};

/** Returns the Workload, `namespace/name`, of a subject, whether that is an instance or the Workload itself. */
export function workloadOf(subject: string): string {
  const at = subject.indexOf("@");
  return at === -1 ? subject : subject.slice(0, at);
}
