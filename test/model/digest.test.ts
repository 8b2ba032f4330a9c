import t from "tap";
import { canonicalJson, digestOf } from "../../src/model/digest.js";

t.test("equal values give equal text, whatever the order of their keys", async (t) => {
  t.equal(canonicalJson({ b: [1, { z: 1, a: 2 }], a: "x" }), canonicalJson({ a: "x", b: [1, { a: 2, z: 1 }] }));
  t.equal(canonicalJson({ a: undefined, b: null }), '{"b":null}');
});

t.test("the digest is SHA-256 of the canonical text", async (t) => {
  t.equal(digestOf({}), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
  t.not(digestOf({ a: 1 }), digestOf({ a: 2 }));
});
