/** Paths below the cgroup v2 root: the checks of one document, and the comparison between workloads. */
import type { Path, Problem } from "../problem.js";

const NAME_LIMIT = 255;
const PATH_LIMIT = 4095;

/**
 * Checks a path. It has one form only: no leading or trailing slash, no empty, `.` or `..` parts. The root itself is
 * refused, since enforcement there would affect every process of the host, ztap's agent included.
 * @param options `isPattern`: `*` and `?` stand for other characters
 */
export function checkCgroup(text: string, path: Path, { isPattern = false } = {}): Problem | undefined {
  const parts = text.split("/");
  const plain = parts.filter((part) => part !== "" && part !== ".").join("/");
  const problem = (message: string, fix?: string): Problem => ({
    code: "badCgroup",
    path,
    message,
    found: JSON.stringify(text),
    wanted: "a path below the cgroup v2 root, such as system.slice/nginx.service",
    ...(fix === undefined ? {} : { fix }),
  });
  // A mistaken pattern would be the name of a cgroup that never exists, and nothing would be enforced.
  const pattern = (isPattern ? /[[\]]/ : /[*?[\]]/).exec(text)?.[0];
  if (pattern !== undefined)
    return isPattern
      ? problem(`cgroup ${text} holds ${pattern}, but only * and ? stand for other characters`)
      : problem(
          `cgroup ${text} holds ${pattern}, but a cgroup is one path, not a pattern`,
          "name one cgroup, or write the pattern below process",
        );
  if (parts.includes("..")) return problem(`cgroup ${text} climbs with "..", and must stay below the cgroup root`);
  if (plain === "")
    return problem(`cgroup ${JSON.stringify(text)} is the cgroup root, which holds every process of the host`);
  if (text.startsWith("/sys/fs/cgroup/")) {
    const below = plain.replace(/^sys\/fs\/cgroup\/(unified\/)?/, "");
    return problem(`cgroup ${text} is a path of the file system, not one below the cgroup root`, `write ${below}`);
  }
  if (text.startsWith("/"))
    return problem(`cgroup ${text} begins with a slash, but is relative to the cgroup root`, `write ${plain}`);
  if (plain !== text) return problem(`cgroup ${text} has empty or "." parts`, `write ${plain}`);
  if (parts.some((part) => Buffer.byteLength(part) > NAME_LIMIT) || Buffer.byteLength(text) > PATH_LIMIT)
    return problem("cgroup is longer than a path can be");

  if (/[\u0000-\u001f\u007f]/.test(text)) return problem("cgroup holds control characters");
  return undefined;
}
