/**
 * Issues certificates and requests for them, with @peculiar/x509 on WebCrypto: ECDSA on P-256 with SHA-256. What is read
 * back for checks is read by Node.js itself (certificate-pair.ts), so that no certificate is trusted on the word of the
 * code that made it.
 */
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  PemConverter,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  type Extension,
  type JsonGeneralNames,
} from "@peculiar/x509";
import { createPrivateKey, createPublicKey, randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import type { CertificateProfile } from "../../model/certificate.js";

const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
/** A clock that is behind by less accepts a certificate at once. */
export const CLOCK_SKEW_MS = 5 * 60_000;

export interface Validity {
  readonly nowMs: number;
  readonly validForMs: number;
}

export interface Issuer {
  readonly certificate: string;
  readonly privateKey: string;
}

/** Returns a new private key, as PKCS #8 in PEM. */
export async function generateKey(): Promise<string> {
  const { privateKey } = await webcrypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const bytes = await webcrypto.subtle.exportKey("pkcs8", privateKey);
  return `${PemConverter.encode(bytes, PemConverter.PrivateKeyTag)}\n`;
}

/** Returns a self-signed certificate of an authority, which signs certificates of no other authorities. */
export async function issueAuthority(privateKey: string, commonName: string, validity: Validity): Promise<string> {
  const publicKey = publicKeyOf(privateKey);
  const name = [{ CN: [commonName] }];
  const certificate = await X509CertificateGenerator.create({
    ...common(validity),
    subject: name,
    issuer: name,
    publicKey,
    signingKey: await importPrivate(privateKey),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
    ],
  });
  return toText(certificate);
}

/** Returns a certificate for a public key (SPKI in PEM). It is a client's, and with hosts a server's too. */
export async function issueCertificate(
  publicKey: string,
  { commonName, hosts }: CertificateProfile,
  issuer: Issuer,
  validity: Validity,
): Promise<string> {
  const authority = new X509Certificate(issuer.certificate);
  const key = new PublicKey(PemConverter.decodeFirst(publicKey));
  const usages = [...(hosts.length > 0 ? [ExtendedKeyUsage.serverAuth] : []), ExtendedKeyUsage.clientAuth];
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension(usages, false),
    await SubjectKeyIdentifierExtension.create(key, false, webcrypto),
    await AuthorityKeyIdentifierExtension.create(authority.publicKey, false, webcrypto),
    ...(hosts.length > 0 ? [new SubjectAlternativeNameExtension(toGeneralNames(hosts), false)] : []),
  ];
  const certificate = await X509CertificateGenerator.create({
    ...common(validity),
    subject: [{ CN: [commonName] }],
    issuer: authority.subjectName.toJSON(),
    publicKey: key,
    signingKey: await importPrivate(issuer.privateKey),
    extensions,
  });
  return toText(certificate);
}

/** Returns a request for a certificate, as PKCS #10 in PEM. */
export async function createRequest(privateKey: string, commonName: string): Promise<string> {
  const keys = { privateKey: await importPrivate(privateKey), publicKey: await importPublic(publicKeyPem(privateKey)) };
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: SIGNING,
  });
  return `${request.toString("pem")}\n`;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** SPKI in PEM. */
  readonly publicKey: string;
}

/**
 * Reads a request that somebody else has made. Its extensions are not read: the authority decides what a certificate is
 * for.
 * @returns null if it is none, its key is not on P-256, it is not signed by its key, or its subject is more than one name
 */
export async function readRequest(text: string): Promise<CertificateRequest | null> {
  try {
    const request = new Pkcs10CertificateRequest(text);
    const publicKey = createPublicKey(request.publicKey.toString("pem"));
    const { asymmetricKeyType, asymmetricKeyDetails } = publicKey;
    if (asymmetricKeyType !== "ec" || asymmetricKeyDetails?.namedCurve !== "prime256v1") return null;
    if (!(await request.verify(webcrypto))) return null;
    const subject = request.subjectName.toJSON();
    const [commonName, ...others] = subject.flatMap((part) => Object.entries(part));
    if (commonName?.[0] !== "CN" || commonName[1].length !== 1 || others.length > 0) return null;
    return {
      commonName: commonName[1][0] ?? "",
      publicKey: publicKey.export({ type: "spki", format: "pem" }).toString(),
    };
  } catch {
    return null;
  }
}

/** Returns the public key of a private one, as SPKI in PEM. */
export function publicKeyPem(privateKey: string): string {
  return createPublicKey(createPrivateKey(privateKey)).export({ type: "spki", format: "pem" }).toString();
}

function publicKeyOf(privateKey: string): PublicKey {
  return new PublicKey(PemConverter.decodeFirst(publicKeyPem(privateKey)));
}

function importPrivate(privateKey: string): Promise<webcrypto.CryptoKey> {
  const bytes = createPrivateKey(privateKey).export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", bytes, CURVE, false, ["sign"]);
}

function importPublic(publicKey: string): Promise<webcrypto.CryptoKey> {
  const bytes = createPublicKey(publicKey).export({ type: "spki", format: "der" });
  return webcrypto.subtle.importKey("spki", bytes, CURVE, true, ["verify"]);
}

function common({ nowMs, validForMs }: Validity) {
  return {
    // Positive, and 20 bytes at most (RFC 5280, 4.1.2.2).
    serialNumber: `4${randomBytes(16).toString("hex").slice(1)}`,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + validForMs),
    signingAlgorithm: SIGNING,
  };
}

function toGeneralNames(hosts: readonly string[]): JsonGeneralNames {
  return hosts.map((host) =>
    isIP(host) === 0 ? { type: "dns", value: host } : { type: "ip", value: withoutDots(host) },
  );
}

/** IPv6 in hexadecimal digits alone: the package reads those of a dotted end as such. */
function withoutDots(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]/`).hostname.slice(1, -1) : address;
}

function toText(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
