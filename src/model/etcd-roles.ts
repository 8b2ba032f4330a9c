/** Users and roles of etcd, as values. */

export interface KeyPermission {
  readonly access: "read" | "readwrite";
  /** The whole key. */
  readonly key: string;
  /** Whether it stands for all keys that begin with it. */
  readonly isPrefix: boolean;
}

export interface EtcdRole {
  readonly name: string;
  readonly permissions: readonly KeyPermission[];
}

export interface EtcdUser {
  readonly name: string;
  readonly roles: readonly string[];
}

/** What was made of the wanted users and roles. */
export interface AccessChanges {
  /** One phrase each. */
  readonly changes: readonly string[];
  /** Users that were made here for nodes and operators, are there still, and are not wanted. */
  readonly unlisted: readonly string[];
}

export interface EtcdAccess {
  readonly roles: readonly EtcdRole[];
  readonly users: readonly EtcdUser[];
}
