/** The key pair of a node: X25519. The private key never leaves the node. */
export interface NodeKey {
  /** 32 bytes, in base64url without padding. */
  readonly publicKey: string;
  /**
   * Returns the secret that this node shares with the owner of a public key: 32 bytes; null if the text is no public key
   * that can be used.
   */
  agree(publicKey: string): Buffer | null;
}
