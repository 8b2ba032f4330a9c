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
  readonly commonName: string;
  /** RFC 3339. */
  readonly expiresAt: string;
}

/** From this time before its end on, a certificate is renewed, and reported. */
export const RENEW_BEFORE_MS = 30 * 24 * 3_600_000;

/** Returns the certificates that have expired or soon will, one sentence for each. */
export function describeExpiries(certificates: readonly CertificateExpiry[], nowMs: number): readonly string[] {
  return certificates.flatMap(({ setting, file, expiresAt }) => {
    const leftMs = Date.parse(expiresAt) - nowMs;
    if (leftMs > RENEW_BEFORE_MS) return [];
    const when = leftMs <= 0 ? `expired at ${expiresAt}` : `expires in ${describeDays(leftMs)}, at ${expiresAt}`;
    return [`the certificate ${file} (${setting}) ${when}; renew it, no restart is needed`];
  });
}

function describeDays(ms: number): string {
  const days = Math.floor(ms / (24 * 3_600_000));
  if (days === 0) return "less than a day";
  return days === 1 ? "1 day" : `${days} days`;
}
