import t from "tap";
import { isNativeFailure, loadNative } from "../../../src/adapters/ebpf/native.js";
import { withReason } from "../../../src/model/system-error.js";

const reason = process.platform === "linux" ? false : "the addon is Linux's";
await t.test("what the addon throws reads like what Node throws", { skip: reason }, async (t) => {
  try {
    loadNative().loadObject("/no/such/file.o", "/nowhere", [], []);
    t.fail("there is no such file");
  } catch (error) {
    t.ok(isNativeFailure(error));
    t.match(error, { code: "ENOENT", errno: -2 });
    t.equal(withReason("file.o", error), "file.o: no such file or directory; check the path");
  }
});
