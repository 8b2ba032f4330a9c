/** Policies that are as large as a node can hold, for tests of capacity. */

/** Every second port, so that no two make a range; then a block for each, which has all of those and its own. */
export function widePolicy(name: string, blocks: number): string {
  const ports = Array.from({ length: 2000 }, (_one, at) => `        - port: ${2 * at + 1}\n`).join("");
  const rules = Array.from(
    { length: blocks },
    (_one, at) => `    - { to: [{ ipBlock: { cidr: 10.${at >> 8}.${at & 255}.0/24 } }], ports: [{ port: 20000 }] }\n`,
  ).join("");
  return `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: demo }
spec:
  podSelector: { matchLabels: { app: web } }
  egress:
${rules}    - ports:
${ports}`;
}

/** 2,000 entries for everybody, 2,001 for each block; a node has 4,194,304. */
export const MOST_BLOCKS = 2095;

/** What a wide policy selects, on node n1. */
export const WIDE_SUBJECT = `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: demo, labels: { app: web } }
spec: { node: n1, cgroup: web, addresses: [192.0.2.1] }
---
`;
