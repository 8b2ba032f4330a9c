/** The reasons why a connection is allowed or denied, as text or as a JSON document. */
import type { Explained } from "../operations/query/explain.js";
import type { DecidingRule, End, IsolatingPolicy, PairExplanation, Side } from "../policy/explain.js";
import { describePort } from "./connectivity.js";
import type { Style } from "./style.js";

export function explainDocument({ question, verdict, egress, ingress, pairs }: Explained): object {
  return { formatVersion: 1, verdict, ...question, egress, ingress, pairs };
}

export function renderExplanation({ question, ...explanation }: Explained, style: Style): string {
  const { from, to, protocol, port } = question;
  const title = (verdict: Side["verdict"], source: string, target: string) =>
    style.line`${paint(verdict, style)}  ${source} → ${target} ${describePort(protocol, port)}`;
  const sides = ({ egress, ingress }: Pick<PairExplanation, "egress" | "ingress">) => [
    ...renderSide(`  egress of ${nameOf(from)}`, egress, style),
    ...renderSide(`  ingress of ${nameOf(to)}`, ingress, style),
  ];
  const { pairs, verdict } = explanation;
  const areAlike = new Set(pairs.map(({ egress, ingress }) => JSON.stringify([egress, ingress]))).size <= 1;
  if (areAlike) return [title(verdict, nameOf(from), nameOf(to)), ...sides(explanation)].join("\n");
  return [
    title(verdict, nameOf(from), nameOf(to)),
    "The answer differs between their addresses:",
    ...pairs.flatMap((pair) => ["", title(pair.verdict, pair.from, pair.to), ...sides(pair)]),
  ].join("\n");
}

const nameOf = ({ workload, addresses }: End): string => workload ?? addresses.join(", ");

function paint(verdict: Side["verdict"], style: Style): string {
  return verdict === "Allowed" ? style.good(verdict) : style.bad(verdict);
}

function renderSide(title: string, side: Side, style: Style): readonly string[] {
  const why = {
    "no-workload": "no workload has this address, so no policy isolates it",
    "not-isolated": "no policy isolates it",
    breakglass: "break-glass: policy refuses nothing",
    quarantine: "it is in quarantine",
    rule: side.rules.length === 1 ? "by the rule" : "by the first of these rules",
    audit: "no rule allows it, and the policies only audit",
    "no-rule": "isolated, and no rule of these policies allows it",
    identity: `refused at the source: ${listOf(side.destinations)} does not let it in${side.sharing === undefined || side.sharing.length === 0 ? "" : `; it would by the address that it shares with ${listOf(side.sharing)}`}`,
  }[side.reason];
  const shared =
    side.reason === "identity" || side.sharing === undefined
      ? ""
      : `, by the address that it shares with ${listOf(side.sharing)}`;
  const details = side.reason === "rule" ? side.rules.map(ruleLine) : side.policies.map(policyLine);
  return [
    style.line`${title}: ${paint(side.verdict, style)}, ${why}${shared}`,
    ...details.map(([name, where]) => style.line`    ${name}${where === "" ? "" : style.dim(`  ${where}`)}`),
  ];
}

function listOf(names: readonly string[] | undefined): string {
  return names === undefined || names.length === 0 ? "the destination" : names.join(", ");
}

const ruleLine = ({
  policy,
  direction,
  index,
  file,
  line,
  networkSets = [],
}: DecidingRule): readonly [string, string] => [
  `${policy} ${direction}[${index}]${networkSets.length === 0 ? "" : `, by NetworkSet ${networkSets.join(", ")}`}`,
  placeOf(file, line),
];

const policyLine = ({ policy, file, line }: IsolatingPolicy): readonly [string, string] => [
  policy,
  placeOf(file, line),
];

const placeOf = (file: string | undefined, line: number | undefined): string =>
  file === undefined ? "" : `${file}:${line ?? 1}`;
