/** The users and roles that etcd needs for a cluster, and the script that makes them. Pure; docs/etcd.md has the reasons. */
import type { EtcdAccess, EtcdRole, KeyPermission } from "../../model/etcd-roles.js";
import { keys, prefixes } from "../../store/keys.js";
import type { ClusterFile } from "./cluster-file.js";
import { ROOT } from "./names.js";

/** Holds the script. */
export const ROLES_FILE = "roles.sh";

const LEADER = "ztap-leader";
const REGISTRAR = "ztap-registrar";
/** What a leader writes: below these prefixes, and these keys. */
const LEADER_PREFIXES = ["objects", "parts", "revisions", "policies"];
const LEADER_KEYS = [
  "format",
  "head",
  "election",
  "source",
  "pruned",
  "suspension",
  "approval",
  "rollout",
  "overrides",
  keys.outbox,
];
/** A node's own records. */
const NODE_PREFIXES = [prefixes.live, prefixes.seen, prefixes.status, prefixes.members, prefixes.endpoints];

/** Returns all users and roles. */
export function clusterAccess(file: ClusterFile): EtcdAccess {
  const below = (key: string): string => `${file.prefix}/${key}`;
  const readAll: KeyPermission = { access: "read", key: below(""), isPrefix: true };
  const write = (key: string, isPrefix: boolean): KeyPermission => ({ access: "readwrite", key: below(key), isPrefix });
  const nodes = [...file.nodes, ...file.enrolled];
  const leaders = new Set(file.leaders);
  const ofNode = (node: string): EtcdRole => ({
    name: roleOfNode(node),
    permissions: [
      readAll,
      ...NODE_PREFIXES.map((prefix) => write(`${prefix}${node}`, false)),
      // Any node may be asked to poll; nobody acts on what the record says.
      write(keys.poll, false),
    ],
  });
  return {
    roles: [
      {
        name: LEADER,
        permissions: [
          readAll,
          ...LEADER_PREFIXES.map((name) => write(`${name}/`, true)),
          ...LEADER_KEYS.map((key) => write(key, false)),
        ],
      },
      { name: REGISTRAR, permissions: [readAll, ...NODE_PREFIXES.map((prefix) => write(prefix, true))] },
      ...nodes.map(ofNode),
    ],
    users: [
      { name: ROOT, roles: [ROOT] },
      ...nodes.map((name) => ({ name, roles: [roleOfNode(name), ...(leaders.has(name) ? [LEADER] : [])] })),
      ...file.operators.map((name) => ({ name, roles: [LEADER, REGISTRAR] })),
    ],
  };
}

const NODE_ROLE = "ztap-node-";

function roleOfNode(node: string): string {
  return `${NODE_ROLE}${node}`;
}

/** Whether a role has a name of a cluster's roles. */
export function isClusterRole(role: string): boolean {
  return role === LEADER || role === REGISTRAR || role.startsWith(NODE_ROLE);
}

/** Returns etcdctl's commands for the users and roles. They may be run again: what is there stays. */
export function rolesScript({ roles, users }: EtcdAccess): string {
  const lines = [
    ...roles.flatMap(({ name, permissions }) => [
      `have role ${name} || etcdctl role add ${name}`,
      ...permissions.map(
        ({ access, key, isPrefix }) =>
          `etcdctl role grant-permission ${isPrefix ? "--prefix=true " : ""}${name} ${access} ${key}`,
      ),
    ]),
    ...users.flatMap(({ name, roles: own }) => [
      `have user ${name} || etcdctl user add ${name} --no-password`,
      ...own.map((role) => `etcdctl user grant-role ${name} ${role}`),
    ]),
  ];
  return `#!/bin/sh
# The users and roles of this cluster, written by \`ztap cluster bootstrap\`. \`--apply\` does the same without etcdctl.
# Needs ETCDCTL_ENDPOINTS, and ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY of operators/root.
set -eu
export ETCDCTL_API=3
have() { etcdctl "$1" get "$2" >/dev/null 2>&1; }
${lines.join("\n")}
etcdctl auth enable
`;
}
