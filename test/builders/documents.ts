/** Documents as text, by what they are about: each takes the part that a test varies, and gives it the rest. */
export const node = (spec: string): string => `apiVersion: ztap/v1\nkind: Node\nmetadata: {name: n}\nspec: ${spec}\n`;
export const group = (spec: string): string =>
  `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: {name: g, labels: {role: web}}\nspec: ${spec}\n`;
/** Complete and without a warning, but for what `spec` adds. */
export const workload = (spec: string, metadata = "{name: w}"): string =>
  `apiVersion: ztap/v1\nkind: Workload\nmetadata: ${metadata}\nspec: ${spec}\n`;
/** A valid workload that the policies of the table select, so that only their own problems show. */
export const OTHER =
  "---\napiVersion: ztap/v1\nkind: Workload\nmetadata: {name: other}\nspec: {addresses: [192.0.2.1], ports: [{name: http, port: 80}]}\n";
export const ztap = (spec: string): string =>
  `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n${OTHER}`;
export const kubernetes = (spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n${OTHER}`;
export const port = (text: string): string => kubernetes(`{ingress: [{ports: [\n  ${text}]}]}`);
export const icmp = (text: string): string => ztap(`{ingress: [{ports: [\n  ${text}]}]}`);
export const peer = (text: string): string => kubernetes(`{ingress: [{from: [\n  ${text}]}]}`);
export const selector = (text: string): string => kubernetes(`{podSelector: {matchExpressions: [\n  ${text}]}}`);
