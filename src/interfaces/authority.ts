/** The authority of a cluster: the folder that holds its keys and certificates. */
import type { CertificateProfile } from "../model/certificate.js";

/** A certificate that the folder has to hold. */
export interface WantedCertificate {
  /** Path below the folder without its ending: the key is `.key`, the certificate `.crt`. */
  readonly path: string;
  readonly profile: CertificateProfile;
  /** Path of the authority, likewise; null: it is an authority itself. */
  readonly issuer: string | null;
  /** Whether its key was made elsewhere, and stays there. */
  readonly isKeyElsewhere: boolean;
}

export interface EnsuredFile {
  /** Path below the folder. */
  readonly path: string;
  /** `absent`: its key is made elsewhere, and no certificate was asked for yet. */
  readonly outcome: "made" | "renewed" | "kept" | "absent";
  /** Why it was renewed; null otherwise. */
  readonly reason: string | null;
}

/** The users of etcd that were made from the folder. Kept on the disk, each change at once. */
export interface MadeUsers {
  readonly names: readonly string[];
  add(name: string): void;
  remove(name: string): void;
}

export interface AuthorityFolder {
  /** Where it is, for messages. */
  readonly path: string;
  /**
   * Runs one change while no other one runs, in any process. Not within another one.
   * @throws OperationError `lost-race` if others change the folder all the time
   */
  exclusively<T>(change: () => Promise<T>): Promise<T>;
  /** Runs one change of etcd's users and roles while no other one runs, in any process. The folder may be changed meanwhile. */
  applying<T>(change: () => Promise<T>): Promise<T>;
  /** @returns null if there is no such file */
  read(path: string): string | null;
  /** Writes a file that the folder's files decide, as a whole. */
  write(path: string, text: string): EnsuredFile;
  /**
   * Makes the key if there is none, and the certificate if there is none, or if the one that is there cannot be used
   * any more or will expire soon. A key is never replaced.
   * @throws OperationError `bad-key` if a key cannot be read
   */
  ensure(wanted: WantedCertificate, validForMs: number): Promise<EnsuredFile>;
  /** Returns the public key (SPKI in PEM) of the certificate at a path; null if there is none. */
  publicKey(path: string): string | null;
  /** Returns for how long the certificate at a path was issued; null if there is none. */
  validForMs(path: string): number | null;
  /** Removes a file, if it is there. */
  remove(path: string): void;
  /** Returns the paths of the certificates of members, nodes and operators, and of tokens. */
  issued(): readonly string[];
  /** Issues a certificate for a public key (SPKI in PEM), and stores it in place of any other. */
  issue(wanted: WantedCertificate, publicKey: string, validForMs: number): Promise<string>;
}
