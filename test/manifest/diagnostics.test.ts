/** One row for each kind of bad input: the text, and exactly the diagnostics that it gets. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { icmp, kubernetes, node, peer, port, selector, workload, ztap } from "../builders/documents.js";
import { diagnose } from "./diagnose.js";

/** Single addresses of IPv6 that lie apart. */
function scattered(count: number): string {
  return Array.from({ length: count }, (_, index) => `"${((index * 40_503) % 65_536).toString(16)}::1/128"`).join(", ");
}

const ROWS: readonly (readonly [name: string, text: string, expected: string])[] = [
  // YAML
  ["flow list that is not closed", "a: [\n---\n", "ZT1001 2:1"],
  ["tab as indentation", "a:\n\tb: 1\n", "ZT1001 2:1"],
  ["only the first syntax error of a document, and each document's", "a: [\n---\nb: }\n", "ZT1001 2:1\nZT1001 3:4"],
  ["duplicate key", workload("{addresses: [192.0.2.2],\n  addresses: []}"), "ZT1002 5:3 spec.addresses"],
  [
    "alias that multiplies",
    `a: &a [${"x, ".repeat(99)}x]\nb: &b [${"*a, ".repeat(99)}*a]\nc: [*b, *b]\n`,
    "ZT1003 1:8 b[99][0]",
  ],
  ["alias without anchor", workload("{addresses: [*x]}"), "ZT1001 4:20 spec.addresses[0]"],
  ["key that is a list", "[a]: 1\n", "ZT1004 1:1\nZT2004 1:1 apiVersion\nZT2004 1:1 kind"],
  ["unknown tag", workload("{addresses: !x [192.0.2.2]}"), "ZT1005 4:22 spec.addresses"],
  [
    "number with a leading zero",
    workload("{addresses: [192.0.2.2], ports: [{port: 010}]}"),
    "ZT1006 4:47 spec.ports[0].port",
  ],
  ["deep nesting", `a: ${"[".repeat(70)}${"]".repeat(70)}\n`, `ZT1007 1:68 a${"[0]".repeat(64)}`],
  ["very deep nesting", `a: ${"[".repeat(20_000)}\n`, "ZT1007 1:403"],
  ["document that is a list", "- a\n", "ZT1008 1:1"],
  ["another version of YAML", "%YAML 1.1\n---\na: 1\n", "ZT1001 2:1"],
  ["merge key", workload("{<<: {}, addresses: [192.0.2.2]}"), 'ZT2003 4:8 spec["<<"]'],
  ["empty documents are no problem", "---\n# nothing\n---\n", ""],

  ["a bracket that closes nothing", "# c\n]\n", "ZT1001 2:1"],
  [
    "binary",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {a: !!binary aGk=}}"),
    "ZT1005 3:42 metadata.labels.a",
  ],
  [
    "timestamp",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {a: !!timestamp 2026-01-01}}"),
    "ZT1005 3:45 metadata.labels.a",
  ],
  ["set", kubernetes("{podSelector: {matchLabels: !!set {app}}}"), "ZT1005 4:41 spec.podSelector.matchLabels"],
  ["port in binary digits", port("{port: 0b1010000}"), "ZT1006 5:10 spec.ingress[0].ports[0].port"],
  ["port with an underscore", port("{port: 8_0}"), "ZT1006 5:10 spec.ingress[0].ports[0].port"],
  ["port in hexadecimal digits, as Go writes them", port("{port: 0X50}"), "ZT1006 5:10 spec.ingress[0].ports[0].port"],
  ["port in hexadecimal digits, as all read them", port("{port: 0x50}"), ""],
  [
    "text that looks like a number, in quotes, is a port name",
    port('{port: "0b1010000"}'),
    "ZT5015 5:10 spec.ingress[0].ports[0].port",
  ],

  // Kinds
  ["no apiVersion", "kind: Node\nmetadata: {name: n}\n", "ZT2004 1:1 apiVersion"],
  ["no kind", "apiVersion: ztap/v1\n", "ZT2004 1:1 kind"],
  ["another apiVersion", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {}\n", "ZT2001 1:13 apiVersion"],
  ["Kubernetes' Namespace", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n", "ZT2001 1:13 apiVersion"],
  ["an older NetworkPolicy", "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\n", "ZT2001 1:13 apiVersion"],
  ["unknown kind", "apiVersion: ztap/v1\nkind: Pod\n", "ZT2002 2:7 kind"],
  ["a kind of ztap in Kubernetes' group", "apiVersion: networking.k8s.io/v1\nkind: Node\n", "ZT2002 2:7 kind"],
  [
    "fields that a List does not have",
    "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: '', name: x}\nitems: []\nspec: {a: b}\nitem:\n",
    "ZT2003 3:33 metadata.name\nZT2003 5:1 spec\nZT2003 6:1 item",
  ],
  ["metadata of a List", "apiVersion: v1\nkind: List\nmetadata: x\nitems: []\n", "ZT2005 3:11 metadata"],
  ["a List as kubectl prints it", "apiVersion: v1\nkind: List\nmetadata:\n  resourceVersion: ''\nitems: []\n", ""],
  ["an item of a List", "apiVersion: v1\nkind: List\nitems:\n- kind: Node\n", "ZT2004 4:3 items[0].apiVersion"],

  // Shape
  ["unknown field", workload("{\n  addreses: []}"), "ZT2003 5:3 spec.addreses"],
  [
    "unknown field of metadata",
    workload("{addresses: [192.0.2.2]}", "{name: w, label: {}}"),
    "ZT2003 3:21 metadata.label",
  ],
  ["missing name", workload("{addresses: [192.0.2.2]}", "{}"), "ZT2004 3:1 metadata.name"],
  ["missing spec", "apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n", "ZT2004 1:1 spec"],
  ["a node without an address", node("{}"), ""],
  ["missing cidr", peer("{ipBlock: {}}"), "ZT2004 5:4 spec.ingress[0].from[0].ipBlock.cidr"],
  ["list for a mapping", ztap("[]"), "ZT2005 4:7 spec"],
  ["nothing for a mapping, in ztap/v1", ztap("{podSelector: , ingress: []}"), "ZT2005 4:8 spec.podSelector"],
  ["nothing for a list item", port("null"), "ZT2005 5:3 spec.ingress[0].ports[0]"],
  [
    "number for a label",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {v: 1}}"),
    "ZT2005 3:33 metadata.labels.v",
  ],
  ["text for a port", workload("{addresses: [192.0.2.2], ports: [{port: x}]}"), "ZT2005 4:47 spec.ports[0].port"],
  ["unknown protocol", port("{protocol: tcp}"), "ZT2006 5:14 spec.ingress[0].ports[0].protocol"],
  ["unknown policyTypes", kubernetes("{policyTypes: [ingress]}"), "ZT2006 4:22 spec.policyTypes[0]"],
  ["unknown operator", selector("{key: a, operator: Is}"), "ZT2006 5:22 spec.podSelector.matchExpressions[0].operator"],
  ["unknown mode", ztap("{ingress: [], mode: log}"), "ZT2006 4:27 spec.mode"],
  ["unknown mode of a direction", ztap("{ingress: [], mode: {ingress: log}}"), "ZT2006 4:37 spec.mode.ingress"],
  ["a mode of no direction", ztap("{ingress: [], mode: {in: audit}}"), "ZT2003 4:28 spec.mode.in"],
  ["a mode that is a list", ztap("{ingress: [], mode: [audit]}"), "ZT2006 4:27 spec.mode"],
  ["too many policyTypes", kubernetes("{policyTypes: [Ingress, Egress, Ingress]}"), "ZT2009 4:21 spec.policyTypes"],
  ["unknown field without a value", kubernetes("{podSelectr: }"), "ZT2003 4:8 spec.podSelectr"],
  ["nothing for a rule", kubernetes("{ingress: [\n  null]}"), "ZT2005 5:3 spec.ingress[0]"],
  ["nothing for a peer", peer("null"), "ZT2005 5:3 spec.ingress[0].from[0]"],
  ["nothing for a requirement", selector("null"), "ZT2005 5:3 spec.podSelector.matchExpressions[0]"],
  [
    "nothing for a label, in ztap/v1",
    ztap("{podSelector: {matchLabels: {app: }}, ingress: []}"),
    "ZT2005 4:36 spec.podSelector.matchLabels.app",
  ],
  ["mode in a Kubernetes policy", kubernetes("{mode: audit}"), "ZT2007 4:8 spec.mode"],
  ["ICMP in a Kubernetes policy", port("{protocol: ICMP}"), "ZT2007 5:14 spec.ingress[0].ports[0].protocol"],
  ["ICMP type in a Kubernetes policy", port("{type: 8}"), "ZT2007 5:4 spec.ingress[0].ports[0].type"],
  [
    "single peer in a Kubernetes policy",
    kubernetes("{ingress: [{from: {podSelector: {}}}]}"),
    "ZT2007 4:19 spec.ingress[0].from",
  ],
  ["port 0", port("{port: 0}"), "ZT2008 5:10 spec.ingress[0].ports[0].port"],
  ["port too high", port("{port: 65536}"), "ZT2008 5:10 spec.ingress[0].ports[0].port"],
  ["ICMP type too high", icmp("{protocol: ICMP, type: 256}"), "ZT2008 5:26 spec.ingress[0].ports[0].type"],
  ["ICMP code below 0", icmp("{protocol: ICMP, type: 3, code: -1}"), "ZT2008 5:35 spec.ingress[0].ports[0].code"],

  // Fields beside the one that they belong below
  ["beside an empty podSelector", ztap("\n  podSelector:\n  matchLabels: {a: b}"), "ZT2003 6:3 spec.matchLabels"],
  [
    "the same in a peer of a Kubernetes policy",
    kubernetes("\n  ingress:\n  - from:\n    - podSelector:\n      matchLabels: {a: b}"),
    "ZT2003 8:7 spec.ingress[0].from[0].matchLabels",
  ],
  ["name beside metadata", "apiVersion: ztap/v1\nkind: Namespace\nmetadata:\nname: a\n", "ZT2003 4:1 name"],
  [
    "all of spec beside it, also where Kubernetes takes its emptiness for absence",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\npodSelector: {}\ningress: []\n",
    "ZT2003 5:1 podSelector",
  ],
  [
    "a port's number beside the list of ports",
    workload("\n  addresses: [192.0.2.2]\n  ports:\n  - name: http\n  port: 80"),
    "ZT2003 8:3 spec.port",
  ],
  [
    "a peer as the next rule",
    kubernetes("\n  ingress:\n  - from:\n  - podSelector: {}"),
    "ZT2003 7:5 spec.ingress[1].podSelector",
  ],
  [
    "except beside ipBlock",
    peer("{ipBlock: {cidr: 10.0.0.0/8}, except: []}"),
    "ZT2003 5:33 spec.ingress[0].from[0].except",
  ],
  [
    "two empty fields are two mistakes",
    ztap("{podSelector: , ingress: }"),
    "ZT2005 4:8 spec.podSelector\nZT2005 4:23 spec.ingress",
  ],

  // Values
  ["name with an underscore", workload("{addresses: [192.0.2.2]}", "{name: a_b}"), "ZT3001 3:18 metadata.name"],
  [
    "name of 64 characters",
    workload("{addresses: [192.0.2.2]}", `{name: ${"a".repeat(64)}}`),
    "ZT3001 3:18 metadata.name",
  ],
  ["name with a dot, in ztap/v1", workload("{addresses: [192.0.2.2]}", "{name: a.b}"), "ZT3001 3:18 metadata.name"],
  ["malformed node", workload("{node: A, cgroup: a}"), "ZT3001 4:14 spec.node"],
  [
    "malformed label key",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {-a: x}}"),
    'ZT3002 3:30 metadata.labels["-a"]',
  ],
  [
    "malformed prefix of a label key",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {A/a: x}}"),
    'ZT3002 3:30 metadata.labels["A/a"]',
  ],
  [
    "malformed key of a requirement",
    selector("{key: a b, operator: Exists}"),
    "ZT3002 5:9 spec.podSelector.matchExpressions[0].key",
  ],
  [
    "malformed label value",
    kubernetes("{podSelector: {matchLabels: {a: b c}}}"),
    "ZT3003 4:39 spec.podSelector.matchLabels.a",
  ],
  ["no address", workload("{addresses: [example.net]}"), "ZT3004 4:20 spec.addresses[0]"],
  ["address with leading zeros", workload("{addresses: [010.0.0.1]}"), "ZT3004 4:20 spec.addresses[0]"],
  ["address with a zone", workload('{addresses: ["fe80::1%eth0"]}'), "ZT3004 4:20 spec.addresses[0]"],
  ["multicast address", workload('{addresses: ["ff02::1"]}'), "ZT3004 4:20 spec.addresses[0]"],
  ["IPv4-mapped address", workload('{addresses: ["::ffff:192.0.2.1"]}'), "ZT3021 4:20 spec.addresses[0]"],
  ["IPv4-mapped address in hexadecimal", workload('{addresses: ["::ffff:c000:201"]}'), "ZT3021 4:20 spec.addresses[0]"],
  ["address twice in other words", workload('{addresses: ["fd77::1", "FD77:0::1"]}'), "ZT3019 4:31 spec.addresses[1]"],
  ["malformed CIDR", peer("{ipBlock: {cidr: 10.0.0.0/33}}"), "ZT3005 5:20 spec.ingress[0].from[0].ipBlock.cidr"],
  [
    "CIDR without prefix length",
    peer("{ipBlock: {cidr: 10.0.0.1}}"),
    "ZT3005 5:20 spec.ingress[0].from[0].ipBlock.cidr",
  ],
  ["CIDR with host bits", peer("{ipBlock: {cidr: 10.0.0.1/8}}"), "ZT3006 5:20 spec.ingress[0].from[0].ipBlock.cidr"],
  [
    "IPv6 CIDR with host bits, in a single peer",
    ztap('{egress: [{to: {ipBlock: {cidr: "fd77::1/64"}}}]}'),
    "ZT3006 4:39 spec.egress[0].to.ipBlock.cidr",
  ],
  [
    "except outside cidr",
    peer("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}"),
    "ZT3007 5:41 spec.ingress[0].from[0].ipBlock.except[0]",
  ],
  [
    "except equal to cidr",
    peer("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}"),
    "ZT3007 5:41 spec.ingress[0].from[0].ipBlock.except[0]",
  ],
  [
    "more exceptions than a block may have",
    peer(`{ipBlock: {cidr: "::/0", except: [${scattered(1_000)}]}}`),
    "ZT3025 5:28 spec.ingress[0].from[0].ipBlock.except",
  ],
  ["as many exceptions as a block may have", peer(`{ipBlock: {cidr: "::/0", except: [${scattered(500)}]}}`), ""],
  [
    "except of the other family",
    peer('{ipBlock: {cidr: 0.0.0.0/0, except: ["::/1"]}}'),
    "ZT3007 5:40 spec.ingress[0].from[0].ipBlock.except[0]",
  ],
  ["endPort below port", port("{port: 90, endPort: 80}"), "ZT3008 5:23 spec.ingress[0].ports[0].endPort"],
  ["endPort with a named port", port("{port: http, endPort: 80}"), "ZT3009 5:16 spec.ingress[0].ports[0].endPort"],
  ["endPort without port", port("{endPort: 80}"), "ZT3010 5:4 spec.ingress[0].ports[0].endPort"],
  ["malformed port name", port("{port: Http}"), "ZT3011 5:10 spec.ingress[0].ports[0].port"],
  ["port number in quotes", port('{port: "80"}'), "ZT3011 5:10 spec.ingress[0].ports[0].port"],
  ["port name of 16 characters", port(`{port: ${"a".repeat(16)}}`), "ZT3011 5:10 spec.ingress[0].ports[0].port"],
  ["In without values", selector("{key: a, operator: In}"), "ZT3012 5:3 spec.podSelector.matchExpressions[0].values"],
  [
    "NotIn with an empty list",
    selector("{key: a, operator: NotIn, values: []}"),
    "ZT3012 5:29 spec.podSelector.matchExpressions[0].values",
  ],
  [
    "Exists with values",
    selector("{key: a, operator: Exists, values: [b]}"),
    "ZT3013 5:30 spec.podSelector.matchExpressions[0].values",
  ],
  [
    "ipBlock beside a selector",
    peer("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"),
    "ZT3014 5:21 spec.ingress[0].from[0].ipBlock",
  ],
  ["empty peer", peer("{}"), "ZT3015 5:3 spec.ingress[0].from[0]"],
  ["peer of nulls only, in Kubernetes", peer("{podSelector: null}"), "ZT3015 5:3 spec.ingress[0].from[0]"],
  ["empty single peer", ztap("{egress: [{to: {}}]}"), "ZT3015 4:22 spec.egress[0].to"],
  ["ICMP code without type", icmp("{protocol: ICMP, code: 0}"), "ZT3016 5:20 spec.ingress[0].ports[0].code"],
  ["port on ICMP", icmp("{protocol: ICMP, port: 80}"), "ZT3017 5:20 spec.ingress[0].ports[0].port"],
  ["type without ICMP", icmp("{type: 8}"), "ZT3017 5:4 spec.ingress[0].ports[0].type"],
  ["cgroup that climbs", workload("{node: n, cgroup: a/../../b}"), "ZT3018 4:25 spec.cgroup"],
  ["cgroup with a leading slash", workload("{node: n, cgroup: /a}"), "ZT3018 4:25 spec.cgroup"],
  ["cgroup root", workload("{node: n, cgroup: /}"), "ZT3018 4:25 spec.cgroup"],
  ["agent address without port", node("{address: 192.0.2.1}"), "ZT3020 4:17 spec.address"],
  ["agent address, IPv6 without brackets", node('{address: "fd77::1"}'), "ZT3020 4:17 spec.address"],
  [
    "port name twice",
    workload("{addresses: [192.0.2.2], ports: [{port: 1, name: a}, {port: 2, name: a}]}"),
    "ZT3022 4:76 spec.ports[1].name",
  ],

  // Objects against each other
  [
    "object twice",
    `${workload("{addresses: [192.0.2.2]}")}---\n${workload("{addresses: [192.0.2.3]}")}`,
    "ZT4001 8:18 metadata.name",
  ],
  ["undeclared node", `${node("{address: a:1}")}---\n${workload("{node: m, cgroup: a}")}`, "ZT4002 9:14 spec.node"],
  ["no node is declared, so none is missing", workload("{node: m, cgroup: a}"), ""],
  [
    "a node that could not be read is not called undeclared",
    `${node("{adres: x}")}---\n${workload("{node: n, cgroup: a}")}`,
    "ZT2003 4:8 spec.adres",
  ],
  [
    "one cgroup, two workloads",
    `${workload("{node: m, cgroup: a}")}---\n${workload("{node: m, cgroup: a}", "{name: v}")}`,
    "ZT4003 9:25 spec.cgroup",
  ],
  [
    "a cgroup inside another's",
    `${workload("{node: m, cgroup: a}")}---\n${workload("{node: m, cgroup: a/b}", "{name: v}")}`,
    "ZT4003 9:25 spec.cgroup",
  ],
  [
    "a cgroup beside one with a longer name",
    `${workload("{node: m, cgroup: a}")}---\n${workload("{node: m, cgroup: a-b}", "{name: v}")}`,
    "",
  ],
  [
    "one cgroup on two nodes",
    `${workload("{node: m, cgroup: a}")}---\n${workload("{node: o, cgroup: a}", "{name: v}")}`,
    "",
  ],
  [
    "two nodes, one address",
    `${node("{address: 192.0.2.1:1}")}---\n${node("{address: 192.0.2.1:2}").replace("name: n", "name: m")}`,
    "ZT4004 9:17 spec.address",
  ],

  // Warnings
  [
    "undeclared namespace",
    `apiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: a}\n---\n${workload("{addresses: [192.0.2.2]}", "{name: w, namespace: b}")}`,
    "ZT5001 7:32 metadata.namespace",
  ],
  [
    "policy that selects nothing",
    ztap("{podSelector: {matchLabels: {a: b}}, ingress: []}"),
    "ZT5002 4:8 spec.podSelector",
  ],
  ["peer that matches nothing", peer("{podSelector: {matchLabels: {a: b}}}"), "ZT5003 5:3 spec.ingress[0].from[0]"],
  [
    "namespaceSelector that matches nothing",
    peer("{namespaceSelector: {matchLabels: {a: b}}}"),
    "ZT5003 5:3 spec.ingress[0].from[0]",
  ],
  [
    "single peer that matches nothing",
    ztap("{egress: [{to: {podSelector: {matchLabels: {a: b}}}}]}"),
    "ZT5003 4:18 spec.egress[0].to[0]",
  ],
  ["implied namespace label", peer("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}"), ""],
  [
    "repeated rule",
    kubernetes("{ingress: [{ports: [{port: 1}]},\n  {ports: [{port: 1}]}]}"),
    "ZT5004 5:3 spec.ingress[1]",
  ],
  [
    "rule covered by a later one",
    kubernetes("{ingress: [{ports: [{port: 1}]},\n  {}]}"),
    "ZT5004 4:18 spec.ingress[0]",
  ],
  [
    "port inside a range",
    kubernetes("{ingress: [{ports: [{port: 1, endPort: 9}]}, {ports: [{port: 5}]}]}"),
    "ZT5004 4:52 spec.ingress[1]",
  ],
  [
    "ports that only overlap",
    kubernetes("{ingress: [{ports: [{port: 1, endPort: 9}]}, {ports: [{port: 5, endPort: 10}]}]}"),
    "",
  ],
  ["named port beside its number", kubernetes("{ingress: [{ports: [{port: http}]}, {ports: [{port: 80}]}]}"), ""],
  ["peer without addresses", `${workload("{node: m, cgroup: a}")}---\n${peer("{podSelector: {}}")}`, "ZT5005 4:1 spec"],
  ["neither node nor addresses", workload("{ports: []}"), "ZT5006 4:1 spec"],
  ["node without cgroup", workload("{node: m}"), "ZT5007 4:14 spec.node"],
  ["egress rules without Egress", kubernetes("{policyTypes: [Ingress], egress: [{}]}"), "ZT5008 4:32 spec.egress"],
  [
    "port name towards address blocks",
    kubernetes(
      "{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 1}, {port: http}]}]}",
    ),
    "ZT5010 4:104 spec.egress[0].ports[1].port",
  ],
  [
    "port name of the subject",
    kubernetes("{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: http}]}]}"),
    "",
  ],
  [
    "null fields that mean everything",
    kubernetes("{podSelector: , ingress: [{from: , ports: }]}"),
    "ZT5011 4:8 spec.podSelector\nZT5011 4:34 spec.ingress[0].from\nZT5011 4:42 spec.ingress[0].ports",
  ],
  [
    "null exceptions",
    peer("{ipBlock: {cidr: 0.0.0.0/0, except: }}"),
    "ZT5011 5:31 spec.ingress[0].from[0].ipBlock.except",
  ],
  ["null policyTypes", kubernetes("{policyTypes: }"), "ZT5011 4:8 spec.policyTypes"],
  ["null policyTypes, with empty egress", kubernetes("{policyTypes: , egress: []}"), "ZT5011 4:8 spec.policyTypes"],
  [
    "null policyTypes and null egress",
    kubernetes("{policyTypes: , egress: }"),
    "ZT5011 4:8 spec.policyTypes\nZT5011 4:23 spec.egress",
  ],
  ["null egress", kubernetes("{ingress: [], egress: }"), "ZT5011 4:21 spec.egress"],
  ["null policyTypes, with egress rules", kubernetes("{policyTypes: , egress: [{}]}"), ""],
  ["null egress of a policy that isolates it", kubernetes("{policyTypes: [Egress], egress: }"), ""],
  ["null ingress", kubernetes("{ingress: }"), ""],
  ["nothing isolated", ztap("{podSelector: {}}"), "ZT5009 4:1 spec"],
  [
    "no warnings about selectors where a workload could not be read",
    `${ztap("{podSelector: {matchLabels: {a: b}}, ingress: []}")}---\n${workload("{}", "{}")}`,
    "ZT2004 13:1 metadata.name",
  ],
];

for (const [name, text, expected] of ROWS) t.test(name, async (t) => t.equal(diagnose(text), expected));

t.test("of an object declared in two files, the second is refused with the position of the first", async (t) => {
  const text = workload("{addresses: [192.0.2.2]}");
  t.equal(diagnose(text, text), "1.yaml ZT4001 3:18 metadata.name");
  const files = ["a", "b"].map((name) => ({ path: `${name}.yaml`, text: `# one line\n${text}`, blobId: name }));
  const { objects, diagnostics } = readManifests(files);
  t.match(diagnostics[0]?.message, /declared already at a\.yaml:2$/);
  t.equal(objects.get("Workload/default/w")?.position?.file, "a.yaml");
});

t.test("fixes show the text to write", async (t) => {
  const fix = (text: string): string | undefined =>
    readManifests([{ path: "a", text, blobId: "a" }]).diagnostics[0]?.fix;
  t.equal(fix(ztap("{podSelecter: {}}")), "did you mean podSelector?");
  t.equal(fix(ztap("{selector: {}}")), "did you mean podSelector?");
  t.equal(fix(peer("{ipBlock: {cidr: 10.1.2.3/8}}")), "write 10.0.0.0/8, or 10.1.2.3/32 for that one address");
  t.equal(fix(peer('{ipBlock: {cidr: "::ffff:10.0.0.0/104"}}')), "write 10.0.0.0/8");
  t.equal(fix(workload("{node: n, cgroup: /system.slice/x.service/}")), "write system.slice/x.service");
  t.equal(fix(workload("{addresses: [192.0.2.2]}", "{name: My_App}")), "write my-app");
  t.equal(fix(port("{protocol: tcp}")), "did you mean TCP?");
});
