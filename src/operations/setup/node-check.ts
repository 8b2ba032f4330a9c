/** Checks whether the name of this machine's node is that of its certificate, and whether the policies declare it. */
import { NodeDescriptions } from "../../inventory/nodes.js";
import type { Store } from "../../interfaces/store.js";
import type { CertificateExpiry } from "../../model/certificate.js";
import type { Check } from "../../model/doctor.js";

/** `no-revision`: nothing is committed yet. `unknown`: the store cannot be read. */
export type Declaration = "declared" | "undeclared" | "no-revision" | "unknown";

/** Returns whether the head revision declares a node. A revision that describes no node belongs to one machine of any name. */
export async function readDeclaration(
  store: Pick<Store, "readHead" | "readState">,
  node: string,
): Promise<Declaration> {
  const head = await store.readHead();
  const state = head === null ? null : await store.readState(head);
  if (state === null) return "no-revision";
  const nodes = new NodeDescriptions(state.objects);
  return nodes.isEmpty || nodes.match(node) !== undefined ? "declared" : "undeclared";
}

/** @param node its name, and whether a setting gives it; else it is that of the host */
export function checkDeclaration(node: string, isNodeNamed: boolean, declaration: Declaration): readonly Check[] {
  const name = isNodeNamed ? node : `${node} (from the host name)`;
  switch (declaration) {
    case "no-revision":
      return [];
    case "declared":
      return [{ name: "node", state: "ok", detail: name, fix: null }];
    case "undeclared":
      return [
        {
          name: "node",
          state: "warning",
          detail: `${name}: no Node of this name is declared in the head revision, and no NodeGroup matches it, so that nothing is enforced here`,
          fix: "declare it in the policy repository (ztap setup --discover prints a Node), or name this machine as the policies do: ztap setup --node NAME",
        },
      ];
    case "unknown":
      return [
        {
          name: "node",
          state: "warning",
          detail: `${name}: whether the policies declare it is not known, since the store cannot be read`,
          fix: "mend the store first",
        },
      ];
  }
}

/**
 * Compares the certificate's name with the node's: etcd knows a node by the former, and its role is for that name alone.
 * @param certificates those in use; a user with a password is known by that user's name, so that there is nothing to compare
 */
export function checkCertificateName(
  node: string,
  certificates: readonly CertificateExpiry[],
  user: string | null,
): readonly Check[] {
  const own = certificates.find(({ setting }) => setting === "etcd.cert");
  if (own === undefined || user !== null) return [];
  const { file, commonName } = own;
  if (commonName === node)
    return [{ name: "node certificate", state: "ok", detail: `${file} is for ${node}`, fix: null }];
  return [
    {
      name: "node certificate",
      state: "warning",
      detail: `${file} is for ${commonName === "" ? "no name" : commonName}, and this node is ${node}: etcd will not let its agent write the records of ${node}`,
      fix: `name this machine as its certificate does (ztap setup --node ${commonName === "" ? "NAME" : commonName}), or get a certificate for ${node}: ztap cluster token, then ztap cluster enroll`,
    },
  ];
}
