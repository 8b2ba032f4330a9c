/** Certificates of the cluster: what is issued, and when those in use expire. */

/** What a certificate is for. */
export interface CertificateProfile {
  /** The subject's common name: etcd's name of the user. */
  readonly commonName: string;
  /** The names and addresses of a server; none for a certificate of a client alone. */
  readonly hosts: readonly string[];
}

/** A certificate in use, for `doctor`, `cluster status` and metrics. */
export interface CertificateExpiry {
  /** The setting that names its file. */
  readonly setting: "etcd.ca" | "etcd.cert";
  readonly file: string;
  /** Of the file's first certificate; the others are its authorities'. */
  readonly commonName: string;
  /** RFC 3339. */
  readonly expiresAt: string;
}

/** From this time before its end on, a certificate is renewed, and reported. */
export const RENEW_BEFORE_MS = 30 * 24 * 3_600_000;
