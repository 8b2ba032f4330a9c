/** Patterns of names. */
import fc from "fast-check";
import t from "tap";
import { hasWildcard, matchesGlob } from "../../src/inventory/glob.js";

const ROWS: readonly (readonly [pattern: string, text: string, expected: boolean])[] = [
  ["web", "web", true],
  ["web", "web-1", false],
  ["web-*", "web-1", true],
  ["web-*", "web-", true],
  ["web-?", "web-", false],
  ["web-?", "web-1", true],
  ["*", "", true],
  ["?", "/", false],
  ["*-*-*", "a-b", false],
  ["*a*b", "xaxbxb", true],
  ["worker@*.service", "worker@3.service", true],
  ["worker@*.service", "worker@3.service.d", false],
  ["machine.slice/shop-*.scope", "machine.slice/shop-a.scope", true],
  ["machine.slice/shop-*.scope", "machine.slice/shop-a/b.scope", false],
  ["machine.slice/*", "machine.slice", false],
  ["a.c", "abc", false],
  ["[ab]", "a", false],
  ["[ab]", "[ab]", true],
];

t.test("each pattern means what docs/policies.md says", async (t) => {
  for (const [pattern, text, expected] of ROWS) t.equal(matchesGlob(pattern, text), expected, `${pattern} on ${text}`);
  t.same(["a", "a*", "a?"].map(hasWildcard), [false, true, true]);
});

t.test("a pattern matches as the regular expression of the same meaning does", async () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "/", "."), maxLength: 8 });
  const patterns = fc.string({ unit: fc.constantFrom("a", "b", "/", ".", "*", "?"), maxLength: 6 });
  fc.assert(
    fc.property(patterns, letters, (pattern, text) => {
      const source = pattern.replaceAll(".", "\\.").replaceAll("*", "[^/]*").replaceAll("?", "[^/]");
      return matchesGlob(pattern, text) === new RegExp(`^${source}$`).test(text);
    }),
    { numRuns: 2000 },
  );
});

t.test("no pattern costs more than its length times the text's", async (t) => {
  t.equal(matchesGlob(`${"*a".repeat(200)}b`, "a".repeat(4000)), false);
});
