/**
 * Enrolment: a node gets a certificate for a key of its own, with a token that is good for one key. Renewal: it gets the
 * next one with the certificate that it has.
 */

/** What a node sends. Nothing of it is trusted. */
export interface EnrolmentRequest {
  /** Identifies the token; no secret. */
  readonly id: string;
  readonly secret: string;
  readonly node: string;
  /** PKCS #10, in PEM. */
  readonly request: string;
}

/** What a node sends for its next certificate. Nothing of it is trusted. */
export interface RenewalRequest {
  readonly node: string;
  /** PKCS #10, in PEM. */
  readonly request: string;
}

/** A certificate whose key the peer has proved to have. */
export interface ShownCertificate {
  /** PEM. */
  readonly certificate: string;
  /** Why TLS does not trust it, as its code; null if it does. */
  readonly distrust: string | null;
}

/** One request that reached the authority. */
export interface EnrolmentCall {
  readonly kind: "enroll" | "renew";
  /** Whatever was sent. */
  readonly body: unknown;
  /** The peer's address. */
  readonly from: string;
  /** Null: the peer showed none. */
  readonly shown: ShownCertificate | null;
}

export interface EnrolmentReply {
  readonly status: 200 | 400 | 403 | 500;
  readonly body: object;
}

/** What a client's certificate says, once it is known to be good; else why it is not. */
export type ClientCertificate =
  { readonly problem: null; readonly commonName: string; readonly publicKey: string } | { readonly problem: string };

export interface EnrolmentAnswer {
  readonly certificate: string;
  /** The certificate of the authority. */
  readonly authority: string;
  /** URL of the store. */
  readonly store: string;
  /** What is still to be done on the authority's host; null for nothing. */
  readonly warning: string | null;
}

/** A token as the authority knows it: without its secret. */
export interface IssuedToken {
  readonly id: string;
  readonly node: string;
  readonly expiresAt: string;
  /** Whether a newer token for the same node has taken its place. */
  readonly isVoid: boolean;
  /** What it was used for; null: it was not used yet. */
  readonly use: TokenUse | null;
}

export interface TokenUse {
  /** SHA-256 of the public key; null: unknown, so that it is nobody's. */
  readonly publicKey: string | null;
  /** What was issued for it; null if the authority died in between. */
  readonly certificate: string | null;
}

export interface EnrolmentTokens {
  /** Makes a token, and makes earlier ones for that node void. Its secret is returned and not kept. */
  create(node: string, expiresAt: string): { readonly id: string; readonly secret: string };
  /** Finds the token; null if there is none of this id with this secret. Takes the same time for each secret. */
  find(id: string, secret: string): IssuedToken | null;
  /**
   * Marks the token as used for a public key, for good, before anything is issued for it.
   * @param publicKey SHA-256
   * @returns false if it is used for another key
   */
  use(id: string, publicKey: string): boolean;
  /** Keeps what was issued for a used token, so that the bearer of its key can have it again. */
  keep(id: string, certificate: string): void;
}
