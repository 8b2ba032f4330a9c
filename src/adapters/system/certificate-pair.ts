/** Checks certificates in PEM with the reader of Node.js itself: pairs of certificate and key, chains, and their ends. */
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import type { ClientCertificate } from "../../interfaces/enrolment.js";

export interface CertificatePair {
  readonly certificate: string;
  readonly privateKey: string;
}

/** clientAuth (RFC 5280, 4.2.1.12). */
const CLIENT_USAGE = "1.3.6.1.5.5.7.3.2";
const ANY_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Returns all certificates of a text; null if it has none, or one of them cannot be read. */
export function readCertificates(text: string): readonly X509Certificate[] | null {
  try {
    const found = (text.match(ANY_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
    return found.length === 0 || found.length !== text.split("-----BEGIN CERTIFICATE-----").length - 1 ? null : found;
  } catch {
    return null;
  }
}

/** Returns the private key; null if the text is none. */
export function readPrivateKey(text: string): KeyObject | null {
  try {
    return createPrivateKey(text);
  } catch {
    return null;
  }
}

/**
 * Returns why a client cannot use the pair at that time, in one phrase; null if it can.
 * @param authorities the certificates of the authorities that it is checked against; null: it is not
 */
export function problemOfPair(
  { certificate, privateKey }: CertificatePair,
  authorities: string | null,
  nowMs: number,
): string | null {
  const [own] = readCertificates(certificate) ?? [];
  if (own === undefined) return "the certificate cannot be read";
  const key = readPrivateKey(privateKey);
  if (key === null) return "the key cannot be read";
  if (!own.checkPrivateKey(key)) return "the certificate is not for the key";
  if (own.validToDate.getTime() <= nowMs) return `the certificate expired at ${own.validToDate.toISOString()}`;
  if (own.validFromDate.getTime() > nowMs) return `the certificate is valid from ${own.validFromDate.toISOString()} on`;
  if (authorities === null) return null;
  const known = readCertificates(authorities);
  if (known === null) return "the authority's certificate cannot be read";
  return [...known, ...(readCertificates(certificate) ?? []).slice(1)].some((one) => isIssuedBy(own, one))
    ? null
    : "the certificate is not issued by the authority";
}

/** Returns what the certificate of a client says, or why it is not accepted at that time. A server's is not. */
export function examineClient(certificate: string, authority: string, nowMs: number): ClientCertificate {
  const [[own], [issuer]] = [readCertificates(certificate) ?? [], readCertificates(authority) ?? []];
  if (own === undefined || issuer === undefined) return { problem: "it cannot be read" };
  if (!isIssuedBy(own, issuer)) return { problem: "it is not issued by this authority" };
  if (own.validToDate.getTime() <= nowMs) return { problem: `it expired at ${own.validToDate.toISOString()}` };
  if (own.validFromDate.getTime() > nowMs) return { problem: `it is valid from ${own.validFromDate.toISOString()} on` };
  const isClientAlone = String(own.keyUsage) === CLIENT_USAGE && own.subjectAltName === undefined && !own.ca;
  if (!isClientAlone) return { problem: "it is not a client's" };
  const publicKey = own.publicKey.export({ type: "spki", format: "pem" }).toString();
  return { problem: null, commonName: commonNameOf(own), publicKey };
}

/** Returns whether a certificate names the other as its issuer, and has its signature. */
export function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

/** Returns the common name of a certificate's subject; empty if it has none. */
export function commonNameOf({ subject }: X509Certificate): string {
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? "";
}
