/** The flags of lists and reports: how they are printed, and of which namespace; which of them go together. */
import { Args, Flags } from "@oclif/core";
import { OperationError } from "../model/operation-error.js";

export const OUTPUT_FLAGS = {
  output: Flags.option({ char: "o", options: ["table", "wide", "json", "yaml"] as const })({
    description: "output format; wide has more columns, json is --json",
    env: "ZTAP_OUTPUT",
  }),
};

/** For a report that can be followed. */
export const WATCH_FLAG = {
  watch: Flags.boolean({
    char: "w",
    description: "show it again whenever it changes, until Ctrl-C; as JSON, one document a line",
    env: "ZTAP_WATCH",
  }),
};

export const LIST_FLAGS = {
  ...OUTPUT_FLAGS,
  "no-headers": Flags.boolean({ description: "only rows: neither titles nor notes", env: "ZTAP_NO_HEADERS" }),
  watch: Flags.boolean({
    char: "w",
    description: "continue with every row that changes, until Ctrl-C; as JSON, one document a line",
    env: "ZTAP_WATCH",
  }),
};

/** For a command that takes the name of one object. */
export const NAMESPACE_FLAG = {
  namespace: Flags.string({
    char: "n",
    description: "namespace of a name that is given without one (default: default)",
    env: "ZTAP_NAMESPACE",
    helpValue: "NAMESPACE",
  }),
};

/** For a list that can be of one object. */
export const NAME_ARG = Args.string({
  ignoreStdin: true,
  description: "NAMESPACE/NAME, or NAME in the namespace default; left out: all",
});

const ALL_NAMESPACES = Flags.boolean({
  char: "A",
  description: "every namespace, also where ZTAP_NAMESPACE names one",
});

/** For a command that shows objects of several namespaces. */
export const NAMESPACE_FILTER = {
  namespace: Flags.string({
    char: "n",
    description: "only this namespace (default: all)",
    env: "ZTAP_NAMESPACE",
    helpValue: "NAMESPACE",
  }),
  "all-namespaces": ALL_NAMESPACES,
};

type Values = Readonly<Record<string, unknown>>;

/**
 * Returns the flags that follow from others. One from the command line beats one from a variable.
 * @param typed names of the flags on the command line
 * @param takesOutput whether the command has --output
 * @throws OperationError `usage` for flags that exclude each other
 */
export function settleOutput(flags: Values, typed: ReadonlySet<string>, takesOutput: boolean): Values {
  const settled: Record<string, unknown> = {};
  const { output } = flags;
  if (takesOutput) {
    const isJson = typed.has("json") ? flags["json"] === true : null;
    if (isJson === true && typed.has("output") && output !== "json")
      throw excluded("--json", `--output ${String(output)}`);
    settled["output"] = isJson === true ? "json" : (output ?? (flags["json"] === true ? "json" : "table"));
    settled["json"] = settled["output"] === "json";
    const isDocument = settled["output"] === "json" || settled["output"] === "yaml";
    if (isDocument && typed.has("no-headers"))
      throw new OperationError("usage", `--no-headers has no effect on ${String(settled["output"])}; give one of them`);
  }
  if (typed.has("namespace") && typed.has("all-namespaces")) throw excluded("--namespace", "--all-namespaces");
  if (flags["all-namespaces"] === true) settled["namespace"] = undefined;
  return settled;
}

function excluded(one: string, other: string): OperationError {
  return new OperationError("usage", `${one} and ${other} exclude each other; give one of them`);
}

/**
 * Returns the name of an object with the namespace of `--namespace`, where the name itself has none.
 * @throws OperationError `usage` where the command line names two namespaces
 */
export function inNamespace(name: string, namespace: string | undefined, isTyped: boolean): string {
  if (namespace === undefined) return name;
  const [first = "", ...rest] = name.split("/");
  if (rest.length === 0) return `${namespace}/${name}`;
  if (isTyped && first !== namespace)
    throw new OperationError(
      "usage",
      `${name} is in the namespace ${first}, and --namespace is ${namespace}; give one of them`,
    );
  return name;
}
