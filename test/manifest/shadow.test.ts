import t from "tap";
import { findShadows, type RuleShape } from "../../src/manifest/state/shadowed-rules.js";

/** Rules that cover nothing of each other, but for the last two. */
function rules(count: number): { readonly list: readonly RuleShape[]; readonly compared: () => number } {
  let compared = 0;
  const list = Array.from({ length: count }, (_one, at) => ({
    get peers() {
      compared += 1;
      return undefined;
    },
    ports: [{ protocol: "TCP" as const, port: Math.min(at, count - 2) + 1 }],
  }));
  return { list, compared: () => compared };
}

t.test("rules are compared up to a bound, and beyond it not at all", async (t) => {
  const most = rules(500);
  t.match(findShadows(most.list).at(-1), { rule: 499, by: 498 });
  t.notOk(findShadows(most.list).some(({ rule }) => rule === 0));
  t.ok(most.compared() > 500);
  const more = rules(501);
  t.same(findShadows(more.list), []);
  t.equal(more.compared(), 0);
});
