/** Generated from schemas/ by schemas/generate.mjs; do not edit. What authors may write, before normalization. */

/**
 * Any document of a policy repository.
 */
export type AnyDocument =
  | NodeDocument
  | NodeGroupDocument
  | NamespaceDocument
  | WorkloadDocument
  | NetworkPolicyDocument
  | NetworkSetDocument
  | ConnectivityTestDocument
  | ClusterDocument;
/**
 * RFC 1123 label: lower-case letters, digits and '-', beginning and ending with a letter or digit, at most 63 characters.
 */
export type DnsLabel = string;
/**
 * Empty, or at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit.
 */
export type LabelValue = string;
/**
 * A public key of X25519, in base64url without padding.
 */
export type PublicKey = string;
/**
 * The name of a node, in which '*' stands for any characters and '?' for one.
 */
export type NodeNamePattern = string;
/**
 * Kubernetes' qualified name: an optional DNS subdomain and '/', then at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit.
 */
export type LabelKey = string;
/**
 * Name of a user of the operating system. `unknown` is pf's word for no user.
 */
export type UserName = string;
/**
 * IANA service name: at most 15 lower-case letters, digits and single '-' between them, at least one letter.
 */
export type PortName = string;
/**
 * 1 to 65535.
 */
export type PortNumber = number;
/**
 * A protocol with ports.
 */
export type PortProtocolName = "TCP" | "UDP" | "SCTP";
/**
 * A NetworkPolicy, of ztap or of Kubernetes.
 */
export type NetworkPolicyDocument = ZtapNetworkPolicyDocument | KubernetesNetworkPolicyDocument;
/**
 * A list of peers, or one peer.
 */
export type ZtapPeers = ZtapPeerDocument | ZtapPeerDocument[];
/**
 * One word for both directions, or one for each.
 */
export type PolicyModeDocument = "enforce" | "audit" | {ingress?: "enforce" | "audit"; egress?: "enforce" | "audit"};
/**
 * RFC 1123 subdomain: parts as in a DNS label, separated by dots, at most 253 characters. Kubernetes allows it for the names of NetworkPolicies.
 */
export type DnsSubdomain = string;
/**
 * A time from 10 seconds to one hour: `90s`, `2m`, `1h`.
 */
export type ConfirmTime = string;
/**
 * A time of at most 30 days: `0s`, `90s`, `10m`, `2h`.
 */
export type RolloutTime = string;
/**
 * A number of nodes, or a percentage.
 */
export type WaveMax = number | string;
/**
 * The largest number with which the rollout goes on.
 */
export type GateLimit = number;
/**
 * A day and a time: `Fri 16:00`.
 */
export type WeekTime = string;

/**
 * A cluster member: a host on which an agent runs.
 */
export interface NodeDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `Node`.
   */
  kind: "Node";
  metadata: ClusterMetadataDocument;
  spec?: NodeSpecDocument;
}
/**
 * Identity of an object that belongs to no namespace.
 */
export interface ClusterMetadataDocument {
  name: DnsLabel;
  labels?: LabelMap;
  annotations?: AnnotationMap;
}
/**
 * Labels by key; selectors match them.
 */
export interface LabelMap {
  [k: string]: LabelValue;
}
/**
 * Notes by key; ztap ignores them.
 */
export interface AnnotationMap {
  [k: string]: string;
}
/**
 * The node's addresses and backend.
 */
export interface NodeSpecDocument {
  /**
   * host:port of the node's agent; an IPv6 host in brackets. Default: what the agent reports.
   */
  address?: string;
  /**
   * The node's IP addresses, without prefix length; the agent may then report no other. Default: the host of `address`, if it is an IP address; otherwise what the agent reports within the `addressRanges` of the node's groups.
   */
  addresses?: string[];
  publicKey?: PublicKey;
  /**
   * The node's backend: `ebpf` on Linux, `pf` on macOS. Planning refuses policies that it cannot express.
   */
  enforcement?: "ebpf" | "pf";
}
/**
 * Describes many nodes at once: their labels, and the addresses that they may report. Labels come from Git, never from a node.
 */
export interface NodeGroupDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `NodeGroup`.
   */
  kind: "NodeGroup";
  metadata: ClusterMetadataDocument;
  spec: NodeGroupSpecDocument;
}
/**
 * The nodes of the group, and the addresses that they may report.
 */
export interface NodeGroupSpecDocument {
  /**
   * Patterns of node names; `*` stands for any characters, `?` for one. A node that one of them matches belongs to the group.
   */
  nodeNames: NodeNamePattern[];
  /**
   * CIDRs that contain every address which these nodes may report as their own or their workloads'. Without any, what they report is ignored.
   */
  addressRanges?: string[];
}
/**
 * A namespace with the labels that `namespaceSelector` matches. The label `kubernetes.io/metadata.name` is implied.
 */
export interface NamespaceDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `Namespace`.
   */
  kind: "Namespace";
  metadata: ClusterMetadataDocument;
  /**
   * Settings of the namespace's policies.
   */
  spec?: {
    /**
     * Mode of the namespace's policies without one, including those of Kubernetes. Default: the Cluster's mode, else enforce.
     */
    mode?: "enforce" | "audit";
  };
}
/**
 * A labelled group of processes on one node or several, with their addresses. Without `node` and `nodeSelector`: an external peer.
 */
export interface WorkloadDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `Workload`.
   */
  kind: "Workload";
  metadata: NamespacedMetadataDocument;
  spec: WorkloadSpecDocument;
}
/**
 * Identity of an object in a namespace.
 */
export interface NamespacedMetadataDocument {
  name: DnsLabel;
  namespace?: DnsLabel;
  labels?: LabelMap;
  annotations?: AnnotationMap;
}
/**
 * The workload's node, processes, addresses and ports.
 */
export interface WorkloadSpecDocument {
  node?: DnsLabel;
  nodeSelector?: LabelSelectorDocument;
  /**
   * Its IPv4 and IPv6 addresses, without prefix length. With `nodeSelector` or `process`, the default is what its nodes report.
   */
  addresses?: string[];
  /**
   * Its cgroup: the path below the cgroup v2 root, without a leading slash.
   */
  cgroup?: string;
  process?: ProcessPatternDocument;
  user?: UserName;
  /**
   * Ways past its policy that it may have although policy isolates it; otherwise they are refused and reported. `InheritedSockets`: IP sockets that belong to another cgroup, as with socket activation. `DelegatedCgroup`: a user other than root can move its processes to another cgroup.
   */
  tolerates?: ("DelegatedCgroup" | "InheritedSockets")[];
  /**
   * The ports that it listens on. Only named ports are needed here, and only for policies that use the name.
   */
  ports?: WorkloadPortDocument[];
}
/**
 * Kubernetes' LabelSelector: all of it must hold; the empty selector matches everything.
 */
export interface LabelSelectorDocument {
  matchLabels?: LabelMap;
  /**
   * Each of these must hold.
   */
  matchExpressions?: SelectorRequirementDocument[];
}
/**
 * One condition on one label.
 */
export interface SelectorRequirementDocument {
  key: LabelKey;
  /**
   * In and NotIn compare with `values`; Exists and DoesNotExist take none. NotIn and DoesNotExist also match if the label is absent.
   */
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  /**
   * The values that In and NotIn compare with.
   */
  values?: LabelValue[];
}
/**
 * Its processes, in place of `cgroup`: exactly one of these. In a pattern `*` stands for any characters, `?` for one.
 */
export interface ProcessPatternDocument {
  /**
   * Name of a unit of the system's systemd, or a pattern. Each unit that it matches is an instance.
   */
  systemdUnit?: string;
  container?: ContainerPatternDocument;
  /**
   * Path of a cgroup below the cgroup v2 root, or a pattern; `*` and `?` do not match a slash.
   */
  cgroup?: string;
  /**
   * Always true: all processes of the node that belong to no other workload.
   */
  host?: true;
}
/**
 * Containers of the node's runtimes, by at least one of name, image and labels: all of them must match.
 */
export interface ContainerPatternDocument {
  /**
   * Name of the container, or a pattern.
   */
  name?: string;
  /**
   * Name of the image with its tag, or a pattern.
   */
  image?: string;
  /**
   * Labels that the runtime gives the container, with their exact values.
   */
  labels?: {
    [k: string]: string;
  };
}
/**
 * A port that the workload listens on; policies can use its name.
 */
export interface WorkloadPortDocument {
  name?: PortName;
  port: PortNumber;
  protocol?: PortProtocolName;
}
/**
 * A network policy in ztap's own version: Kubernetes' fields, plus ICMP, audit mode and single peers.
 */
export interface ZtapNetworkPolicyDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `NetworkPolicy`.
   */
  kind: "NetworkPolicy";
  metadata: NamespacedMetadataDocument;
  spec: ZtapNetworkPolicySpecDocument;
}
/**
 * The workloads that the policy protects, and the connections that it allows.
 */
export interface ZtapNetworkPolicySpecDocument {
  podSelector?: LabelSelectorDocument;
  /**
   * The directions that the policy isolates. Default: exactly those whose key, `ingress` or `egress`, is present.
   */
  policyTypes?: ("Ingress" | "Egress")[];
  /**
   * Rules for incoming connections; an empty list allows nothing.
   */
  ingress?: ZtapIngressRuleDocument[];
  /**
   * Rules for outgoing connections; an empty list allows nothing.
   */
  egress?: ZtapEgressRuleDocument[];
  mode?: PolicyModeDocument;
}
/**
 * One ingress rule: allows any of the peers on any of the ports.
 */
export interface ZtapIngressRuleDocument {
  from?: ZtapPeers;
  /**
   * The ports. Default, also for an empty list: every protocol and every port.
   */
  ports?: ZtapPolicyPortDocument[];
}
/**
 * Selectors, one or both; or an ipBlock; or NetworkSets, by name or by their labels.
 */
export interface ZtapPeerDocument {
  podSelector?: LabelSelectorDocument;
  namespaceSelector?: LabelSelectorDocument;
  ipBlock?: IPBlockDocument;
  networkSet?: DnsLabel;
  networkSetSelector?: LabelSelectorDocument;
}
/**
 * A block of addresses, without the parts in `except`.
 */
export interface IPBlockDocument {
  /**
   * CIDR without host bits.
   */
  cidr: string;
  /**
   * CIDRs inside `cidr`, each smaller than it, that are excluded.
   */
  except?: string[];
}
/**
 * A port, a range of ports, or ICMP.
 */
export interface ZtapPolicyPortDocument {
  /**
   * Default: TCP. ICMP means that of both address families.
   */
  protocol?: "TCP" | "UDP" | "SCTP" | "ICMP";
  /**
   * Port number, or the name of a port of the selected workloads. Default: every port of the protocol.
   */
  port?: number | string;
  endPort?: PortNumber;
  /**
   * ICMP type, in the numbers of the packet's own family. Default: every type.
   */
  type?: number;
  /**
   * ICMP code. Default: every code of the type.
   */
  code?: number;
}
/**
 * One egress rule: allows any of the peers on any of the ports.
 */
export interface ZtapEgressRuleDocument {
  to?: ZtapPeers;
  /**
   * The ports. Default, also for an empty list: every protocol and every port.
   */
  ports?: ZtapPolicyPortDocument[];
}
/**
 * Kubernetes' NetworkPolicy. A null has the same effect as in Kubernetes: a field counts as absent, the value of a label is empty.
 */
export interface KubernetesNetworkPolicyDocument {
  /**
   * Always `networking.k8s.io/v1`.
   */
  apiVersion: "networking.k8s.io/v1";
  /**
   * Always `NetworkPolicy`.
   */
  kind: "NetworkPolicy";
  metadata: KubernetesMetadataDocument;
  spec?: KubernetesNetworkPolicySpecDocument;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  status?: {};
}
/**
 * Kubernetes' ObjectMeta. Fields that a server fills in are accepted and dropped.
 */
export interface KubernetesMetadataDocument {
  name: DnsSubdomain;
  namespace?: DnsLabel;
  labels?: LabelMap;
  annotations?: AnnotationMap;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  creationTimestamp?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  deletionTimestamp?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  deletionGracePeriodSeconds?: number;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  generateName?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  generation?: number;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  resourceVersion?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  selfLink?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  uid?: string;
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  finalizers?: string[];
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  managedFields?: {}[];
  /**
   * Written by a Kubernetes server; accepted and dropped.
   */
  ownerReferences?: {}[];
}
/**
 * The workloads that the policy protects, and the connections that it allows.
 */
export interface KubernetesNetworkPolicySpecDocument {
  podSelector?: LabelSelectorDocument;
  /**
   * The directions that the policy isolates. Default: Ingress, and Egress if `egress` has a rule.
   */
  policyTypes?: ("Ingress" | "Egress")[];
  /**
   * Rules for incoming connections; an empty list allows nothing.
   */
  ingress?: KubernetesIngressRuleDocument[];
  /**
   * Rules for outgoing connections; an empty list allows nothing.
   */
  egress?: KubernetesEgressRuleDocument[];
}
/**
 * One ingress rule: allows any of the peers on any of the ports.
 */
export interface KubernetesIngressRuleDocument {
  /**
   * Allowed initiators. Default, also for an empty list: every peer.
   */
  from?: PeerDocument[];
  /**
   * The ports. Default, also for an empty list: every protocol and every port.
   */
  ports?: KubernetesPolicyPortDocument[];
}
/**
 * Selectors, one or both, or an ipBlock.
 */
export interface PeerDocument {
  podSelector?: LabelSelectorDocument;
  namespaceSelector?: LabelSelectorDocument;
  ipBlock?: IPBlockDocument;
}
/**
 * A port or a range of ports.
 */
export interface KubernetesPolicyPortDocument {
  /**
   * Default: TCP.
   */
  protocol?: "TCP" | "UDP" | "SCTP";
  /**
   * Port number, or the name of a port of the selected workloads. Default: every port of the protocol.
   */
  port?: number | string;
  endPort?: PortNumber;
}
/**
 * One egress rule: allows any of the peers on any of the ports.
 */
export interface KubernetesEgressRuleDocument {
  /**
   * Allowed destinations. Default, also for an empty list: every peer.
   */
  to?: PeerDocument[];
  /**
   * The ports. Default, also for an empty list: every protocol and every port.
   */
  ports?: KubernetesPolicyPortDocument[];
}
/**
 * A named set of addresses, which rules of ztap/v1 name as a peer.
 */
export interface NetworkSetDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `NetworkSet`.
   */
  kind: "NetworkSet";
  metadata: ClusterMetadataDocument;
  spec: NetworkSetSpecDocument;
}
/**
 * The addresses: all of `cidrs` and of `file`, without those of `except`. At least one of `cidrs` and `file`.
 */
export interface NetworkSetSpecDocument {
  /**
   * CIDRs without host bits; they may overlap. An IPv4 block in IPv6 form is the IPv4 block.
   */
  cidrs?: string[];
  /**
   * CIDRs that do not belong to the set; they need not lie inside its other blocks.
   */
  except?: string[];
  /**
   * A file with further CIDRs, one a line; what follows `#` is a comment. Its path is relative to the folder of this manifest; it lies below the source path and its name ends in `.cidrs`.
   */
  file?: string;
}
/**
 * Connections that must be allowed, and connections that must never be, whatever the policies say: a state that breaks a test is refused, with a counter-example.
 */
export interface ConnectivityTestDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `ConnectivityTest`.
   */
  kind: "ConnectivityTest";
  metadata: NamespacedMetadataDocument;
  spec: ConnectivityTestSpecDocument;
}
/**
 * At least one expectation.
 */
export interface ConnectivityTestSpecDocument {
  /**
   * Connections that must all be allowed.
   */
  allow?: ExpectationDocument[];
  /**
   * Connections of which none may be allowed.
   */
  deny?: ExpectationDocument[];
}
/**
 * All connections from any of `from` to any of `to` on any of the ports.
 */
export interface ExpectationDocument {
  from?: ZtapPeers;
  to?: ZtapPeers;
  /**
   * The ports. Default, also for an empty list: every protocol and every port. A name means the port of that name of each workload in `to`.
   */
  ports?: ZtapPolicyPortDocument[];
}
/**
 * Settings of the whole state. There is at most one, named `cluster`.
 */
export interface ClusterDocument {
  /**
   * Always `ztap/v1`.
   */
  apiVersion: "ztap/v1";
  /**
   * Always `Cluster`.
   */
  kind: "Cluster";
  metadata: ClusterObjectMetadataDocument;
  /**
   * Settings of the whole state.
   */
  spec?: {
    /**
     * Mode of policies without one, in Namespaces without one. Default: enforce.
     */
    mode?: "enforce" | "audit";
    /**
     * How a sender is known where several workloads have one address. `address`: by its address alone. `source`: its own node, which knows it, asks the policies of the destination as well. `syn`: in addition it proves its identity in each TCP SYN between nodes. Default: source.
     */
    identity?: "address" | "source" | "syn";
    /**
     * Whether cgroups that a pattern matches, and on nodes of containers those that look like a container's, are closed until the agent has identified them. Default: closed.
     */
    newborn?: "closed" | "open";
    /**
     * How a new revision reaches the nodes.
     */
    rollout?: {
      confirm?: ConfirmTime;
      shadow?: RolloutTime;
      /**
       * The waves in which a new revision reaches the nodes. After the last one, all nodes that are left follow as one more wave. A change of the waves counts for the revisions after it. Default: all nodes at once.
       */
      waves?: WaveDocument[];
      /**
       * The rollout fails where there is more of it.
       */
      gates?: {
        newDenials?: GateLimit;
        stalled?: GateLimit;
        drift?: GateLimit;
        unconfirmed?: GateLimit;
      };
      /**
       * What a failed gate does. `revert`: all nodes return to the last revision that every node had. `pause`: the nodes that have the revision keep it. Default: revert.
       */
      onFailure?: "revert" | "pause";
      /**
       * Times of each week in which no wave begins.
       */
      freeze?: FreezeWindowDocument[];
    };
  };
}
/**
 * Identity of the one Cluster object.
 */
export interface ClusterObjectMetadataDocument {
  /**
   * Always `cluster`.
   */
  name: "cluster";
  labels?: LabelMap;
  annotations?: AnnotationMap;
}
/**
 * Nodes that get the revision together.
 */
export interface WaveDocument {
  nodes?: LabelSelectorDocument;
  max?: WaveMax;
  soak?: RolloutTime;
}
/**
 * A part of each week.
 */
export interface FreezeWindowDocument {
  from: WeekTime;
  to: WeekTime;
  /**
   * Time zone of the IANA database: `Europe/Berlin`, `UTC`.
   */
  timezone: string;
}
/**
 * A number with its unit: 500ms, 10s, 5m, 1h.
 */
export type Duration = string;

/**
 * A configuration file of ztap. A flag overrides a variable, a variable overrides a file.
 */
export interface ConfigDocument {
  /**
   * Folder for the mirror of the source and other local state. Default: /var/lib/ztap for root, else ztap in $XDG_STATE_HOME or ~/.local/state.
   */
  stateDir?: string;
  /**
   * file:PATH, a path that begins with /, ./ or ../, etcd://HOST:PORT,HOST:PORT/PREFIX, etcds://… (TLS) or memory:. Default: the state folder.
   */
  store?: string;
  /**
   * Lowest severity that is logged to stderr.
   */
  logLevel?: "debug" | "info" | "warn" | "error";
  /**
   * How logs are written to stderr; auto: text on a terminal, else one JSON document a line.
   */
  logFormat?: "auto" | "text" | "json";
  /**
   * Name of this node. Default: the host name up to its first dot.
   */
  node?: string;
  /**
   * host:port where other members reach this node. Default: the node's name with the port of listen, or 9470.
   */
  address?: string;
  /**
   * auto, ebpf, pf or none: auto is eBPF on Linux and pf on macOS; none reports but enforces nothing, and is never selected automatically.
   */
  backend?: "auto" | "ebpf" | "pf" | "none";
  /**
   * host:port of /metrics, /healthz and /readyz; off for none.
   */
  listen?: string;
  checkInterval?: Duration;
  heartbeatInterval?: Duration;
  electionTimeout?: Duration;
  sessionTtl?: Duration;
  /**
   * Number of newest revisions to keep, whatever their age.
   */
  keepRevisions?: number;
  keepFor?: Duration;
  /**
   * Folder on a BPF file system for pinned programs and maps.
   */
  pinRoot?: string;
  /**
   * Let the agent enforce, and as the leader commit, policies that cut off agents or SSH sessions: see docs/operations.md.
   */
  allowLockout?: boolean;
  /**
   * Where a Git host tells this agent that something was pushed, so that the leader polls at once: see docs/notifications.md.
   */
  pollHook?: {
    /**
     * host:port of the endpoint; off for none.
     */
    listen?: string;
    /**
     * Absolute path of a file that contains only the secret of the webhook; nobody but its owner may read it. Default: none.
     */
    secretFile?: string;
  };
  /**
   * Who is told what became of a commit, as a list of receivers (in the variable: as JSON): see docs/notifications.md. Default: nobody.
   */
  notify?: NotificationReceiver[];
  /**
   * Container runtimes of this machine that the agent asks for the containers of workloads, by their API sockets.
   */
  containers?: {
    /**
     * Absolute path of Docker's API socket; off for none.
     */
    docker?: string;
    /**
     * Absolute path of podman's API socket; off for none.
     */
    podman?: string;
    /**
     * Absolute path of the CRI socket of containerd or CRI-O; off for none.
     */
    cri?: string;
  };
  /**
   * Authentication with etcd, in both directions.
   */
  etcd?: {
    /**
     * PEM file of the authorities of etcd's certificates. Default: the system's.
     */
    ca?: string;
    /**
     * PEM file of the client certificate. Default: none.
     */
    cert?: string;
    /**
     * PEM file of its private key. Default: none.
     */
    key?: string;
    /**
     * User name, if etcd requires a password. Default: none.
     */
    user?: string;
    /**
     * File that contains only the password. Default: none.
     */
    passwordFile?: string;
  };
  /**
   * The Git repository that owns the desired state; the leader polls it.
   */
  source?: {
    /**
     * URL or local path of the Git repository to poll. Default: none.
     */
    url: string;
    /**
     * Branch of the source to follow. Default: the remote's HEAD.
     */
    branch?: string;
    /**
     * Folder within the source. Default: its root.
     */
    path?: string;
    interval?: Duration;
    /**
     * Whether the next poll reverts an operator's override to Git's state.
     */
    selfHeal?: boolean;
    /**
     * A commit that deletes a larger share of the policies, or of all objects, is held until an operator confirms it.
     */
    maxDeletePercent?: number;
    /**
     * Allowed signers; every commit needs a signature of one of them: see docs/security.md.
     */
    verify?: {
      /**
       * Absolute path of a file of allowed SSH keys, as `ssh-keygen -Y verify` reads it. Default: none.
       */
      sshSigners?: string;
      /**
       * Absolute path of a file of allowed OpenPGP public keys. Default: none.
       */
      openpgpKeys?: string;
      /**
       * Full id of a commit: it and its ancestors need no signature, and a commit that is no descendant of it is refused. Default: the first commit that is accepted.
       */
      since?: string;
    };
  };
}
/**
 * One receiver of notifications.
 */
export interface NotificationReceiver {
  /**
   * github, gitlab and gitea (also Forgejo) get commit statuses; webhook gets signed JSON; slack gets messages of an incoming webhook, as Mattermost and others understand them too.
   */
  type: "github" | "gitlab" | "gitea" | "webhook" | "slack";
  /**
   * How status and logs name it. Default: its type.
   */
  name?: string;
  /**
   * Base URL of the Git host, or URL of the webhook. Default: https://api.github.com, https://gitlab.com.
   */
  url?: string;
  /**
   * Absolute path of a file that contains only the URL, where the URL is itself a secret: needed for slack.
   */
  urlFile?: string;
  /**
   * owner/name; for gitlab the path of the project or its number.
   */
  repository?: string;
  /**
   * Absolute path of a file that contains only the token of the Git host.
   */
  tokenFile?: string;
  /**
   * Absolute path of a file that contains only the secret with which a webhook's events are signed.
   */
  secretFile?: string;
  /**
   * PEM file of the authorities of its certificate. Default: the system's.
   */
  caFile?: string;
  /**
   * Name of the commit status. Default: ztap, with /PATH if the source has a path.
   */
  context?: string;
  /**
   * The states that it is told. Default: all.
   *
   * @minItems 1
   */
  events?: [
    "accepted" | "rejected" | "held" | "enforced" | "stalled" | "reverted",
    ...("accepted" | "rejected" | "held" | "enforced" | "stalled" | "reverted")[]
  ];
  /**
   * Allow http to another host than this one. Default: false.
   */
  allowInsecure?: boolean;
}
/**
 * An IP address, or a mapping.
 */
export type BootstrapMember =
  | string
  | {
      /**
       * IP address or DNS name at which nodes and the other members reach it.
       */
      address: string;
      /**
       * Further IP addresses or DNS names of its host, for its certificates: those from which it reaches other members, and those at which clients reach it.
       */
      otherAddresses?: string[];
      /**
       * The IP address to listen on. Default: all IP addresses among address and otherAddresses; needed where there is none.
       */
      listen?: string;
      /**
       * The port for clients.
       */
      clientPort?: number;
      /**
       * The port for the other members.
       */
      peerPort?: number;
    };
/**
 * The name of a certificate: lower-case letters, digits and '-', beginning and ending with a letter or digit, at most 63 characters.
 */
export type BearerName = string;
/**
 * Parts of letters, digits, '.', '_' and '-', with '/' between them.
 */
export type StorePrefix = string;

/**
 * cluster.yaml of `ztap cluster bootstrap`: the members of etcd, the nodes and the operators of a cluster.
 */
export interface BootstrapDocument {
  /**
   * etcd's members by name: an address, or a mapping.
   */
  members?: {
    [k: string]: BootstrapMember;
  };
  /**
   * Nodes whose keys are made in the folder of the authority.
   */
  nodes?: BearerName[];
  /**
   * Nodes that make their own keys, and enroll with a token.
   */
  enrolled?: BearerName[];
  /**
   * The nodes that may lead.
   */
  leaders?: BearerName[];
  /**
   * People who apply, and register nodes.
   */
  operators?: BearerName[];
  prefix?: StorePrefix;
}
