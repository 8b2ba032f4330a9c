/** What the anchor's text says beside the verdicts that agreement.test.ts compares: states, itself, refusals, names. */
import fc from "fast-check";
import t from "tap";
import { commentOf, labelOf } from "../../src/adapters/pf/render/names.js";
import { icmpMatches } from "../../src/adapters/pf/render/port-ranges.js";
import { render } from "../../src/adapters/pf/render/render.js";
import type { Ruleset, Subject } from "../../src/model/ruleset.js";
import { rulesetOf, type WorkloadSpec } from "../kernel/rulesets.js";
import { parseAnchor } from "./grammar.js";
import { PfModel, type Packet } from "./model.js";

const WEB = "10.0.0.1";
const CLIENT = "192.0.2.7";

const web = (spec: Partial<WorkloadSpec>): Ruleset =>
  rulesetOf("mac-1", { "shop/web": { cgroup: null, addresses: [WEB], ...spec } });

const tcp = (way: Partial<Packet> & Pick<Packet, "direction" | "from" | "to">): Packet => ({
  ...{ iface: "en0", protocol: 6, sourcePort: 50_000, port: 80, opens: true, user: "root" },
  ...way,
});
const REQUEST = tcp({ direction: "in", from: CLIENT, to: WEB });
const ANSWER = tcp({ direction: "out", from: WEB, to: CLIENT, sourcePort: 80, port: 50_000, opens: false });

t.test("replies of an allowed connection pass, and packets that only look like replies do not", async (t) => {
  const model = new PfModel(
    render(web({ ingress: { allow: [{ peers: [`${CLIENT}/32`], ports: ["tcp/80"] }] }, egress: { allow: [] } })).text,
  );
  t.equal(model.decide(ANSWER).passes, false, "an answer to nothing");
  t.match(model.decide(REQUEST), { passes: true, byState: false });
  t.match(model.decide(ANSWER), { passes: true, byState: true });
  t.equal(model.decide({ ...ANSWER, port: 50_001 }).passes, false, "to another port");
  t.equal(model.decide({ ...ANSWER, opens: true, sourcePort: 50_000, port: 80 }).passes, false, "a connection back");
});

t.test("a pf state outlives its rule until it is killed; a later reply does not restore it", async (t) => {
  const before = web({
    ingress: { allow: [{ peers: "any", ports: ["tcp/80"] }] },
    egress: { allow: [{ peers: "any", ports: ["tcp/50000"] }] },
  });
  const after = web({ ingress: { allow: [] }, egress: { allow: [{ peers: "any", ports: ["tcp/50000"] }] } });
  const model = new PfModel(render(before).text);
  model.decide(REQUEST);
  model.load(render(after).text);
  t.equal(model.decide({ ...REQUEST, opens: false }).passes, true);
  model.kill(CLIENT, WEB);
  t.equal(model.decide({ ...REQUEST, opens: false }).passes, false);
  // Port 50000 of the client is one that the workload may connect to; its answer opens no connection, though.
  t.equal(model.decide(ANSWER).passes, false);
  t.equal(model.decide({ ...REQUEST, opens: false }).passes, false);
});

t.test("a workload talks to itself over the loopback device, and from nowhere else", async (t) => {
  const model = new PfModel(render(web({ ingress: { allow: [] }, egress: { allow: [] } })).text);
  for (const direction of ["in", "out"] as const) {
    t.equal(model.decide(tcp({ direction, from: WEB, to: WEB, iface: "lo0" })).passes, true, direction);
    t.equal(model.decide(tcp({ direction, from: WEB, to: WEB })).passes, false, `${direction} on the wire`);
    t.equal(model.decide(tcp({ direction, from: "10.0.0.2", to: "10.0.0.3" })).passes, true, "nobody's addresses");
  }
});

t.test(
  "a rule that pf cannot express is named, and its workload closed in both directions; audit mode closes nothing",
  async (t) => {
    const of = (spec: Partial<WorkloadSpec>, ...more: readonly Subject[]) => {
      const ruleset = web(spec);
      return render({ ...ruleset, subjects: [...ruleset.subjects, ...more] });
    };
    const sctp = { allow: [{ peers: "any", ports: ["sctp/80"] }] } as const;
    const refused = of({ ingress: sctp });
    t.match(refused.refusals, [{ workload: "shop/web", rule: { key: "shop/web/ingress/0" }, message: /SCTP ports/ }]);
    t.strictSame([...refused.closed], ["shop/web"]);
    const model = new PfModel(refused.text);
    t.equal(model.decide(REQUEST).passes, false);
    t.equal(
      model.decide(tcp({ direction: "out", from: WEB, to: CLIENT })).passes,
      false,
      "also where it is not isolated",
    );
    t.match(of({ ingress: { ...sctp, mode: "audit" } }), { refusals: [{}], closed: new Set() });
    t.same(parseAnchor(of({ ingress: { ...sctp, mode: "audit" } }).text).rules, []);
    t.same(
      of({ ingress: { allow: [{ peers: "any", ports: ["sctp"] }] } }).refusals,
      [],
      "SCTP as a whole is a protocol",
    );
    t.match(of({ ingress: { allow: [] }, addresses: [] }).refusals, [{ message: /has no address of its own/ }]);
    t.match(of({ ingress: { allow: [] }, addresses: ["fe80::1"] }).refusals, [
      { message: /the interface of the link-local/ },
    ]);
    t.match(of({ ingress: { allow: [{ peers: "any", ports: ["icmp/65535"] }] } }).refusals, [{ message: /255/ }]);
    t.same(of({ addresses: [] }).refusals, [], "a workload that nothing isolates asks for nothing");
    const other: Subject = { ...web({}).subjects[0]!, workload: "shop/api" };
    t.match(of({ ingress: { allow: [] } }, other).refusals, [
      { workload: "shop/web", message: /shop\/api.*10\.0\.0\.1/ },
    ]);
  },
);

t.test("ranges of ICMP types and codes are split, and merged again", async () => {
  fc.assert(
    fc.property(fc.nat(65535), fc.nat(65535), (a, b) => {
      const [first, last] = [Math.min(a, b), Math.max(a, b)];
      const { matches, isExact } = icmpMatches({ protocol: "ICMP", first, last });
      const covered = new Set(
        matches.flatMap(({ type, code }) =>
          (type === null ? Array.from({ length: 256 }, (_one, at) => at) : [type]).flatMap((one) =>
            code === null ? Array.from({ length: 256 }, (_one, at) => (one << 8) | at) : [(one << 8) | code],
          ),
        ),
      );
      let wanted = 0;
      for (let at = first; at <= last; at++) {
        if (covered.has(at)) wanted += 1;
        else if (isExact) return false;
      }
      return wanted === covered.size;
    }),
    { numRuns: 200 },
  );
});

/** Made to end strings, comments, lines and rules, and to begin others. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '"',
        "\\",
        "\n",
        "\r\n",
        "\\\n",
        "#",
        "{",
        "}",
        "<",
        ">",
        "$nr",
        "!",
        " quick ",
        "\u2028",
        "\u0000",
      ),
      fc.constantFrom("\npass quick all\n", '" keep state\npass quick all label "', "\\\npass all", "é", "\u202e"),
      fc.string({ maxLength: 8, unit: "binary" }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

t.test("no name, file or user can add or change a rule in the text", async (t) => {
  const plain = rulesetOf("n", {
    "a/b": {
      cgroup: null,
      addresses: [WEB, "fd00::1"],
      ingress: { allow: [{ peers: "any", ports: ["tcp/80"] }] },
      egress: { allow: [], mode: "audit" },
    },
    "c/d": { cgroup: null, addresses: ["10.0.0.2"], egress: { allow: [{ peers: "any", ports: ["sctp/1"] }] } },
  });
  const shape = ({ rules }: ReturnType<typeof parseAnchor>) => rules.map((rule) => ({ ...rule, label: "" }));
  const wanted = shape(parseAnchor(render(plain).text));
  fc.assert(
    fc.property(hostile, hostile, hostile, (node, name, file) => {
      const text = JSON.stringify(plain);
      const ruleset: Ruleset = JSON.parse(text, (key, value: unknown) => {
        if (typeof value !== "string") return value;
        if (key === "node") return node;
        if (key === "workload" || key === "namespace" || key === "name") return `${value}${name}`;
        if (key === "key" || key === "profile") return `${value}${name}`;
        return value;
      });
      const withFiles = {
        ...ruleset,
        profiles: ruleset.profiles.map((profile) => ({
          ...profile,
          rules: profile.rules.map((rule) => ({ ...rule, file, line: 1 })),
        })),
      };
      const rendered = render(withFiles);
      t.same(shape(parseAnchor(rendered.text)), wanted);
    }),
    { numRuns: 300 },
  );
});

t.test("a user or an address that the schema would refuse is never written", async (t) => {
  fc.assert(
    fc.property(hostile, (user) => {
      const ruleset = web({ ingress: { allow: [{ peers: "any", ports: ["tcp/80"] }] } });
      const rendered = render({ ...ruleset, subjects: ruleset.subjects.map((subject) => ({ ...subject, user })) });
      t.equal(rendered.refusals.length === 1, !/^(?!unknown$)[A-Za-z_][A-Za-z0-9._-]{0,30}$/.test(user));
      t.ok(parseAnchor(rendered.text).rules.every((rule) => rule.user === null || rule.user === user));
    }),
  );
  t.throws(() => render(web({ addresses: ["10.0.0.1 to any\npass all"], ingress: { allow: [] } })), TypeError);
  t.throws(() => render(web({ ingress: { allow: [{ peers: ["any"], ports: "any" }] } })), TypeError);
});

t.test("labels are one word and comments one line, and shortened labels stay distinct", async (t) => {
  fc.assert(
    fc.property(hostile, (text) => {
      t.match(labelOf("rule", text), /^ztap:r:[0-9a-f]{16}:[A-Za-z0-9./_-]*$/);
      t.ok(labelOf("rule", text).length <= 63);
      t.match(commentOf(text), /^# [\x20-\x5b\x5d-\x7e]*$/);
    }),
  );
  const long = "namespace/".padEnd(200, "x");
  t.not(labelOf("rule", `${long}1`), labelOf("rule", `${long}2`));
  t.not(labelOf("denied", "a"), labelOf("audited", "a"));
});
