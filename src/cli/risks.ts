/**
 * Flags by which an operator accepts a risk. They have no variable: a variable would accept the risk for every later
 * command of the same shell or service.
 */
import { Flags } from "@oclif/core";

export const RISK_FLAGS = {
  "allow-empty": Flags.boolean({ description: "accept a source without any object, which deletes everything" }),
  "allow-lockout": Flags.boolean({ description: "allow a policy to cut agents off, or SSH sessions in use" }),
  "auto-approve": Flags.boolean({ description: "do not ask" }),
  force: Flags.boolean({ description: "remove the node even if its agent is running" }),
  override: Flags.boolean({ description: "commit over the state of the polled source" }),
};

type CommandFlags = Readonly<Record<string, { readonly env?: string }>>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Returns one warning for each flag of a command whose former variable is set. */
export function ignoredVariables(flags: CommandFlags, environment: Environment): readonly string[] {
  return Object.entries(flags)
    .filter(([flag, { env }]) => Object.hasOwn(RISK_FLAGS, flag) && env === undefined)
    .map(([flag]) => [flag, `ZTAP_${flag.replaceAll("-", "_").toUpperCase()}`] as const)
    .filter(([, variable]) => (environment[variable] ?? "") !== "")
    .map(([flag, variable]) => `${variable} is ignored: --${flag} counts only on the command line`);
}
