#!/bin/sh
set -e

PINS=/sys/fs/bpf/ztap
NODE=/usr/lib/ztap/runtime/node

say() { printf 'ztap: %s\n' "$*"; }
has_systemd() { [ -d /run/systemd/system ]; }

# The agents that run from this package.
agents() { list_agents is_ours; }
# Those that still run what an upgrade has replaced.
former_agents() { list_agents is_former; }

list_agents() {
  for process in /proc/[0-9]*; do
    "$1" "$process" || continue
    case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
      *"/bin/ztap.cjs agent "*) echo "${process#/proc/}" ;;
    esac
  done
}
# The path alone would also be that of an agent in a container.
is_ours() { [ "$1/exe" -ef "$NODE" ]; }
is_former() {
  [ "$(readlink "$1/exe" 2>/dev/null)" = "$NODE (deleted)" ] && [ "$(readlink "$1/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]
}

# Stops the agents, those that systemd does not know as well. Enforcement is pinned in the kernel and stays.
stop_agents() {
  if has_systemd; then systemctl stop ztap.service ztap-boot.service || true; fi
  waited=0
  for agent in $(agents); do kill -TERM "$agent" 2>/dev/null || true; done
  while [ -n "$(agents)" ]; do
    [ $waited -lt 30 ] || { say "an agent does not stop: $(agents | paste -sd ' ' -)" >&2; exit 1; }
    sleep 1
    waited=$((waited + 1))
  done
}

is_enforced() { [ -n "$(ls -A "$PINS" 2>/dev/null)" ]; }

after_install() {
  if has_systemd; then systemctl daemon-reload || true; fi
  say "installed, and nothing is enforced yet. \`ztap doctor\` shows what this host lacks.@SETUP@"
  say "Then: systemctl enable --now ztap-boot ztap. See /usr/share/doc/ztap/docs/install.md."
}

# The new agent takes over what the old one has pinned, so that no packet passes without a verdict meanwhile.
after_upgrade() {
  if has_systemd; then
    systemctl daemon-reload || true
    systemctl try-restart ztap.service || say "the agent did not start again: systemctl status ztap" >&2
  fi
  for agent in $(former_agents); do
    say "the agent with process id $agent still runs the former version: restart it, its enforcement goes on meanwhile"
  done
}
