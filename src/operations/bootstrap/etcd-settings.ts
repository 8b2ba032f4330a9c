/** The settings of etcd's members, and the URL of the store that they are. Pure. */
import { isIP } from "node:net";
import type { ClusterFile, EtcdMember } from "./cluster-file.js";

/** Where a member's own files are on its host. */
export const MEMBER_FOLDER = "/etc/etcd/ztap";

/** The settings of one member, as environment variables: `/etc/default/etcd` on Debian. */
export function etcdSettings(file: ClusterFile, member: EtcdMember): string {
  const peers = file.members.map((one) => `${one.name}=${peerUrl(one)}`).join(",");
  return `# Settings of the etcd member ${member.name}, written by \`ztap cluster bootstrap\`.
ETCD_NAME=${member.name}
ETCD_DATA_DIR=/var/lib/etcd/ztap
ETCD_LISTEN_CLIENT_URLS=${member.listen.map((address) => clientUrl({ ...member, address })).join(",")}
ETCD_ADVERTISE_CLIENT_URLS=${clientUrl(member)}
ETCD_LISTEN_PEER_URLS=${peerListen(member)
    .map((address) => peerUrl({ ...member, address }))
    .join(",")}
ETCD_INITIAL_ADVERTISE_PEER_URLS=${peerUrl(member)}
ETCD_INITIAL_CLUSTER=${peers}
ETCD_INITIAL_CLUSTER_TOKEN=${file.prefix.replaceAll("/", "-")}
ETCD_CERT_FILE=${MEMBER_FOLDER}/member.crt
ETCD_KEY_FILE=${MEMBER_FOLDER}/member.key
ETCD_TRUSTED_CA_FILE=${MEMBER_FOLDER}/ca.crt
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=${MEMBER_FOLDER}/peer.crt
ETCD_PEER_KEY_FILE=${MEMBER_FOLDER}/peer.key
ETCD_PEER_TRUSTED_CA_FILE=${MEMBER_FOLDER}/peer-ca.crt
ETCD_PEER_CLIENT_CERT_AUTH=true
ETCD_AUTO_COMPACTION_MODE=periodic
ETCD_AUTO_COMPACTION_RETENTION=1h
ETCD_QUOTA_BACKEND_BYTES=2147483648
`;
}

/** The store's URL, for the settings of every node. */
export function storeUrl({ members, prefix }: Pick<ClusterFile, "members" | "prefix">): string {
  return `etcds://${clientEndpoints(members).join(",")}/${prefix}`;
}

/** `host:port` of each member. */
export function clientEndpoints(members: readonly EtcdMember[]): readonly string[] {
  return members.map(({ address, clientPort }) => `${bracketed(address)}:${clientPort}`);
}

/** No member reaches another one's loopback, except where all are on one machine. */
function peerListen({ listen }: EtcdMember): readonly string[] {
  const reachable = listen.filter((address) => !/^(127\.|::1$)/.test(address));
  return reachable.length > 0 ? reachable : listen;
}

function clientUrl({ address, clientPort }: Pick<EtcdMember, "address" | "clientPort">): string {
  return `https://${bracketed(address)}:${clientPort}`;
}

function peerUrl({ address, peerPort }: Pick<EtcdMember, "address" | "peerPort">): string {
  return `https://${bracketed(address)}:${peerPort}`;
}

function bracketed(address: string): string {
  return isIP(address) === 6 ? `[${address}]` : address;
}
