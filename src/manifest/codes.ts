/**
 * The codes of all diagnostics of the manifest stage. A code never gets another meaning and is never reused.
 * docs/diagnostics.md explains each; a test compares the two.
 *
 * ZT1 YAML · ZT2 shape of a document · ZT3 values · ZT4 objects against each other · ZT5 warnings.
 */
import type { Severity } from "../model/diagnostic.js";

interface CodeEntry {
  readonly code: string;
  readonly severity: Severity;
  /** A short name for people, as in the table of docs/diagnostics.md. */
  readonly title: string;
}

const error = (code: string, title: string): CodeEntry => ({ code, severity: "error", title });
const warning = (code: string, title: string): CodeEntry => ({ code, severity: "warning", title });

export const CODES = {
  yamlSyntax: error("ZT1001", "YAML syntax"),
  duplicateKey: error("ZT1002", "duplicate key"),
  aliasLimit: error("ZT1003", "aliases expand too far"),
  badKey: error("ZT1004", "key that is not text"),
  unknownTag: error("ZT1005", "unknown YAML tag"),
  ambiguousNumber: error("ZT1006", "number that YAML parsers read differently"),
  nestingLimit: error("ZT1007", "nested too deeply"),
  notAnObject: error("ZT1008", "document that is not an object"),
  doubtfulText: error("ZT1009", "text that is shown or read in more than one way"),
  readersDiffer: error("ZT1010", "text that YAML parsers read differently"),
  sizeLimit: error("ZT1011", "file larger than ztap reads"),
  moreProblems: error("ZT1012", "more problems than are reported"),
  unreadFile: error("ZT1013", "file that cannot be read"),

  unknownApiVersion: error("ZT2001", "unknown apiVersion"),
  unknownKind: error("ZT2002", "unknown kind"),
  unknownField: error("ZT2003", "unknown field"),
  missingField: error("ZT2004", "missing field"),
  wrongType: error("ZT2005", "wrong type"),
  notOneOf: error("ZT2006", "value that is not one of those allowed"),
  ztapOnly: error("ZT2007", "field of ztap/v1 in a Kubernetes policy"),
  outOfRange: error("ZT2008", "number out of range"),
  tooMany: error("ZT2009", "too many items"),
  exclusiveFields: error("ZT2010", "fields that exclude each other"),

  badName: error("ZT3001", "malformed name"),
  badLabelKey: error("ZT3002", "malformed label key"),
  badLabelValue: error("ZT3003", "malformed label value"),
  badAddress: error("ZT3004", "malformed IP address"),
  badCidr: error("ZT3005", "malformed CIDR"),
  hostBits: error("ZT3006", "CIDR with host bits"),
  exceptOutside: error("ZT3007", "except outside cidr, or as large as cidr"),
  endPortBelowPort: error("ZT3008", "endPort below port"),
  endPortNamed: error("ZT3009", "endPort with a named port"),
  endPortAlone: error("ZT3010", "endPort without port"),
  badPortName: error("ZT3011", "malformed port name"),
  operatorNeedsValues: error("ZT3012", "In or NotIn without values"),
  operatorTakesNoValues: error("ZT3013", "Exists or DoesNotExist with values"),
  ipBlockBesideSelector: error("ZT3014", "ipBlock beside a selector"),
  emptyPeer: error("ZT3015", "empty peer"),
  codeWithoutType: error("ZT3016", "ICMP code without type"),
  portFieldMismatch: error("ZT3017", "field that the protocol does not have"),
  badCgroup: error("ZT3018", "malformed cgroup path"),
  duplicateAddress: error("ZT3019", "address given twice"),
  badAgentAddress: error("ZT3020", "malformed agent address"),
  mappedAddress: error("ZT3021", "IPv4-mapped IPv6 address"),
  duplicatePort: error("ZT3022", "port name given twice"),
  testWithoutWorkload: error("ZT3023", "test without a workload"),
  badUser: error("ZT3024", "malformed user name"),
  exceptTooMany: error("ZT3025", "block with more prefixes than ztap reads"),
  networkSetBesideOther: error("ZT3026", "NetworkSet beside another field of a peer"),
  cidrFile: error("ZT3027", "file of CIDRs that is not read"),
  setTooLarge: error("ZT3028", "NetworkSet with more CIDRs than ztap reads"),
  badPattern: error("ZT3030", "malformed pattern"),
  badPublicKey: error("ZT3031", "malformed public key"),
  badRollout: error("ZT3032", "malformed setting of a rollout"),
  badTimezone: error("ZT3033", "unknown time zone"),

  duplicateObject: error("ZT4001", "object declared twice"),
  undeclaredNode: error("ZT4002", "workload on an undeclared node"),
  cgroupConflict: error("ZT4003", "cgroups that overlap"),
  nodeAddressConflict: error("ZT4004", "two nodes with one address"),
  tooLarge: error("ZT4005", "more than a node can hold"),
  cannotEnforce: error("ZT4006", "rule that the node's backend cannot express"),
  testFailed: error("ZT4007", "connectivity test that fails"),
  undeclaredSet: error("ZT4008", "peer that names an undeclared NetworkSet"),
  labelConflict: error("ZT4010", "node with two values of one label"),
  identityConflict: error("ZT4012", "two workloads with one identity"),

  undeclaredNamespace: warning("ZT5001", "undeclared namespace"),
  selectsNoWorkload: warning("ZT5002", "policy that selects no workload"),
  peerMatchesNothing: warning("ZT5003", "peer that matches no workload, or no NetworkSet"),
  shadowedRule: warning("ZT5004", "shadowed rule"),
  peerWithoutAddress: warning("ZT5005", "peer without addresses"),
  unreachableWorkload: warning("ZT5006", "workload with neither node nor addresses"),
  workloadWithoutCgroup: warning("ZT5007", "workload on a node without a cgroup"),
  ignoredRules: warning("ZT5008", "rules of a direction that is not isolated"),
  isolatesNothing: warning("ZT5009", "policy that isolates nothing"),
  portNameOfBlock: warning("ZT5010", "port name towards address blocks"),
  emptyMeansAll: warning("ZT5011", "empty field that widens the policy"),
  linkedFile: warning("ZT5012", "file that is a symbolic link or a submodule"),
  booleanWord: warning("ZT5013", "label that YAML 1.1 reads as a boolean"),
  emptySet: warning("ZT5014", "NetworkSet without addresses"),
  undeclaredPortName: warning("ZT5015", "port name that no workload declares"),
  selectsNoNode: warning("ZT5020", "nodeSelector that no node can match"),
  sharedAddress: warning("ZT5021", "rule that lets in more than it names"),
  hostWithoutAccess: warning("ZT5022", "host that policies cut off from what it needs"),
} as const satisfies Record<string, CodeEntry>;

export type CodeName = keyof typeof CODES;
