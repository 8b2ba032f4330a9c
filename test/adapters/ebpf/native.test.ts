import t from "tap";
import { featureCheck } from "../../../src/adapters/ebpf/doctor.js";
import { isNativeFailure, loadNative } from "../../../src/adapters/ebpf/kernel/native.js";
import { whyNot } from "../../kernel/sandbox.js";
import { withReason } from "../../../src/model/system-error.js";

const reason = process.platform === "linux" ? false : "the addon is Linux's";
await t.test("errors of the addon read like errors of Node.js", { skip: reason }, async (t) => {
  try {
    loadNative().loadObject("/no/such/file.o", "/nowhere", [], []);
    t.fail("there is no such file");
  } catch (error) {
    t.ok(isNativeFailure(error));
    t.match(error, { code: "ENOENT", errno: -2 });
    t.equal(withReason("file.o", error), "file.o: no such file or directory; check the path");
  }
});

await t.test("a missing kernel feature is named with its fix", async (t) => {
  const ring = { name: "ring buffer (BPF_MAP_TYPE_RINGBUF)", since: "5.8", option: "CONFIG_BPF_SYSCALL" };
  const btf = { name: "BTF of the kernel", since: "5.4", option: "CONFIG_DEBUG_INFO_BTF" };
  const lacking = [
    { ...ring, present: false },
    { ...btf, present: false },
  ];
  t.strictSame(featureCheck(lacking, "5.4.0"), {
    name: "kernel features",
    state: "failed",
    detail:
      "Linux 5.4.0 lacks ring buffer (BPF_MAP_TYPE_RINGBUF), which Linux 5.8 and later have where built with CONFIG_BPF_SYSCALL=y; " +
      "BTF of the kernel, which Linux 5.4 and later have where built with CONFIG_DEBUG_INFO_BTF=y",
    fix: "Boot a kernel that has them: Debian 12's own (linux-image-amd64) does. One of your own needs CONFIG_BPF_SYSCALL=y and CONFIG_DEBUG_INFO_BTF=y.",
  });
  t.match(featureCheck([{ ...ring, present: true }], "6.1.0"), {
    state: "ok",
    detail: "Linux 6.1.0 has all 1",
    fix: null,
  });
});

await t.test("each feature is probed in the kernel", { skip: whyNot() ?? false }, async (t) => {
  const features = loadNative().kernelFeatures();
  t.ok(features.length > 5);
  const lacking = features.filter(({ present }) => !present).map(({ name }) => name);
  t.strictSame(lacking, [], "the programs load here, so none is missing");
});
