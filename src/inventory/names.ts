/** Names of instances: `namespace/workload@node`, followed by `/instance` where a node may have several. */
import { digestOfText } from "../model/digest.js";

/** Longest name, encoded as a name of a file: file systems hold no longer one. */
const MAX_NAME = 255;
const DIGITS = 16;

/**
 * Returns the name of an instance. A name that would be too long ends with a digest in place of the rest, so that it is
 * still unique and the same every time.
 */
export function instanceName(workload: string, node: string, instance: string): string {
  const stem = `${workload}@${node}`;
  if (instance === "") return stem;
  const full = `${stem}/${instance}`;
  if (encodedLength(full) <= MAX_NAME) return full;
  const tail = `~${digestOfText(instance).slice(0, DIGITS)}`;
  let room = MAX_NAME - encodedLength(`${stem}/${tail}`);
  let end = 0;
  while (room >= encodedLength(instance.charAt(end))) {
    room -= encodedLength(instance.charAt(end));
    end += 1;
  }
  return `${stem}/${instance.slice(0, end)}${tail}`;
}

/** Returns the name of what the instances of a workload on a node get when they are born. */
export function templateName(workload: string, node: string): string {
  return `${workload}@${node}/*`;
}

/** The longest form that an adapter writes: three characters for each that is neither a letter, a digit nor a hyphen. */
function encodedLength(text: string): number {
  return text.length + 2 * text.replace(/[A-Za-z0-9-]/g, "").length;
}
