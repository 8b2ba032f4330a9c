/** Certificates that will expire soon, in words. */
import { RENEW_BEFORE_MS, type CertificateExpiry } from "../../model/certificate.js";

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
