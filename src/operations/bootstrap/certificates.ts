/** Which certificates a cluster needs, and where the authority's folder holds them. Pure. */
import type { WantedCertificate } from "../../interfaces/authority.js";
import type { ClusterFile } from "./cluster-file.js";
import { ENROLMENT_NAME, ROOT } from "./names.js";

/** Signs what clients and servers of etcd show one another. */
export const CLIENT_AUTHORITY = "authority/ca";
/** Signs what members show one another alone: a node's certificate makes nobody a member. */
export const PEER_AUTHORITY = "authority/peer-ca";
/** The certificate with which enrolment is served; tokens name its key. */
export const ENROLMENT = "authority/enrolment";
/** Paths are below the authority's folder. */
export const rootPath = "operators/root/operator";

export function nodePath(node: string): string {
  return `nodes/${node}/node`;
}

/** Every address of the host: none that a peer connects to. */
const UNSPECIFIED = ["0.0.0.0", "::"];

/** In the order in which they are made: authorities first. */
export function wantedCertificates(file: ClusterFile): readonly WantedCertificate[] {
  const client = { issuer: CLIENT_AUTHORITY, isKeyElsewhere: false };
  return [
    authority(CLIENT_AUTHORITY, "ztap-etcd-ca"),
    authority(PEER_AUTHORITY, "ztap-etcd-peer-ca"),
    wantedOfEnrolment(),
    ...file.members.flatMap(({ name, address, otherAddresses, listen }) => {
      // A member also checks the address from which another one connects to it against the other's certificate.
      const addresses = [address, ...otherAddresses, ...listen.filter((one) => !UNSPECIFIED.includes(one))];
      const profile = { commonName: name, hosts: [...new Set([name, ...addresses])] };
      return [
        { ...client, path: `members/${name}/member`, profile },
        { ...client, path: `members/${name}/peer`, profile, issuer: PEER_AUTHORITY },
      ];
    }),
    ...file.nodes.map((name) => wantedOfNode(name, false)),
    ...file.enrolled.map((name) => wantedOfNode(name, true)),
    ...[ROOT, ...file.operators].map((name) => ({
      ...client,
      path: `operators/${name}/operator`,
      profile: { commonName: name, hosts: [] },
    })),
  ];
}

/** The certificate with which enrolment is served. */
export function wantedOfEnrolment(): WantedCertificate {
  const profile = { commonName: ENROLMENT_NAME, hosts: [ENROLMENT_NAME] };
  return { issuer: CLIENT_AUTHORITY, isKeyElsewhere: false, path: ENROLMENT, profile };
}

/** Whether an issued file is of that authority: its certificate, a copy of its own, or a token for one. */
export function isOfAuthority(issued: string, authority: string): boolean {
  return (authority === PEER_AUTHORITY) === /^members\/[^/]+\/peer(-ca)?\.crt$/.test(issued);
}

/** The certificate of a node. */
export function wantedOfNode(name: string, isKeyElsewhere: boolean): WantedCertificate {
  return { issuer: CLIENT_AUTHORITY, isKeyElsewhere, path: nodePath(name), profile: { commonName: name, hosts: [] } };
}

/** Files of the folder that are copies of an authority's certificate: each receiver gets a folder that is complete. */
export function authorityCopies(file: ClusterFile): readonly { readonly path: string; readonly of: string }[] {
  const holders = [
    ...file.members.map(({ name }) => `members/${name}`),
    ...[...file.nodes, ...file.enrolled].map((name) => `nodes/${name}`),
    ...[ROOT, ...file.operators].map((name) => `operators/${name}`),
  ];
  return [
    ...holders.map((holder) => ({ path: `${holder}/ca.crt`, of: `${CLIENT_AUTHORITY}.crt` })),
    ...file.members.map(({ name }) => ({ path: `members/${name}/peer-ca.crt`, of: `${PEER_AUTHORITY}.crt` })),
  ];
}

function authority(path: string, commonName: string): WantedCertificate {
  return { path, profile: { commonName, hosts: [] }, issuer: null, isKeyElsewhere: false };
}
