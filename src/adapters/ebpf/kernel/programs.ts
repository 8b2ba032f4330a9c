/** Names of the BPF object's programs and maps, as native/bpf declares them. */
import type { Hook } from "./native.js";

/** Those of calls first: the packet programs are attached last, after the storage has been written. */
export const HOOKS: readonly Hook[] = [
  "connect4",
  "connect6",
  "sendmsg4",
  "sendmsg6",
  "bind4",
  "bind6",
  "ingress",
  "egress",
];

/** The maps that a node's programs share; each is pinned. */
export const MAPS = [
  "ztap_addrs_a",
  "ztap_addrs_b",
  "ztap_begun",
  "ztap_births",
  "ztap_cgroup",
  "ztap_clock",
  "ztap_control",
  "ztap_decider_egress",
  "ztap_decider_ingress",
  "ztap_echoes",
  "ztap_events",
  "ztap_flows",
  "ztap_living",
  "ztap_names",
  "ztap_newborns",
  "ztap_packets",
  "ztap_places",
  "ztap_ports_a",
  "ztap_ports_b",
  "ztap_rule_counts",
  "ztap_rule_places",
  "ztap_scratch",
  "ztap_socks",
  "ztap_subject_counts",
  "ztap_subject_places",
  "ztap_told",
] as const;

/** Attached for all cgroups: these decide the packets of newborn ones. */
export const GUARDS = ["ingress", "egress"] as const;

/** Attached to the tracepoints of cgroups. */
export const TRACEPOINTS = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_release"] as const;
export const KNOW = "ztap_know";
export const PREPARE = "ztap_prepare";
export const ADOPT = "ztap_adopt";
export const LEARN_FILES = "ztap_learn_files";
export const LEARN_TCP = "ztap_learn_tcp";

/** The programs that enforce newborn cgroups, and those that the agent runs for them. */
export const NEWBORN_PROGRAMS: readonly string[] = [
  ...GUARDS.map((guard) => `ztap_guard_${guard}`),
  ...TRACEPOINTS.map((name) => `ztap_${name}`),
  KNOW,
  PREPARE,
  ADOPT,
  LEARN_FILES,
  LEARN_TCP,
];

export const EXPORT_FLOWS = "ztap_export_flows";
export const IMPORT_FLOW = "ztap_import_flow";
export const IMPORT_ROLES = "ztap_import_roles";

/** Loaded by every agent, so that another version can take over from it. */
export const EXPORTERS = [EXPORT_FLOWS];

/** Loaded for a takeover. */
export const IMPORTERS = [IMPORT_FLOW, IMPORT_ROLES];
