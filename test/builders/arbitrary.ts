/**
 * Random states, small and dense: few labels, few addresses, ranges and blocks that touch and
 * overlap, so that whatever can meet does meet.
 */
import fc from "fast-check";

const selector = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  { weight: 4, arbitrary: fc.record({ matchLabels: fc.record({ app: fc.constantFrom("x", "y", "z") }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      matchExpressions: fc.tuple(
        fc.record({
          key: fc.constantFrom("tier", "app"),
          operator: fc.constantFrom("In", "NotIn"),
          values: fc.constantFrom(["p"], ["x", "q"]),
        }),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      matchExpressions: fc.tuple(
        fc.record({ key: fc.constant("tier"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
      ),
    }),
  },
);

const BLOCKS = [
  { cidr: "0.0.0.0/0" },
  { cidr: "10.0.0.0/28" },
  { cidr: "10.0.0.0/29", except: ["10.0.0.2/31"] },
  { cidr: "10.0.0.8/30" },
  { cidr: "10.0.0.1/32" },
  { cidr: "128.0.0.0/1", except: ["192.168.0.0/16", "255.255.255.255/32"] },
  { cidr: "::/0", except: ["fd00::/125"] },
  { cidr: "fd00::/124" },
  { cidr: "fd00::3/128" },
];

const peer = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: fc.constantFrom({}, { matchLabels: { env: "prod" } }) }),
  fc.record({ namespaceSelector: fc.constantFrom({}, { matchLabels: { env: "prod" } }), podSelector: selector }),
  fc.record({ ipBlock: fc.constantFrom(...BLOCKS) }),
  fc.record({ networkSet: fc.constantFrom("near", "far", "none") }),
  fc.record({ networkSetSelector: fc.constantFrom({}, { matchLabels: { side: "out" } }) }),
);

/** Sets that overlap each other, the blocks and the workloads; one is empty, and one in IPv6 form. */
const SETS = [
  { name: "near", cidrs: ["10.0.0.0/29", "10.0.0.4/30", "::ffff:10.0.0.8/126", "fd00::/125"], except: ["10.0.0.2/31"] },
  { name: "far", labels: { side: "out" }, cidrs: ["128.0.0.0/2", "192.168.0.0/16", "fd00::8/125"] },
  { name: "none", labels: { side: "out" }, cidrs: ["10.0.0.0/30"], except: ["0.0.0.0/0"] },
].map(({ name, labels = {}, cidrs, except = [] }) => ({
  ...{ apiVersion: "ztap/v1", kind: "NetworkSet", metadata: { name, labels }, spec: { cidrs, except } },
}));

const port = fc.oneof(
  fc.record({ protocol: fc.constantFrom("TCP", "UDP", "SCTP"), port: fc.constantFrom(1, 80, 81, 443, 65535) }),
  fc.record({
    protocol: fc.constantFrom("TCP", "UDP"),
    port: fc.constantFrom(1, 79, 81),
    endPort: fc.constantFrom(81, 90, 65535),
  }),
  fc.record({ protocol: fc.constantFrom("TCP", "UDP"), port: fc.constantFrom("http", "dns") }),
  fc.record({ protocol: fc.constantFrom("TCP", "SCTP") }),
  fc.constantFrom<object>({ protocol: "ICMP" }, { protocol: "ICMP", type: 8 }, { protocol: "ICMP", type: 3, code: 4 }),
);

const rule = (peers: "from" | "to") =>
  fc
    .record({ [peers]: fc.array(peer, { maxLength: 2 }), ports: fc.array(port, { maxLength: 3 }) })
    // An empty list and no list mean the same; both occur.
    .map((value) => Object.fromEntries(Object.entries(value).filter(([, list]) => list.length !== 0)));

const policy = (index: number) =>
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("NetworkPolicy"),
    metadata: fc.record({ name: fc.constant(`p${index}`), namespace: fc.constantFrom("default", "prod") }),
    spec: fc
      .record(
        {
          podSelector: selector,
          mode: fc.constantFrom("enforce", "enforce", "audit"),
          ingress: fc.array(rule("from"), { maxLength: 3 }),
          egress: fc.array(rule("to"), { maxLength: 3 }),
        },
        { requiredKeys: ["podSelector", "mode"] },
      )
      .map((spec) => ("ingress" in spec || "egress" in spec ? spec : { ...spec, ingress: [] })),
  });

const address = fc.oneof(
  { weight: 3, arbitrary: fc.nat(15).map((last) => `10.0.0.${last}`) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }).map((last) => `fd00::${last}`) },
);

const workload = (index: number) =>
  fc.tuple(bareWorkload(index), fc.boolean()).map(([{ metadata, spec, ...rest }, isPlaced]) => ({
    ...rest,
    metadata,
    // Only what runs on a node is asked there for what it sends.
    spec: isPlaced ? { node: "n", cgroup: `${metadata.namespace}-w${index}`, ...spec } : spec,
  }));

const bareWorkload = (index: number) =>
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("Workload"),
    metadata: fc.record({
      name: fc.constant(`w${index}`),
      namespace: fc.constantFrom("default", "default", "prod"),
      labels: fc.record(
        { app: fc.constantFrom("x", "y", "z"), tier: fc.constantFrom("p", "q") },
        { requiredKeys: ["app"] },
      ),
    }),
    spec: fc.record({
      addresses: fc.uniqueArray(address, { maxLength: 3 }),
      ports: fc.constantFrom<readonly object[]>(
        [],
        [{ name: "http", port: 80, protocol: "TCP" }],
        [
          { name: "http", port: 8080, protocol: "TCP" },
          { name: "dns", port: 53, protocol: "UDP" },
        ],
      ),
    }),
  });

const PROD = { apiVersion: "ztap/v1", kind: "Namespace", metadata: { name: "prod", labels: { env: "prod" } } };

/** The documents of a state. */
export const arbitraryState: fc.Arbitrary<readonly object[]> = fc
  .record({
    workloads: fc.tuple(...[0, 1, 2, 3, 4].map((index) => fc.option(workload(index), { freq: 6 }))),
    policies: fc.tuple(...[0, 1, 2, 3].map((index) => fc.option(policy(index), { freq: 3 }))),
  })
  .map(({ workloads, policies }) => [
    PROD,
    ...SETS,
    ...[...workloads, ...policies].filter((document) => document !== null),
  ]);

const GROUP = {
  apiVersion: "ztap/v1",
  kind: "NodeGroup",
  metadata: { name: "all", labels: { role: "web" } },
  spec: { nodeNames: ["*"], addressRanges: ["10.1.0.0/24"] },
};

/** The same, where some of the workloads may have several instances, whose addresses are not known or declared. */
export const arbitraryFleet: fc.Arbitrary<readonly object[]> = fc
  .tuple(arbitraryState, fc.array(fc.constantFrom("typed", "found", "declared"), { minLength: 5, maxLength: 5 }))
  .map(([documents, forms]) => [
    GROUP,
    ...documents.map((document, index) => {
      if (!("kind" in document) || document.kind !== "Workload" || !("spec" in document)) return document;
      const form = forms[index % forms.length];
      if (form === "typed" || typeof document.spec !== "object" || document.spec === null) return document;
      const { addresses, ports } = { addresses: [], ports: [], ...document.spec };
      const process = { cgroup: `found/${index}-*` };
      const found = { ports, nodeSelector: { matchLabels: { role: "web" } }, process };
      return { ...document, spec: form === "found" ? found : { ...found, addresses } };
    }),
  ]);

/** An entry of a ConnectivityTest's lists; one whose ends are both blocks is refused, and so is left out. */
export const arbitraryExpectation: fc.Arbitrary<object> = fc
  .record({
    from: fc.array(peer, { maxLength: 2 }),
    to: fc.array(peer, { maxLength: 2 }),
    ports: fc.array(port, { maxLength: 2 }),
  })
  .filter(
    ({ from, to }) =>
      ![from, to].every(
        (end) => end.length > 0 && end.every((one) => !("podSelector" in one || "namespaceSelector" in one)),
      ),
  )
  .map((value) => Object.fromEntries(Object.entries(value).filter(([, list]) => list.length !== 0)));

/** Ports at and beside every border that a random state can have; for ICMP they are types and codes. */
export const BORDER_PORTS: readonly number[] = [
  0, 1, 2, 52, 53, 54, 78, 79, 80, 81, 82, 89, 90, 91, 442, 443, 444, 771, 772, 773, 2047, 2048, 2303, 2304, 8079, 8080,
  8081, 65534, 65535,
];

/** Addresses at and beside every border of the blocks, which may or may not be some workload's. */
export const BORDER_ADDRESSES: readonly string[] = [
  ...["0.0.0.0", "9.255.255.255", "10.0.0.16", "127.255.255.255", "128.0.0.0", "192.167.255.255", "192.168.0.0"],
  ...["192.168.255.255", "192.169.0.0", "255.255.255.254", "255.255.255.255"],
  ...Array.from({ length: 16 }, (_, index) => `10.0.0.${index}`),
  ...["::", "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00::", "fd00::7", "fd00::8", "fd00::f", "fd00::10"],
  ...["fd00::2", "fd00::3", "fd00::4", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
];
