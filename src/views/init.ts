/** The files that `ztap init` made, and the next steps. */
import type { Style } from "./style.js";

interface Made {
  readonly created: readonly string[];
  readonly kept: readonly string[];
  readonly initialized: boolean;
  readonly problem: string | null;
}

export function initDocument(dir: string, made: Made): object {
  return { formatVersion: 1, dir, ...made };
}

export function renderInit(dir: string, { created, kept, initialized, problem }: Made, style: Style): string {
  const enter = dir === "." ? [] : [style.line`  cd ${dir}`];
  return [
    ...created.map((file) => style.line`${style.good("created")}  ${file}`),
    ...kept.map((file) => style.line`${style.dim("kept   ")}  ${file}`),
    ...(initialized ? [style.line`${style.good("created")}  .git (branch main)`] : []),
    ...(problem === null ? [] : [style.line`${style.warn("missing")}  .git: ${problem}, then run \`git init\` here`]),
    "",
    "Next:",
    ...enter,
    "  ztap validate",
    "  ztap plan",
  ].join("\n");
}
