/**
 * SSH processes: finds the processes of root's SSH servers that serve a session, and the sockets of its connection. The
 * name of a program or of a process proves nothing: any user can run a program named sshd, and the real one as well.
 */
import { systemClock } from "./clock.js";
import {
  hasChildren,
  identify,
  listProcesses,
  programId,
  programName,
  readOpenSockets,
  Search,
  processTitle,
  type OpenSockets,
} from "./processes.js";

/** From OpenSSH 9.8 on, sshd only listens, and sshd-session serves. */
const SSH_SERVERS: ReadonlySet<string> = new Set(["sshd", "sshd-session", "dropbear"]);

const ROOT = 0;

/** A process that serves a session that somebody has logged in to. */
export interface SessionProcess {
  readonly pid: string;
  /** The process of root that watches over it; null if it is root's itself. */
  readonly monitor: string | null;
}

export interface SshProcesses {
  readonly sessions: readonly SessionProcess[];
  /** The open sockets of all of root's SSH servers, and of the sessions. */
  readonly sockets: OpenSockets;
}

interface Candidate {
  readonly pid: string;
  readonly parent: string;
  readonly isRoots: boolean;
  readonly program: string | null;
}

export async function findSshProcesses(search: Search): Promise<SshProcesses> {
  const candidates = await findCandidates(search);
  const sessions = sessionsAmong(candidates);
  const servers = [...candidates.values()].filter(({ isRoots }) => isRoots);
  // A session of another user has a turn of its own: it may forward many connections.
  const others = sessions.filter(({ monitor }) => monitor !== null);
  const groups = [servers, ...others.map((session) => [session])].map((group) => group.map(({ pid }) => pid));
  return { sessions, sockets: await readOpenSockets(groups, search) };
}

/** Returns the processes that serve a session, and those of root that watch over them; null if the search took too long. */
export async function findSessions(): Promise<ReadonlySet<number> | null> {
  const search = new Search(systemClock);
  const sessions = sessionsAmong(await findCandidates(search));
  return search.isComplete ? new Set(sessions.flatMap(({ pid, monitor }) => [pid, monitor ?? pid]).map(Number)) : null;
}

async function findCandidates(search: Search): Promise<ReadonlyMap<string, Candidate>> {
  const candidates = new Map<string, Candidate>();
  for (const pid of listProcesses()) {
    if (!(await search.goesOn())) break;
    if (!SSH_SERVERS.has(programName(pid))) continue;
    const identity = identify(pid);
    if (identity === null) continue;
    const { parent, users } = identity;
    candidates.set(pid, { pid, parent, isRoots: users[0] === ROOT, program: programId(pid) });
  }
  return candidates;
}

function sessionsAmong(candidates: ReadonlyMap<string, Candidate>): readonly SessionProcess[] {
  return [...candidates.values()].flatMap((candidate) => toSession(candidate, candidates));
}

/**
 * Root's process is trusted for its program. After a login, the process of another user is the child of one of root's
 * that runs the same program. A user cannot make such a child: his own are children of his shell, or of init.
 */
function toSession(candidate: Candidate, candidates: ReadonlyMap<string, Candidate>): readonly SessionProcess[] {
  const { pid, parent, isRoots, program } = candidate;
  const above = candidates.get(parent);
  const monitor = above?.isRoots === true && above.program === program ? parent : null;
  return (isRoots || monitor !== null) && hasLoggedIn(pid) ? [{ pid, monitor: isRoots ? null : monitor }] : [];
}

/** OpenSSH names its process "sshd: root@pts/0" after the login, and "sshd: [accepted]" or "sshd: root [priv]" before it. */
const LOGGED_IN = /^sshd(-session)?: [^[\]]+$/;

/**
 * Returns whether somebody has logged in to the session: a connection alone, which anybody who reaches the port can make,
 * must not keep policy off the machine. Other servers than OpenSSH start a process for the session.
 */
function hasLoggedIn(pid: string): boolean {
  const title = processTitle(pid);
  return title.startsWith("sshd") ? LOGGED_IN.test(title) : programName(pid) === "dropbear" && hasChildren(pid);
}
