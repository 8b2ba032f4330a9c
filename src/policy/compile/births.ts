/** Births: what cgroups get that a pattern matches when they are born. Pure. */
import type { BirthTemplate, Births, Subject } from "../../model/ruleset.js";
import type { SelectableWorkload } from "./select.js";

/** Returns the births of a node's workloads; undefined if there are none. */
export function compileBirths(
  own: readonly SelectableWorkload[],
  { compileSubject }: { compileSubject: (candidate: SelectableWorkload) => Subject },
): Births | undefined {
  const templates: BirthTemplate[] = [];
  let closesContainers = false;
  for (const candidate of own) {
    const { isTemplate, process } = candidate.workload.spec;
    if (isTemplate !== true || process === undefined || "host" in process) continue;
    if ("container" in process) closesContainers = true;
    else templates.push({ subject: compileSubject(candidate), pattern: process });
  }
  return templates.length === 0 && !closesContainers ? undefined : { templates, closesContainers };
}

/** Returns a function to the subject with the template that its cgroup may have been born under. */
export function templateFinder(births: Births | undefined): (subject: Subject) => Subject {
  const templates = new Map(births?.templates.map(({ subject: { workload } }) => [stemOf(workload), workload]));
  return (subject) => {
    const template = subject.cgroup === null ? undefined : templates.get(stemOf(subject.workload));
    return template === undefined ? subject : { ...subject, template };
  };
}

/** `namespace/workload@node`, of that and of what follows it after a slash. */
function stemOf(workload: string): string {
  const end = workload.indexOf("/", workload.indexOf("@"));
  return workload.includes("@") && end >= 0 ? workload.slice(0, end) : workload;
}
