/** The NetworkSets of a state: those that a peer names or selects, and their addresses. */
import type { LabelSelector, NetworkPolicy, NetworkSet, Peer } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import { matchesSelector } from "./select.js";

export class NetworkSetIndex {
  readonly #byName: ReadonlyMap<string, NetworkSet>;
  readonly #selected = new Map<string, readonly NetworkSet[]>();

  constructor(objects: ObjectSet) {
    const sets = [...objects.values()].flatMap(({ object }) => (object.kind === "NetworkSet" ? [object] : []));
    this.#byName = new Map(sets.map((set) => [set.metadata.name, set]));
  }

  get isEmpty(): boolean {
    return this.#byName.size === 0;
  }

  /** Returns the sets of a peer; a name that the state does not declare has no addresses. */
  setsOf({ networkSet, networkSetSelector }: Peer): readonly NetworkSet[] {
    if (networkSet !== undefined) {
      const set = this.#byName.get(networkSet);
      return set === undefined ? [] : [set];
    }
    return networkSetSelector === undefined ? [] : this.#select(networkSetSelector);
  }

  /** Returns the sets of all peers of a policy, by name. */
  setsOfPolicy({ spec: { ingress = [], egress = [] } }: NetworkPolicy): readonly NetworkSet[] {
    const peers = [...ingress.flatMap(({ from = [] }) => from), ...egress.flatMap(({ to = [] }) => to)];
    const named = new Map(peers.flatMap((peer) => this.setsOf(peer)).map((set) => [set.metadata.name, set]));
    return [...named.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  #select(selector: LabelSelector): readonly NetworkSet[] {
    const key = JSON.stringify(selector);
    const known = this.#selected.get(key);
    if (known !== undefined) return known;
    const found = [...this.#byName.values()].filter(({ metadata }) => matchesSelector(selector, metadata.labels ?? {}));
    this.#selected.set(key, found);
    return found;
  }
}
