/** A change costs what changes: what is written to the kernel is counted at the edge of the native part. */
import t from "tap";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { rulesetOf } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const RULES = 10_000;
/** Each call, and of those that take entries how many they took, by the size of the keys of the maps here. */
const WRITES = ["mapWrite", "mapDelete", "mapSet", "linkCreate", "linkUpdate", "linkDetach", "pin"] as const;

const reason = whyNot();
await t.test("the cost of an apply is proportional to the change", { skip: reason ?? false }, async (t) => {
  const sandbox = new Sandbox(t);
  const [node, cgroup] = [sandbox.node("proportion"), sandbox.cgroup("proportion")];
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  /** @param changed the rule that allows another port than the others */
  const rules = (changed: number): Ruleset => {
    const allow = Array.from({ length: RULES }, (_unused, at) => ({
      peers: [`10.${at >> 8}.${at & 255}.0/24`],
      ports: [`tcp/${at === changed ? 9 : 1000 + (at % 100)}`],
    }));
    return rulesetOf(node, { "demo/web": { cgroup, ingress: { allow } } });
  };
  const native = loadNative();
  const written = { calls: 0, entries: 0 };
  for (const name of WRITES) {
    const real: unknown = Reflect.get(native, name);
    if (!(real instanceof Function)) throw new TypeError(name);
    Reflect.set(native, name, (...args: unknown[]): unknown => {
      written.calls += 1;
      const [fd, keys] = args;
      const takesEntries = (name === "mapWrite" || name === "mapDelete") && typeof fd === "number";
      written.entries += takesEntries && Buffer.isBuffer(keys) ? keys.length / native.mapInfo(fd).keySize : 1;
      return Reflect.apply(real, native, args);
    });
    t.teardown(() => Reflect.set(native, name, real));
  }
  const costOf = async (ruleset: Ruleset): Promise<typeof written> => {
    Object.assign(written, { calls: 0, entries: 0 });
    await enforcer.apply(ruleset);
    await enforcer.observe(ruleset);
    return { ...written };
  };
  t.ok((await costOf(rules(-1))).entries > 2 * RULES, "the first time everything is written");
  t.ok((await costOf(rules(-1))).entries > 2 * RULES, "and once more into the other set");
  t.same(await costOf(rules(-1)), { calls: 0, entries: 0 }, "what is in force already costs nothing");
  // One entry of the ports, its class in the addresses where the class is another, and the rule's counter.
  for (const changed of [7, 9_000, 500]) {
    const { calls, entries } = await costOf(rules(changed));
    t.ok(entries <= 12, `a change and the one before it: ${entries} entries in ${calls} calls`);
  }
  t.ok((await costOf(rules(500))).entries <= 12, "the other set follows");
  t.same(await costOf(rules(500)), { calls: 0, entries: 0 });
});
