/** Each rule that Kubernetes has for a NetworkPolicy is broken once, and named in Kubernetes' words. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { kubernetes, peer, port, selector } from "../builders/documents.js";

t.test("violations of Kubernetes' own rules are described in Kubernetes' words", async (t) => {
  const message = (text: string): string | undefined =>
    readManifests([{ path: "a", text, blobId: "a" }]).diagnostics[0]?.message;
  const rules: readonly (readonly [string, string])[] = [
    [port("{port: 90, endPort: 80}"), "must be greater than or equal to `port`"],
    [port("{port: http, endPort: 80}"), "may not be specified when `port` is non-numeric"],
    [port("{endPort: 80}"), "may not be specified when `port` is not specified"],
    [port("{protocol: ICMPX}"), 'Unsupported value: "ICMPX": supported values: "SCTP", "TCP", "UDP"'],
    [port("{port: 0}"), "must be between 1 and 65535, inclusive"],
    [peer("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}}"), "must be a strict subset of `cidr`"],
    [peer("{ipBlock: {cidr: x}}"), "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"],
    [peer("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"), "may not specify both ipBlock and another peer"],
    [peer("{}"), "must specify a peer"],
    [selector("{key: a, operator: In}"), "must be specified when `operator` is 'In' or 'NotIn'"],
    [
      selector("{key: a, operator: Exists, values: [b]}"),
      "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
    ],
    [selector("{key: a, operator: Is}"), "not a valid selector operator"],
    [selector("{key: -a, operator: Exists}"), "name part must consist of alphanumeric characters"],
    [
      kubernetes('{podSelector: {matchLabels: {a: "-"}}}'),
      "a valid label must be an empty string or consist of alphanumeric characters",
    ],
  ];
  for (const [text, rule] of rules) t.ok(message(text)?.includes(rule), `${message(text)} names: ${rule}`);
});
