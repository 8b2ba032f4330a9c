/** What a field of a stored record may hold. */
import { readFileSync } from "node:fs";
import t from "tap";
import {
  isAddress,
  isCommitId,
  isDigest,
  isInstant,
  isLabel,
  isObjectName,
  isPort,
  isPositive,
  isQualifiedName,
  isText,
  isTime,
  isToken,
  listOf,
  type Guard,
} from "../../src/model/guards.js";
import { recordLine } from "../../src/model/printable.js";

const TABLE: readonly (readonly [string, Guard<unknown>, readonly unknown[], readonly unknown[]])[] = [
  ["label", isLabel, ["a", "web-1", "a".repeat(63)], ["", "A", "a.b", "-a", "a-", "a\n", "a".repeat(64), 1]],
  ["object name", isObjectName, ["a", "a.b-c.d"], ["", "a..b", "a/b", "a\n", "a".repeat(254)]],
  ["qualified name", isQualifiedName, ["a/b", "a/b.c"], ["a", "a/b/c", "/b", "a.b/c", "a/b\n"]],
  ["token", isToken, ["boot/1/2", "!"], ["", "a b", "a\n", "\u001b", "ä", "x".repeat(301)]],
  ["address", isAddress, ["", "a:1", "[::1]:2"], ["a:1\n", "a b:1", "\u202e:1"]],
  ["digest", isDigest, ["0".repeat(64), "ab".repeat(32)], ["", "0".repeat(63), "G".repeat(64), "AB".repeat(32)]],
  ["commit", isCommitId, ["0".repeat(40), "f".repeat(64)], ["HEAD", "0".repeat(41), `${"0".repeat(40)}\n`]],
  [
    "time",
    isTime,
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "9999-12-31T23:59:59.999Z"],
    ["", "9999-99-99", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00Z\n", "2026-01-01", 1],
  ],
  ["text", isText, ["", "a\nb", "x".repeat(65_536)], ["x".repeat(65_537), null, 1]],
  ["positive", isPositive, [1, Number.MAX_SAFE_INTEGER], [0, -1, 1.5, NaN, Infinity, 2 ** 53, "1"]],
  ["port", isPort, [0, 65_535], [-1, 65_536, 1.5]],
  ["instant", isInstant, [0, Date.UTC(2026, 0), 8.64e15], [-1, NaN, Infinity, 1e300, "1"]],
  ["list", listOf(isPort, 2), [[], [1, 2]], [[1, 2, 3], [-1], {}]],
];

for (const [name, guard, right, wrong] of TABLE)
  t.test(name, async (t) => {
    for (const value of right) t.ok(guard(value), JSON.stringify(value).slice(0, 80));
    for (const value of wrong) t.notOk(guard(value), JSON.stringify(value).slice(0, 80));
  });

t.test("names are held to the patterns of the schemas", async (t) => {
  const schema = JSON.parse(readFileSync(new URL("../../../schemas/common.schema.json", import.meta.url), "utf8"));
  const texts = [
    "a",
    "A",
    "a.b",
    "a..b",
    "-a",
    "a-",
    "a-b",
    "a_b",
    "",
    "a".repeat(63),
    "a".repeat(64),
    "a".repeat(254),
  ];
  for (const [definition, guard] of [
    ["DnsLabel", isLabel],
    ["DnsSubdomain", isObjectName],
  ] as const) {
    const pattern = new RegExp(schema.$defs[definition].pattern);
    for (const text of texts) t.equal(guard(text), pattern.test(text), `${definition}: ${text}`);
  }
});

t.test("a text for people is written as one bounded line", async (t) => {
  t.equal(recordLine("a\r\nb\tc\u001b[8m"), "a b c\ufffd[8m");
  t.equal(recordLine("x".repeat(4096)).length, 4096);
  t.match(recordLine("x".repeat(4097)), /^x{4094} …$/);
  t.ok(recordLine(`${"x".repeat(4093)}\u{1f600}${"x".repeat(9)}`).isWellFormed(), "no half of a character");
});
