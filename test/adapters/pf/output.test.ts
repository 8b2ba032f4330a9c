/** What pfctl prints, in every form that is known of it, as values; and which connections the rules would not let begin. */
import t from "tap";
import {
  findAnchor,
  holdsToken,
  isEnabled,
  readLabels,
  readRules,
  readStates,
  readTable,
  readToken,
} from "../../../src/adapters/pf/pfctl/output.js";
import { describeState, findForbidden, killOf } from "../../../src/adapters/pf/pfctl/states.js";
import { rulesetOf } from "../../kernel/rulesets.js";

t.test("status, token, references, rules, tables and labels", async (t) => {
  t.equal(isEnabled("Status: Enabled for 3 days 01:02:03           Debug: Urgent\n\nState Table\n"), true);
  t.equal(isEnabled("Status: Disabled for 0 days 00:00:01           Debug: Urgent\n"), false);
  t.equal(readToken("pf enabled\nToken : 17665386379583213063\n"), "17665386379583213063");
  t.equal(readToken("pfctl: pf already enabled\n"), null);
  const references =
    "TOKENS:\nPID      Process Name                 TOKEN                    TIMESTAMP\n412      pfctl                        176653             0 days 00:00:09\n";
  t.equal(holdsToken(references, "176653"), true);
  t.equal(holdsToken(references, "17665"), false, "a part of another's");
  const main = readRules(
    'scrub-anchor "com.apple/*" all fragment reassemble\nanchor "ztap" all\nanchor "com.apple/*" all\n',
  );
  t.equal(findAnchor(main), 1);
  t.equal(findAnchor(readRules('anchor "ztapx" all\n')), -1);
  t.strictSame(readRules("table <a> const { 10.0.0.1 }\npass in  quick all\n  [ Evaluations: 1 ]\n"), [
    "pass in quick all",
  ]);
  t.strictSame(readTable("   10.0.0.1\n   10.1.0.0/16\n   fd00::1\n"), ["10.0.0.1/32", "10.1.0.0/16", "fd00::1/128"]);
  const labels = readLabels(
    "ztap:r:0123456789abcdef:a/b 12 3 180 2 120 1 60\nztap:r:0123456789abcdef:a/b 1 4 0 0 0 0 0\nother 1 2 3\n",
  );
  t.strictSame([...labels], [["ztap:r:0123456789abcdef:a/b", 7n]]);
});

t.test("states: both ways, both families, translated, without ports, of any protocol", async (t) => {
  const { states, unread } = readStates(
    [
      "No ALTQ support in kernel",
      "ALL tcp 10.0.0.1:80 <- 192.0.2.7:50000       ESTABLISHED:ESTABLISHED",
      "   [1 + 65535]  [2 + 65535]",
      "en0 udp fd00::1[53] -> fd00::2[5353]       MULTIPLE:SINGLE",
      "ALL tcp 10.0.0.1:4000 -> 203.0.113.1:61000 -> 198.51.100.1:443       ESTABLISHED:ESTABLISHED",
      "ALL icmp fd00::1%lo0[7] -> fd00::2       0:0",
      "ALL esp 10.0.0.1 -> 192.0.2.7       MULTIPLE:MULTIPLE",
      "ALL tcp somewhere <- else       ESTABLISHED:ESTABLISHED",
    ].join("\n"),
  );
  t.strictSame(states.map(describeState), [
    "tcp 10.0.0.1:80 ← 192.0.2.7:50000",
    "udp [fd00::1]:53 → [fd00::2]:5353",
    "tcp 203.0.113.1:61000 → 198.51.100.1:443",
    "icmp [fd00::1]:7 → fd00::2",
    "esp 10.0.0.1 → 192.0.2.7",
  ]);
  t.strictSame(states.slice(0, 3).map(killOf), [
    ["192.0.2.7", "10.0.0.1"],
    ["fd00::1", "fd00::2"],
    ["10.0.0.1", "198.51.100.1"],
  ]);
  t.strictSame(unread, ["ALL tcp somewhere <- else       ESTABLISHED:ESTABLISHED"]);
});

t.test(
  "connections that may not begin are found by port, direction, protocol and user; those of other addresses are not",
  async (t) => {
    const ruleset = rulesetOf("n", {
      "a/shut": { cgroup: null, addresses: ["10.0.0.3"] },
      "a/web": {
        cgroup: null,
        addresses: ["10.0.0.1", "fd00::1"],
        ingress: { allow: [{ peers: ["192.0.2.0/24"], ports: ["tcp/80", "icmp/2048"] }] },
        egress: { allow: [{ peers: "any", ports: ["udp/53"] }] },
      },
      "a/tried": { cgroup: null, addresses: ["10.0.0.2"], ingress: { allow: [], mode: "audit" } },
    });
    const isForbidden = (line: string, closed: readonly string[] = []): boolean =>
      findForbidden(ruleset, new Set(closed), readStates(`ALL ${line}       X:Y`).states).length === 1;
    t.equal(isForbidden("tcp 10.0.0.1:80 <- 192.0.2.7:1"), false);
    t.equal(isForbidden("tcp 10.0.0.1:81 <- 192.0.2.7:80"), true, "the workload's port counts, and not the peer's");
    t.equal(isForbidden("tcp 10.0.0.1:80 <- 198.51.100.1:1"), true);
    t.equal(isForbidden("tcp 10.0.0.1:80 -> 192.0.2.7:80"), true, "the other way");
    t.equal(isForbidden("udp 10.0.0.1:9 -> 192.0.2.7:53"), false);
    t.equal(isForbidden("udp fd00:0:0::1[9] -> fd00::9[54]"), true, "however the address is written");
    t.equal(isForbidden("icmp 10.0.0.1:7 <- 192.0.2.7"), false);
    t.equal(isForbidden("icmp 10.0.0.1:7 -> 192.0.2.7"), true);
    t.equal(isForbidden("esp 10.0.0.1 -> 192.0.2.7"), true);
    t.equal(isForbidden("tcp 10.0.0.1:5 -> 10.0.0.1:6"), false, "to itself");
    t.equal(isForbidden("tcp 10.0.0.2:80 <- 192.0.2.7:1"), false, "audit mode ends nothing");
    t.equal(isForbidden("tcp 10.0.0.9:80 <- 192.0.2.7:1"), false, "no workload's");
    t.equal(isForbidden("tcp 10.0.0.3:80 <- 192.0.2.7:1"), false);
    t.equal(isForbidden("tcp 10.0.0.3:80 <- 192.0.2.7:1", ["a/shut"]), true, "closed");
  },
);
