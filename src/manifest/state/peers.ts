/** The peers of an object, with the paths of their fields. */
import type { Peer, ZtapObject } from "../../model/objects.js";
import type { Path } from "../problem.js";

export interface PlacedPeer {
  readonly peer: Peer;
  readonly path: Path;
}

/** Returns the peers of a policy or a test in their order; none for other kinds. */
export function listPeers(object: ZtapObject): readonly PlacedPeer[] {
  if (object.kind === "NetworkPolicy") {
    const { ingress = [], egress = [] } = object.spec;
    return [
      ...ingress.flatMap(({ from }, at) => placePeers(from, ["spec", "ingress", at, "from"])),
      ...egress.flatMap(({ to }, at) => placePeers(to, ["spec", "egress", at, "to"])),
    ];
  }
  if (object.kind !== "ConnectivityTest") return [];
  return (["allow", "deny"] as const).flatMap((list) =>
    object.spec[list].flatMap(({ from, to }, at) => [
      ...placePeers(from, ["spec", list, at, "from"]),
      ...placePeers(to, ["spec", list, at, "to"]),
    ]),
  );
}

function placePeers(peers: readonly Peer[] = [], path: Path): readonly PlacedPeer[] {
  // An author may have written the only peer without a list; positions then end at the list's key.
  return peers.map((peer, at) => ({ peer, path: [...path, at] }));
}
