/** `ztap doctor` and `ztap setup` on terminals of any width: no line is wider, and no word is cut. */
import t from "tap";
import type { Check } from "../../src/model/doctor.js";
import { renderDoctor } from "../../src/views/doctor.js";
import { renderNodeSetup, renderNodeSetupPlan } from "../../src/views/node-setup.js";
import { plainStyle } from "../../src/views/style.js";

const CHECKS: readonly Check[] = [
  { name: "Linux", state: "ok", detail: "yes", fix: null },
  {
    name: "sockets of other families",
    state: "warning",
    detail: "this kernel takes no programs at its security functions: isolated workloads of one namespace can talk",
    fix: "give such workloads network namespaces of their own, or boot a kernel that takes them",
  },
  {
    name: "store",
    state: "failed",
    detail: "etcd at 127.0.0.1:2379 cannot be reached, or has no majority",
    fix: "start it",
  },
];
const PLAN = {
  ...{
    file: "/etc/ztap/config.yaml",
    action: "replace" as const,
    text: "# A comment that is rather long, of sixty or more\nnode: n1\n",
  },
  ...{ backup: "/etc/ztap/config.yaml.ztap-backup" },
  warnings: ["the name of this node changes from web-1 to web-2: what is enforced is kept by name until a reboot"],
};
const DONE = { plan: PLAN, checks: CHECKS, isWritten: false, units: null };

const words = (text: string) => text.split(/\s+/).filter((word) => word !== "");

for (const width of [40, 60, 80, 120])
  t.test(`${width} columns`, async (t) => {
    const style = { ...plainStyle, width };
    for (const render of [
      (one: typeof style) => renderDoctor(CHECKS, one),
      (one: typeof style) => renderNodeSetup(DONE, one),
      (one: typeof style) => renderNodeSetupPlan(PLAN, one),
    ]) {
      const [text, whole] = [render(style), render(plainStyle)];
      for (const line of text.split("\n")) t.ok(line.length <= width, line);
      t.same(words(text), words(whole), "the same words");
    }
  });

t.test("what is wrapped stands below its text, or on a narrow terminal below its name", async (t) => {
  const indents = (width: number) =>
    renderDoctor(CHECKS, { ...plainStyle, width })
      .split("\n")
      .filter((line) => line.startsWith(" "))
      .map((line) => line.search(/[^ ]/));
  t.ok(indents(60).every((indent) => indent === 11 || indent === 13));
  t.ok(indents(120).every((indent) => indent === 36 || indent === 38));
  t.notMatch(renderDoctor(CHECKS, plainStyle), /^ +[^ →]/m, "one line each without a terminal");
});

t.test("the last line counts failures, and warnings where there is none", async (t) => {
  t.match(renderDoctor(CHECKS, plainStyle), /\n1 of 3 checks failed\.$/);
  t.match(renderDoctor(CHECKS.slice(0, 2), plainStyle), /everything that enforcement needs\. 1 warning: see above\.$/);
  t.match(renderDoctor(CHECKS.slice(0, 1), plainStyle), /everything that enforcement needs\.$/);
});
