/** Enrolment: a node gets a certificate for a key of its own, with a token that is good once. */

/** What a node sends. Nothing of it is trusted. */
export interface EnrolmentRequest {
  /** Identifies the token; no secret. */
  readonly id: string;
  readonly secret: string;
  readonly node: string;
  /** PKCS #10, in PEM. */
  readonly request: string;
}

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
  readonly isUsed: boolean;
}

export interface EnrolmentTokens {
  /** Makes a token. Its secret is returned and not kept. */
  create(node: string, expiresAt: string): { readonly id: string; readonly secret: string };
  /** Finds the token; null if there is none of this id with this secret. Takes the same time whatever the secret is. */
  find(id: string, secret: string): IssuedToken | null;
  /**
   * Marks the token as used, for good, before anything is issued for it.
   * @returns false if it is used already
   */
  use(id: string): boolean;
}
