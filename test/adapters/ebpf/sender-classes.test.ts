/** Sender classes, against their definition: which clauses match an address alone, and which a workload at it. */
import fc from "fast-check";
import t from "tap";
import { walkSenders } from "../../../src/adapters/ebpf/lower/sender-classes.js";
import { formatPrefix } from "../../../src/adapters/ebpf/lower/prefix.js";
import type { Clause, Profile } from "../../../src/model/ruleset.js";
import { synIdentityOf } from "../../../src/model/syn-identity.js";
import { AddressParser, AddressSet } from "../../../src/policy/address-space.js";

const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1"];
const BLOCKS = ["10.0.0.0/30", "10.0.0.2/32", "10.0.0.0/16", "0.0.0.0/0"];
const WORKLOADS = ["shop/web", "shop/batch", "data/db"];

const clause: fc.Arbitrary<Clause> = fc
  .record({
    blocks: fc.subarray(BLOCKS, { maxLength: 1 }),
    workloads: fc.uniqueArray(
      fc.record({ workload: fc.constantFrom(...WORKLOADS), addresses: fc.subarray(ADDRESSES, { minLength: 1 }) }),
      { maxLength: 3, selector: ({ workload }) => workload },
    ),
    kind: fc.constantFrom("any", "blocks", "senders", "senders"),
  })
  .map(({ blocks, workloads, kind }): Clause => {
    const common = { rule: 0, ports: "any" as const };
    if (kind === "any") return { ...common, peers: "any" };
    if (kind === "blocks" || workloads.length === 0) return { ...common, peers: blocks };
    // The merged list does not matter here.
    return {
      ...common,
      peers: [...blocks, ...workloads.flatMap(({ addresses }) => addresses)],
      senders: { blocks, workloads },
    };
  });

const parser = new AddressParser();
const holds = (cidrs: readonly string[], address: string): boolean =>
  new AddressSet(cidrs.map((cidr) => parser.parse(cidr))).has(parser.parse(address));

/** By the words of struct ztap_identity_key. */
function wanted(clauses: readonly Clause[]): ReadonlyMap<string, string> {
  const entries = new Map<string, string>();
  for (const address of ADDRESSES) {
    const named = WORKLOADS.filter((workload) =>
      clauses.some(({ senders }) =>
        senders?.workloads.some((one) => one.workload === workload && one.addresses.includes(address)),
      ),
    );
    if (named.length === 0) continue;
    const matching = (workload: string | null): string =>
      clauses
        .flatMap(({ peers, senders }, index) => {
          const blocks = senders?.blocks ?? peers;
          const byAddress = blocks === "any" || holds(blocks, address);
          const byName = senders?.workloads.some((one) => one.workload === workload && one.addresses.includes(address));
          return byAddress || byName === true ? [index] : [];
        })
        .join();
    entries.set(`${address} 0`, matching(null));
    for (const workload of named) entries.set(`${address} ${synIdentityOf(workload)}`, matching(workload));
  }
  return entries;
}

t.test("the classes are those of the definition", async (t) => {
  fc.assert(
    fc.property(fc.array(clause, { maxLength: 6 }), (clauses) => {
      const rule = { key: "r", policy: { namespace: "n", name: "p" }, direction: "ingress" as const, index: 0 };
      const profile: Profile = { key: "p", direction: "ingress", rules: [rule], clauses };
      const found = [...walkSenders(profile, { runs: 0 })].map(
        ({ address, identity, clauses: own }) =>
          [`${formatPrefix(address).replace("/32", "")} ${identity}`, own.join()] as const,
      );
      t.same(new Map([...found].sort()), new Map([...wanted(clauses)].sort()));
      return t.passing();
    }),
    { numRuns: 500 },
  );
});

t.test("identities are the same everywhere, for ever", async (t) => {
  // From sha256sum, read as a little-endian number.
  t.equal(synIdentityOf("shop/web"), 0x46563797);
});
