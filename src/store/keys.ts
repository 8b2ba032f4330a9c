/**
 * Keys of the store, below its prefix. Every adapter that keeps text under keys uses this layout:
 *
 *     format                            which layout this is
 *     objects/<digest>                  one canonical object; immutable, content-addressed
 *     revisions/<number, 20 digits>     manifest of one revision
 *     head                              number of the revision in force
 *     policies/<namespace>/<name>       last version ever used; survives deletion
 *     members/<id>  live/<id>  status/<id>
 *     seen/<id>                         etcd: when a node was last known to live; outlives live/<id>
 *     parts/…                           etcd: pieces of values that are longer than a request may be
 *     pruned                            etcd: rises with every removal of objects
 *     election                          leadership
 *     source                            what the leader last found at the source
 *     suspension  approval              what operators told the leaders
 *     signals                           counters that tell a watcher what changed
 */

/** A part of a key that comes from outside. @throws RangeError where it would reach into another key. */
function segment(text: string): string {
  if (text === "" || text.length > 500 || /[/\0]/.test(text)) {
    throw new RangeError(
      `${JSON.stringify(text.slice(0, 80))} cannot be part of a store key: 1 to 500 characters without "/" are allowed`,
    );
  }
  return text;
}

export const keys = {
  format: "format",
  head: "head",
  election: "election",
  source: "source",
  suspension: "suspension",
  approval: "approval",
  signals: "signals",
  object: (digest: string) => `objects/${segment(digest)}`,
  revision: (number: number) => `revisions/${String(number).padStart(20, "0")}`,
  policy: (namespace: string, name: string) => `policies/${segment(namespace)}/${segment(name)}`,
  member: (id: string) => `members/${segment(id)}`,
  live: (id: string) => `live/${segment(id)}`,
  status: (id: string) => `status/${segment(id)}`,
} as const;

export const prefixes = {
  objects: "objects/",
  revisions: "revisions/",
  members: "members/",
  live: "live/",
  seen: "seen/",
  status: "status/",
} as const;

/** The layout's name and version, as stored under `format`. */
export const STORE_FORMAT = "ztap-store/1";
