/** Wiring of `ztap doctor`: the checks of the machine, of git, of the store and of the source. */
import { messageInWords } from "../model/system-error.js";
import type { Settings } from "../settings/settings.js";
import { describeExpiries } from "../operations/cluster/certificates.js";
import { systemClock } from "./host.js";
import { readExpiries, withStore } from "./store.js";
import type { Check } from "../model/doctor.js";
import { configuredSource, openRepository } from "./source.js";

/** Checks the machine for enforcement, git, the store and the source, for `ztap doctor`. */
export async function examineMachine(settings: Settings): Promise<readonly Check[]> {
  const kernel = await examineBackend(settings);
  const git = await examine("git", "install git 2.30 or newer", async () => {
    const { gitVersion } = await import("../adapters/git/git.js");
    return gitVersion();
  });
  const store = await examine("store", "run as root, or choose another with --store", async () => {
    const head = await withStore(settings, { create: false }, (opened) => opened.readHead());
    return head === null ? "empty" : `revision ${head}`;
  });
  const certificates = await examineCertificates(settings);
  const choice = configuredSource(settings);
  if (choice === null) return [...kernel, git, store, ...certificates];
  const source = await examine(
    "source",
    "check the URL, the branch and the credentials of the user that runs the agent",
    async () => {
      const tip = await (await openRepository(settings, choice)).readTip();
      return `tip is ${tip.slice(0, 12)}`;
    },
  );
  return [...kernel, git, store, ...certificates, source];
}

async function examineCertificates(settings: Settings): Promise<readonly Check[]> {
  const nowMs = systemClock.now();
  return (await readExpiries(settings)).map((certificate) => {
    const [problem] = describeExpiries([certificate], nowMs);
    const { setting, file, expiresAt } = certificate;
    const hasExpired = Date.parse(expiresAt) <= nowMs;
    return {
      name: setting,
      state: problem === undefined ? "ok" : hasExpired ? "failed" : "warning",
      detail: `${file} ${hasExpired ? "expired at" : "is valid until"} ${expiresAt}`,
      fix: problem === undefined ? null : "renew it: ztap cluster renew; or ztap cluster bootstrap, and copy it",
    };
  });
}

async function examineBackend({ pinRoot }: Settings): Promise<readonly Check[]> {
  if (process.platform === "darwin") {
    const { checkPf } = await import("../adapters/pf/doctor.js");
    return checkPf();
  }
  const { checkKernel, checkVersions } = await import("../adapters/ebpf/doctor.js");
  return process.platform === "linux" ? [...checkKernel({}), checkVersions(pinRoot)] : checkKernel({});
}

const toCheck = (name: string, ok: boolean, detail: string, fix: string): Check => ({
  name,
  state: ok ? "ok" : "failed",
  detail,
  fix: ok ? null : fix,
});

async function examine(name: string, fix: string, look: () => Promise<string>): Promise<Check> {
  try {
    return toCheck(name, true, await look(), fix);
  } catch (error) {
    // Most errors contain their own advice, which then replaces the general one.
    const [, detail, advice] = /^(.*); ([^;]+)$/s.exec(messageInWords(error)) ?? [];
    return toCheck(name, false, detail ?? messageInWords(error), advice ?? fix);
  }
}
