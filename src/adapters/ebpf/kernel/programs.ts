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
  "ztap_confined",
  "ztap_containers",
  "ztap_control",
  "ztap_crowded",
  "ztap_deadline",
  "ztap_decider_egress",
  "ztap_decider_host",
  "ztap_decider_ingress",
  "ztap_echoes",
  "ztap_events",
  "ztap_expiries",
  "ztap_flows",
  "ztap_foreign",
  "ztap_identities_a",
  "ztap_identities_b",
  "ztap_living",
  "ztap_members",
  "ztap_names",
  "ztap_newborns",
  "ztap_overflows",
  "ztap_packets",
  "ztap_parts",
  "ztap_patterns",
  "ztap_peers",
  "ztap_places",
  "ztap_ports_a",
  "ztap_ports_b",
  "ztap_refusals",
  "ztap_refused",
  "ztap_rule_counts",
  "ztap_rule_places",
  "ztap_scratch",
  "ztap_shadow",
  "ztap_shadow_counts",
  "ztap_shadow_totals",
  "ztap_socks",
  "ztap_subject_counts",
  "ztap_subject_places",
  "ztap_told",
  "ztap_tolerated",
] as const;

/** Attached for all cgroups: these decide the packets of newborn ones. */
export const GUARDS = ["ingress", "egress"] as const;

/** Attached to tracepoints: of cgroups, and of new programs, which may have sockets of other cgroups. */
export const TRACEPOINTS = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_release", "sched_process_exec"] as const;

/** Attached to security functions of the kernel, where it allows that: they refuse sockets that are not IP's. */
export const SECURITY = ["socket_create", "unix_stream_connect", "unix_may_send"] as const;

/** Attached for all cgroups, beside the guards. */
export const ROOT_HOOKS = ["setsockopt", "sock_ops"] as const;

/** Called by the packet program of workloads where policy asks who sends. */
export const IDENTIFY = "ztap_identity";

/** Attached to network interfaces, by direction; they call those of HOST. */
export const INTERFACE = ["ztap_interface_ingress", "ztap_interface_egress"] as const;
export const HOST = ["ztap_host_ingress", "ztap_host_egress"] as const;
export const FIND_NAMESPACES = "ztap_find_namespaces";
export const HOST_PROGRAMS: readonly string[] = [...INTERFACE, ...HOST, FIND_NAMESPACES];

export const SET_DEADLINE = "ztap_set_deadline";
export const SET_EXPIRY = "ztap_set_expiry";

export const LIST_CONNECTIONS = "ztap_list_connections";

export const KNOW = "ztap_know";
export const PREPARE = "ztap_prepare";
export const ADOPT = "ztap_adopt";
export const RELEASE = "ztap_release";
export const END_OVERFLOW = "ztap_end_overflow";
export const SET_PATTERNS = "ztap_set_patterns";
export const LEARN_FILES = "ztap_learn_files";
export const LEARN_TCP = "ztap_learn_tcp";

export const IS_ABOVE = "ztap_is_above";
export const FIND_FOREIGN = "ztap_find_foreign";
export const SET_FOREIGN = "ztap_set_foreign";

/** The programs for the whole machine, and those that the agent runs. */
export const NEWBORN_PROGRAMS: readonly string[] = [
  ...GUARDS.map((guard) => `ztap_guard_${guard}`),
  ...ROOT_HOOKS.map((hook) => `ztap_guard_${hook}`),
  ...TRACEPOINTS.map((name) => `ztap_${name}`),
  IDENTIFY,
  SET_DEADLINE,
  SET_EXPIRY,
  LIST_CONNECTIONS,
  KNOW,
  IS_ABOVE,
  PREPARE,
  ADOPT,
  RELEASE,
  END_OVERFLOW,
  SET_PATTERNS,
  LEARN_FILES,
  LEARN_TCP,
  FIND_FOREIGN,
  SET_FOREIGN,
];

/** Those that not every kernel takes. */
export const SECURITY_PROGRAMS: readonly string[] = SECURITY.map((name) => `ztap_${name}`);

export const EXPORT_FLOWS = "ztap_export_flows";
export const IMPORT_FLOW = "ztap_import_flow";
export const IMPORT_ROLES = "ztap_import_roles";

/** Loaded by every agent, so that another version can take over from it. */
export const EXPORTERS = [EXPORT_FLOWS];

/** Loaded for a takeover. */
export const IMPORTERS = [IMPORT_FLOW, IMPORT_ROLES];
