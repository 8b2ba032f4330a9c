/** Flags with which an operator accepts a risk. */
import { Flags } from "@oclif/core";

export const RISK_FLAGS = {
  "allow-empty": Flags.boolean({
    description: "take a source without any object at its word",
    env: "ZTAP_ALLOW_EMPTY",
  }),
  "allow-lockout": Flags.boolean({
    description: "allow a policy to cut agents off, or SSH sessions in use",
    env: "ZTAP_ALLOW_LOCKOUT",
  }),
  "auto-approve": Flags.boolean({ description: "do not ask", env: "ZTAP_AUTO_APPROVE" }),
  force: Flags.boolean({ description: "also while its agent runs", env: "ZTAP_FORCE" }),
  override: Flags.boolean({ description: "commit over what the polled source says", env: "ZTAP_OVERRIDE" }),
};
