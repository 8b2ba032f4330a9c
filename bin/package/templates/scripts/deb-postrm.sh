# Detaches the programs of every node, then drops their maps. A node whose agent runs from elsewhere is left to it.
end_enforcement() {
  for node in "$PINS"/*; do
    [ -d "$node" ] || continue
    if ! flock --nonblock "$node" true; then
      say "an agent from elsewhere enforces the policy of node $(basename "$node"), which stays in force" >&2
      continue
    fi
    find "$node" -path '*/links/*' -type f -delete
    rm -rf "$node"
  done
  if [ -d "$PINS" ]; then rmdir "$PINS" 2>/dev/null || true; fi
}

case $1 in
  remove)
    rm -rf /var/cache/ztap
    if has_systemd; then systemctl daemon-reload || true; fi
    ;;
  purge)
    if is_enforced; then
      end_enforcement
      is_enforced || say "enforcement is removed: nothing is refused any more"
    fi
    rm -f /etc/systemd/system/*.target.wants/ztap.service /etc/systemd/system/*.target.wants/ztap-boot.service
    rm -rf /var/lib/ztap /var/cache/ztap /etc/ztap
    ;;
esac
