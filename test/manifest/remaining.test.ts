/** The prefixes of a block with exceptions are counted without being listed: the count is that of the list. */
import { excludeCidr } from "cidr-tools";
import fc from "fast-check";
import t from "tap";
import { checkCidr, countRemaining, type Cidr } from "../../src/manifest/document/address.js";

function cidr(text: string): Cidr {
  const checked = checkCidr(text);
  if (!checked.ok) throw new TypeError(text);
  return checked.value;
}

/** Blocks of the first addresses of a space, so that they meet, lie in each other and reach its borders. */
const block = (family: 4 | 6) =>
  fc
    .record({ bits: fc.integer({ min: 0, max: 8 }), number: fc.nat(255), isLast: fc.boolean() })
    .map(({ bits, number, isLast }) => {
      const start = (number >> bits) << bits;
      if (family === 4) return `${isLast ? "255.255.255" : "0.0.0"}.${start}/${32 - bits}`;
      return cidr(
        `${isLast ? "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff" : "::"}${start.toString(16).padStart(2, "0")}/${128 - bits}`,
      ).text;
    });

t.test("the count is the length of the list", async (t) => {
  for (const family of [4, 6] as const) {
    const outer = family === 4 ? "0.0.0.0/0" : "::/0";
    fc.assert(
      fc.property(fc.array(block(family), { minLength: 1, maxLength: 12 }), (excepts) => {
        const listed = excludeCidr([outer], excepts).length;
        return countRemaining(cidr(outer), excepts.map(cidr)) === listed;
      }),
    );
  }
  for (const [outer, excepts] of [
    ["10.0.0.0/8", []],
    ["10.0.0.0/8", ["10.0.0.0/9", "10.128.0.0/9"]],
    ["10.0.0.0/31", ["10.0.0.0/32"]],
    ["::/0", ["::/128"]],
    ["::/0", ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]],
    ["2001:db8::/32", ["2001:db8:1::/48", "2001:db8:1:1::/64", "2001:db8:2::/48"]],
  ] as const)
    t.equal(countRemaining(cidr(outer), excepts.map(cidr)), excludeCidr([outer], [...excepts]).length, outer);
});
