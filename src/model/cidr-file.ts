/** Files of CIDRs beside manifests: found by their extension, so that a source needs to understand no manifest. */

/** The extension of files of CIDRs. */
export const CIDR_EXTENSION = ".cidrs";

/** Characters of a path that a NetworkSet may name: none that YAML, a shell or a list of words reads in another way. */
const PATH = /^[A-Za-z0-9._/-]+$/;

/** Returns whether a file of the source holds CIDRs, and is no manifest. */
export function isCidrFile(path: string): boolean {
  return path.endsWith(CIDR_EXTENSION) && PATH.test(path.slice(path.lastIndexOf("/") + 1));
}

/** Returns whether a NetworkSet may name its file so. */
export function isCidrPath(text: string): boolean {
  return text.endsWith(CIDR_EXTENSION) && PATH.test(text);
}

/** Returns the words of a manifest that may name a file of CIDRs. */
export function wordsOfCidrFiles(text: string): readonly string[] {
  if (!text.includes(CIDR_EXTENSION)) return [];
  return [...new Set(text.split(/[^A-Za-z0-9._/-]+/).filter((word) => word.endsWith(CIDR_EXTENSION)))];
}
