/** The node's key file: made once, private, and refused where it is not. */
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { nodeKeyPath, openNodeKey } from "../../src/adapters/disk/node-key.js";

const folder = mkdtempSync(join(tmpdir(), "ztap-key-"));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => nodeKeyPath(folder, name);

t.test("it is made once, and its owner alone may read it", async (t) => {
  const made = openNodeKey(path("a"));
  t.match(made.publicKey, /^[\w-]{43}$/);
  t.equal(statSync(path("a")).mode & 0o777, 0o600);
  t.equal(openNodeKey(path("a")).publicKey, made.publicKey);
  t.same(readdirSync(join(folder, "nodes")), ["a.key"], "nothing is left beside it");
});

t.test("two nodes agree on one secret, and a third one does not", async (t) => {
  const [a, b, c] = [openNodeKey(path("a")), openNodeKey(path("b")), openNodeKey(path("c"))];
  t.same(a.agree(b.publicKey), b.agree(a.publicKey));
  t.notSame(a.agree(b.publicKey), c.agree(b.publicKey));
  t.equal(a.agree(b.publicKey)?.length, 32);
});

t.test("what is no public key, or a weak one, gives no secret", async (t) => {
  const a = openNodeKey(path("a"));
  const zero = Buffer.alloc(32);
  const one = Buffer.alloc(32);
  one.writeUInt8(1);
  for (const text of [
    "",
    "short",
    `${a.publicKey}A`,
    `${a.publicKey.slice(0, 42)}=`,
    zero.toString("base64url"),
    one.toString("base64url"),
  ])
    t.equal(a.agree(text), null, text);
});

t.test("a file that others may read, or that is no such key, is refused with its path", async (t) => {
  openNodeKey(path("open"));
  chmodSync(path("open"), 0o640);
  t.throws(() => openNodeKey(path("open")), { code: "bad-key", message: /others may read .*open\.key.*chmod 600/ });
  writeFileSync(path("text"), "no key", { mode: 0o600 });
  t.throws(() => openNodeKey(path("text")), { code: "bad-key", message: /text\.key is no X25519 key/ });
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(path("other"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  t.throws(() => openNodeKey(path("other")), { code: "bad-key", message: /it is of the type ed25519/ });
  symlinkSync(path("a"), path("link"));
  t.throws(() => openNodeKey(path("link")), { code: "bad-key" });
  t.equal(readFileSync(path("text"), "utf8"), "no key", "and is left as it is");
});
