/** Earlier versions of a policy, and the difference between two, as text or as documents. */
import { digestOf } from "../model/digest.js";
import { qualifiedName } from "../model/state.js";
import type { VersionContent, VersionPair } from "../operations/policy/versions.js";
import { diffObjects } from "./changes.js";
import { describeReason } from "./revisions.js";
import type { Style } from "./style.js";
import { toYamlLines } from "./yaml.js";

export function policyVersionDocument(content: VersionContent): object {
  return { formatVersion: 1, ...contentDocument(content) };
}

export function renderPolicyVersion(content: VersionContent, style: Style): string {
  const { version, policy } = content;
  const facts = [
    ["Policy", `${style.bold(qualifiedName(version))}  version ${version.version}`],
    ["Committed", describeCommitted(content)],
  ];
  const width = Math.max(...facts.map(([name = ""]) => name.length));
  return [
    ...facts.map(([name = "", value = ""]) => style.line`${name.padEnd(width)}  ${value}`),
    "",
    ...toYamlLines({ spec: policy.spec }, { sorted: false }).map(style.dim),
  ].join("\n");
}

export function policyDiffers({ before, after }: VersionPair): boolean {
  return digestOf(before.policy) !== digestOf(after.policy);
}

export function policyDiffDocument(pair: VersionPair): object {
  const { before, after } = pair;
  return {
    formatVersion: 1,
    before: contentDocument(before),
    after: contentDocument(after),
    differs: policyDiffers(pair),
  };
}

export function renderPolicyDiff(pair: VersionPair, style: Style): string {
  const { before, after } = pair;
  const head = (sign: string, content: VersionContent): string =>
    style.line`${sign} ${style.bold(qualifiedName(content.version))} version ${content.version.version}  ${style.dim(describeCommitted(content))}`;
  if (!policyDiffers(pair)) {
    const [first, second] = [before.version.version, after.version.version];
    return style.line`No difference: versions ${first} and ${second} of ${qualifiedName(after.version)} have the same content.`;
  }
  const lines = diffObjects(before.policy, after.policy).map((line) =>
    line.startsWith("+") ? style.good(line) : line.startsWith("-") ? style.bad(line) : style.dim(line),
  );
  return [head("---", before), head("+++", after), ...lines].join("\n");
}

function contentDocument({ version, policy }: VersionContent): object {
  return { version, spec: policy.spec };
}

function describeCommitted({ version }: VersionContent): string {
  const { revision, updatedAt, author, commit } = version;
  if (revision === null) return `${updatedAt}, by a revision that was pruned`;
  const from = commit === null ? "" : `, commit ${commit.slice(0, 12)}`;
  return `${updatedAt}, revision ${revision}${from}, ${author ?? "?"}: ${describeReason(version)}`;
}
