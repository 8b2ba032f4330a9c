/** Names of the BPF object's programs and maps, as native/bpf declares them. */
import type { Hook } from "./native.js";

/** Connect and sendmsg first: the packet programs are attached last, after the storage has been written. */
export const HOOKS: readonly Hook[] = ["connect4", "connect6", "sendmsg4", "sendmsg6", "ingress", "egress"];

/** The maps that a node's programs share; each is pinned. */
export const MAPS = [
  "ztap_addrs_a",
  "ztap_addrs_b",
  "ztap_begun",
  "ztap_cgroup",
  "ztap_clock",
  "ztap_control",
  "ztap_events",
  "ztap_flows",
  "ztap_packets",
  "ztap_places",
  "ztap_ports_a",
  "ztap_ports_b",
  "ztap_rule_counts",
  "ztap_rule_places",
  "ztap_socks",
  "ztap_subject_counts",
  "ztap_subject_places",
  "ztap_told",
] as const;
export const EXPORT_FLOWS = "ztap_export_flows";
export const IMPORT_FLOW = "ztap_import_flow";
export const IMPORT_ROLES = "ztap_import_roles";

/** Loaded by every agent, so that another version can take over from it. */
export const EXPORTERS = [EXPORT_FLOWS];

/** Loaded for a takeover. */
export const IMPORTERS = [IMPORT_FLOW, IMPORT_ROLES];
