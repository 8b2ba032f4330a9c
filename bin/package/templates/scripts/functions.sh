#!/bin/sh
set -e

PINS=/sys/fs/bpf/ztap
NODE=/usr/lib/ztap/runtime/node
CACHE=/var/cache/ztap
# Below /run, where root alone writes: the units that a removal has stopped, and that an installation follows a removal.
STOPPED=/run/ztap-stopped
AGAIN=/run/ztap-again

say() { printf 'ztap: %s\n' "$*"; }
has_systemd() { [ -d /run/systemd/system ]; }

# The agents that run from this package.
agents() { list_agents is_ours; }
# Those that still run what an upgrade has replaced.
former_agents() { list_agents is_former; }
running_agents() {
  agents
  former_agents
}

list_agents() {
  for process in /proc/[0-9]*; do
    "$1" "$process" || continue
    case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
      *"/bin/ztap.cjs agent "*) echo "${process#/proc/}" ;;
    esac
  done
}
# Of root, and in no container. A user's process, which anybody can name like an agent, enforces nothing.
is_roots() {
  [ "$(sed -n 's/^Uid:[[:space:]]*//p' "$1/status" 2>/dev/null | tr '\t' ' ')" = "0 0 0 0" ] &&
    [ "$(readlink "$1/ns/pid" 2>/dev/null)" = "$(readlink /proc/self/ns/pid)" ]
}
# The path alone would also be that of an agent in a container. A unit's agent has a mount namespace of its own, and the same file.
is_ours() { [ "$1/exe" -ef "$NODE" ] && is_roots "$1"; }
is_former() {
  [ "$(readlink "$1/exe" 2>/dev/null)" = "$NODE (deleted)" ] && is_roots "$1" &&
    [ "$(readlink "$1/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]
}

# Stops the agents, those that systemd does not know as well. Enforcement is pinned in the kernel and stays.
stop_agents() {
  rm -f "$STOPPED"
  if has_systemd; then
    for unit in ztap-boot.service ztap.service; do
      if systemctl --quiet is-active "$unit"; then echo "$unit" >>"$STOPPED"; fi
    done
    systemctl stop ztap.service ztap-boot.service || true
  fi
  waited=0
  for agent in $(running_agents); do kill -TERM "$agent" 2>/dev/null || true; done
  while [ -n "$(running_agents)" ]; do
    if [ $waited -ge 30 ]; then
      say "an agent does not stop: $(running_agents | paste -sd ' ' -)" >&2
      start_stopped
      exit 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
}

# What stop_agents has stopped, for a removal that does not come about.
start_stopped() {
  [ -f "$STOPPED" ] || return 0
  units=$(paste -sd ' ' "$STOPPED")
  rm -f "$STOPPED"
  has_systemd || return 0
  # shellcheck disable=SC2086 # a list of names
  systemctl start $units || say "could not start again: $units" >&2
}

# is_private FOLDER: it is a folder of root's, no link, and nobody else can change what is in it.
is_private() {
  [ -d "$1" ] && [ ! -h "$1" ] && [ "$(stat -c %u -- "$1")" = 0 ] && [ $((0$(stat -c %a -- "$1") & 022)) = 0 ]
}
# Every user can make names in a BPF file system that was mounted without mode=0700.
has_pins() { is_private "$PINS" && [ "$(stat -f -c %T "$PINS")" = bpf_fs ]; }

is_enforced() { has_pins && [ -n "$(ls -A "$PINS")" ]; }

# Deletes links, and not what they lead to, and nothing where something else is mounted below.
delete() {
  for path in "$@"; do
    place=$(realpath -m -- "$(dirname -- "$path")")/$(basename -- "$path")
    if cut -d ' ' -f 5 /proc/self/mountinfo | grep -qF -- "$place/"; then
      say "something is mounted below $path, which is left as it is" >&2
      continue
    fi
    rm -rf --one-file-system -- "$path" || say "could not delete all of $path" >&2
  done
}

# Node.js runs compiled code from here: no user can have put it here, and none is left of another version.
make_cache() {
  is_private "$CACHE" || delete "$CACHE"
  install -d -m 755 "$CACHE"
  for folder in "$CACHE"/v[0-9]*; do delete "$folder"; done
}

after_install() {
  make_cache
  if has_systemd; then systemctl daemon-reload || true; fi
  if is_enforced; then
    say "installed. What an earlier agent enforced here is still in force: \`ztap enforcement show\`, and \`ztap enforcement remove\` ends it.@SETUP@"
  else
    say "installed, and nothing is enforced yet. \`ztap doctor\` shows what this host lacks.@SETUP@"
  fi
  say "Then: systemctl enable --now ztap-boot ztap. See /usr/share/doc/ztap/docs/install.md."
}

# After a removal, which kept what was enforced and enabled: an agent that starts at boot starts now.
after_return() {
  make_cache
  rm -f "$AGAIN"
  if has_systemd; then
    systemctl daemon-reload || true
    if systemctl --quiet is-enabled ztap.service; then
      say "installed again: the agent starts, as it is enabled on this host."
      systemctl start ztap.service || say "the agent did not start: systemctl status ztap" >&2
      return 0
    fi
  fi
  say "installed again. No agent is started, since systemd has none enabled here."
  if is_enforced; then say "The policy that was last applied is still in force, and does not change without an agent."; fi
  say "To start it: systemctl enable --now ztap-boot ztap. See /usr/share/doc/ztap/docs/install.md."
}

# The new agent takes over what the old one has pinned, so that no packet passes without a verdict meanwhile.
after_upgrade() {
  make_cache
  if has_systemd; then
    systemctl daemon-reload || true
    systemctl try-restart ztap.service || say "the agent did not start again: systemctl status ztap" >&2
  fi
  for agent in $(former_agents); do
    say "the agent with process id $agent still runs the former version: restart it, its enforcement goes on meanwhile"
  done
}
