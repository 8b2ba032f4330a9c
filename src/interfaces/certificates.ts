/** The certificates with which an agent reaches its store, in files that may change while it runs. */
import type { CertificateExpiry } from "../model/certificate.js";

/**
 * `unchanged`: the files are those in use. `renewed`: other files are in use from now on. `refused`: the files changed, but
 * those before stay in use, for the reason given.
 */
export type Renewal =
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "renewed" }
  | { readonly outcome: "refused"; readonly problem: string };

export interface StoreCertificates {
  /** Looks at the files, and uses them if they are others, of one piece, and accepted by the store. */
  renew(): Promise<Renewal>;
  /** The certificates in use. */
  list(): readonly CertificateExpiry[];
}
