/** The one line of pf.conf: where it goes, that nothing else changes, and the way back. And what doctor says of it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { addAnchorLine, findAnchorLine, removeAnchorLine } from "../../../src/adapters/pf/pf-conf.js";
import { checkPf } from "../../../src/adapters/pf/doctor.js";
import { applySetup, planSetup } from "../../../src/adapters/pf/setup.js";
import { Machine } from "../../pf/machine.js";

/** As macOS brings it. */
const APPLE = `#
# Default PF configuration file.
#
scrub-anchor "com.apple/*"
nat-anchor "com.apple/*"
rdr-anchor "com.apple/*"
dummynet-anchor "com.apple/*"
anchor "com.apple/*"
load anchor "com.apple" from "/etc/pf.anchors/com.apple"
`;

t.test(
  "the anchor line stands before every other filter rule, and after the sections that pf wants first",
  async (t) => {
    const lines = addAnchorLine(APPLE).split("\n");
    const at = lines.indexOf('anchor "ztap"');
    t.equal(lines[at + 1], 'anchor "com.apple/*"');
    t.equal(lines[at - 2], 'dummynet-anchor "com.apple/*"');
    t.equal(addAnchorLine(addAnchorLine(APPLE)), addAnchorLine(APPLE), "once");
    t.equal(
      addAnchorLine("set skip on lo0\npass \\\n  quick all"),
      addAnchorLine("set skip on lo0\npass \\\n  quick all"),
    );
    t.match(addAnchorLine("set block-policy drop\n"), /^set block-policy drop\n# ztap.*\nanchor "ztap"\n$/);
    t.match(
      addAnchorLine("set block-policy drop"),
      /^set block-policy drop\n# ztap/,
      "also without a line break at the end",
    );
    t.match(findAnchorLine("anchor ztap all # mine\nset skip on lo0"), { line: 1, skips: [{ line: 2 }] });
    t.match(findAnchorLine('pass in quick on lo0\nanchor "ztap"\npass quick all'), {
      line: 2,
      bypasses: [{ line: 1 }],
    });
  },
);

t.test("removing the line gives the original text", async () => {
  const line = fc.constantFrom(
    "",
    "# a comment",
    "pass all",
    'anchor "ztapx"',
    "set limit states 1",
    "block \\",
    "  in all",
    'load anchor "a" from "b"',
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const text = `${lines.join("\n")}\n`;
      return removeAnchorLine(addAnchorLine(text)) === text && findAnchorLine(addAnchorLine(text)).line !== null;
    }),
  );
});

t.test("setup checks, backs up, changes and loads the file; undo restores it", async (t) => {
  const machine = new Machine(t);
  machine.change(() => ({ main: ['anchor "com.apple/*" all'] }));
  const conf = join(machine.folder, "pf.conf");
  writeFileSync(conf, APPLE);
  const options = { conf, pfctl: machine.pfctl };
  t.match(await checkPf(options), [
    { state: "ok" },
    { state: "failed", detail: /has no line/, fix: /enforcement setup/ },
    { state: "failed", detail: /does not evaluate/ },
  ]);
  const plan = await planSetup(false, options);
  t.equal(readFileSync(conf, "utf8"), APPLE, "a plan changes nothing");
  t.match(await applySetup(plan, options), { changed: true, backup: `${conf}.ztap-backup` });
  t.equal(readFileSync(`${conf}.ztap-backup`, "utf8"), APPLE);
  t.strictSame(machine.state.main, ['anchor "ztap"', 'anchor "com.apple/*"']);
  t.strictSame(machine.state.calls.slice(-2), [`-n -f ${conf}.ztap-new`, `-f ${conf}`]);
  t.match(await checkPf(options), [
    { state: "ok" },
    { state: "ok", detail: /pf\.conf:9: anchor "ztap"/ },
    { state: "ok" },
  ]);
  t.match(await applySetup(await planSetup(false, options), options), { changed: false, backup: null });
  t.match(await applySetup(await planSetup(true, options), options), { changed: true });
  t.equal(readFileSync(conf, "utf8"), APPLE);
});

t.test("the file stays unchanged if pfctl refuses it, if it changed meanwhile, or if the load fails", async (t) => {
  const machine = new Machine(t);
  const conf = join(machine.folder, "pf.conf");
  const options = { conf, pfctl: machine.pfctl };
  await t.rejects(planSetup(false, options), { code: "unsupported", message: /cannot be read/ });
  writeFileSync(conf, APPLE);
  const plan = await planSetup(false, options);
  machine.change(() => ({ failCheck: true }));
  await t.rejects(applySetup(plan, options), { code: "kernel", message: /Checking the new .*syntax error/ });
  t.equal(readFileSync(conf, "utf8"), APPLE);
  machine.change(() => ({ failCheck: false, failLoad: true }));
  await t.rejects(applySetup(plan, options), { code: "kernel", message: /Loading/ });
  t.equal(readFileSync(conf, "utf8"), APPLE);
  writeFileSync(conf, `${APPLE}# somebody\n`);
  await t.rejects(applySetup(plan, options), { code: "busy", message: /was changed meanwhile/ });
  t.equal(readFileSync(conf, "utf8"), `${APPLE}# somebody\n`);
});

t.test(
  "doctor names rules that pass packets before the anchor, skipped interfaces, and a pf that cannot be read",
  async (t) => {
    const machine = new Machine(t);
    const conf = join(machine.folder, "pf.conf");
    writeFileSync(conf, 'set skip on lo0\npass quick all\nanchor "ztap"\n');
    machine.change(() => ({ main: ["pass quick all flags S/SA keep state", 'anchor "ztap" all'] }));
    const options = { conf, pfctl: machine.pfctl };
    t.match(await checkPf(options), [
      { name: "pf", state: "ok" },
      { name: "pf.conf", state: "failed", detail: /pf\.conf:2: `pass quick all` comes first/ },
      { state: "warning", detail: /pf\.conf:1: `set skip on lo0`/ },
      { state: "failed", detail: /comes before it/ },
    ]);
    machine.change(() => ({ notRoot: true }));
    t.match(await checkPf(options), [{ state: "failed", detail: /needs root/ }, {}, {}]);
    t.match(await checkPf({ conf, pfctl: "/nonexistent/pfctl" }), [{ state: "failed", detail: /there is no/ }, {}, {}]);
  },
);
