/** Port names that no workload declares (ZT5015). */
import t from "tap";
import { kubernetes } from "../builders/documents.js";
import { diagnose } from "./diagnose.js";

const ROWS: readonly (readonly [what: string, text: string, diagnostics: string])[] = [
  [
    "port name that no workload of the policy declares",
    kubernetes("{ingress: [{ports: [{port: 81},\n  {port: htpp}]}]}"),
    "ZT5015 5:10 spec.ingress[0].ports[1].port",
  ],
  [
    "port name of another protocol",
    kubernetes("{ingress: [{ports: [{port: http, protocol: UDP}]}]}"),
    "ZT5015 4:34 spec.ingress[0].ports[0].port",
  ],
  [
    "port name that no peer declares, beside an address block",
    kubernetes(
      "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}], ports: [{port: web}]}]}",
    ),
    "ZT5015 4:112 spec.egress[0].ports[0].port",
  ],
  [
    "port name that a peer declares",
    kubernetes(
      "{policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}, {ports: [{port: http}]}]}",
    ),
    "ZT5004 4:40 spec.egress[0]",
  ],
  [
    "port name of a policy that selects nothing",
    kubernetes("{podSelector: {matchLabels: {a: b}}, ingress: [{ports: [{port: web}]}]}"),
    "ZT5002 4:8 spec.podSelector",
  ],
];

for (const [what, text, diagnostics] of ROWS) t.test(what, async (t) => t.equal(diagnose(text), diagnostics));
