/** Tokens, and what an enrolment gave. */
import type { MadeToken } from "../operations/bootstrap/enroll.js";
import { encodeToken } from "../operations/bootstrap/token.js";
import type { Style } from "./style.js";

interface EnrolledNode {
  readonly node: string;
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly store: string | null;
  readonly warning: string | null;
}

export function tokenDocument({ token, expiresAt }: MadeToken): object {
  const { node, address } = token;
  return { formatVersion: 1, node, address, expiresAt, token: encodeToken(token) };
}

/** The notes for people; the token alone is on standard output. */
export function renderToken({ token, expiresAt }: MadeToken, style: Style): string {
  return [
    style.line`Good once, for ${token.node} alone, until ${expiresAt}. On ${token.node}:`,
    style.line`  ztap cluster enroll     (it asks for the token; - reads it from standard input)`,
    style.line`while this host serves ${token.address}: ztap cluster authority DIR --listen ${token.address}`,
  ].join("\n");
}

export function enrolledDocument(enrolled: EnrolledNode): object {
  return { formatVersion: 1, ...enrolled };
}

interface RenewedNode {
  readonly node: string;
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly outcome: "renewed" | "kept" | "unchanged";
  readonly expiresAt: string;
}

export function renewedDocument(renewed: RenewedNode): object {
  return { formatVersion: 1, ...renewed };
}

export function renderRenewed({ node, files, outcome, expiresAt }: RenewedNode, style: Style): string {
  if (outcome === "kept")
    return style.line`${node} has a good certificate until ${expiresAt}: ${files.cert}. It was kept.`;
  return outcome === "unchanged"
    ? style.line`${style.warn("Not renewed")}: the authority kept the certificate of ${node} until ${expiresAt}; by its clock that is more than 30 days: compare the clocks of both hosts.`
    : style.line`${style.good("Renewed")}: ${node}, until ${expiresAt}: ${files.cert}`;
}

export function renderEnrolled({ node, files, store, warning }: EnrolledNode, style: Style): string {
  if (store === null) return style.line`${node} has a good certificate already: ${files.cert}. The token was not used.`;
  return [
    style.line`${style.good("Enrolled")}: ${node}. Its key was made here: ${files.key}`,
    ...(warning === null ? [] : [style.line`${style.warn(warning)}`]),
    "",
    "Settings of its agent:",
    style.line`  node: ${node}`,
    style.line`  store: ${store}`,
    style.line`  etcd: { ca: ${files.ca}, cert: ${files.cert}, key: ${files.key} }`,
  ].join("\n");
}
