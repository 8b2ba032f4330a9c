/**
 * Keys of the store, below its prefix. Every adapter that keeps text under keys uses this layout:
 *
 *     format                            the version of this layout
 *     objects/<digest>                  one canonical object; immutable, content-addressed
 *     revisions/<number, 20 digits>     manifest of one revision
 *     head                              number of the revision in force
 *     policies/<namespace>/<name>       last version ever used; survives deletion
 *     members/<id>  live/<id>  status/<id>  endpoints/<id>
 *     seen/<id>                         etcd: last time a node was known to live; outlives live/<id>
 *     parts/…                           etcd: parts of values that exceed the size of a request
 *     pruned                            etcd: rises with every removal of objects
 *     election                          leadership
 *     source                            the leader's last result at the source
 *     suspension  approval              source control of operators
 *     rollout                           which nodes enforce which revision, if not all enforce head
 *     poll                              the last request of a node to poll the source
 *     outbox                            what receivers were told, and are yet to be told
 *     overrides                         orders of operators that hold over policy
 *     signals                           counters that show a watcher which records changed
 */

/**
 * Checks a part of a key that comes from user input.
 * @throws RangeError if it would reach into another key
 */
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
  rollout: "rollout",
  poll: "poll",
  outbox: "outbox",
  overrides: "overrides",
  signals: "signals",
  object: (digest: string) => `objects/${segment(digest)}`,
  revision: (number: number) => `revisions/${String(number).padStart(20, "0")}`,
  policy: (namespace: string, name: string) => `policies/${segment(namespace)}/${segment(name)}`,
  member: (id: string) => `members/${segment(id)}`,
  live: (id: string) => `live/${segment(id)}`,
  status: (id: string) => `status/${segment(id)}`,
  endpoints: (id: string) => `endpoints/${segment(id)}`,
} as const;

export const prefixes = {
  objects: "objects/",
  revisions: "revisions/",
  members: "members/",
  live: "live/",
  seen: "seen/",
  status: "status/",
  endpoints: "endpoints/",
} as const;

/** The layout's name and version, as stored under `format`. */
export const STORE_FORMAT = "ztap-store/1";
