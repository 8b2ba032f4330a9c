# Detaches the programs of every node, then drops their maps. A node whose agent runs from elsewhere is left to it.
end_enforcement() (
  # From here on no other folder can take its place.
  cd -P "$PINS"
  for node in *; do
    node=./$node
    if ! is_private "$node"; then
      say "$PINS/${node#./} is no folder of root's alone, and is left as it is" >&2
      continue
    fi
    if ! flock --nonblock "$node" true; then
      say "an agent from elsewhere enforces the policy of node ${node#./}, which stays in force; to end it, stop that agent, and rm -r $PINS/${node#./}" >&2
      continue
    fi
    find "$node" -xdev -path '*/links/*' -type f -delete
    delete "$node"
  done
)

case $1 in
  remove)
    delete "$CACHE" "$STOPPED"
    if has_systemd; then systemctl daemon-reload || true; fi
    ;;
  purge)
    if is_enforced; then
      end_enforcement
      is_enforced || say "enforcement is removed: nothing is refused any more"
    fi
    if has_pins; then
      rmdir "$PINS" 2>/dev/null || true
    elif [ -e "$PINS" ] || [ -h "$PINS" ]; then
      say "$PINS is no folder of root's alone in a BPF file system, and is left as it is" >&2
    fi
    find /etc/systemd/system -mindepth 2 -maxdepth 2 -path '*.target.wants/*' \
      \( -name ztap.service -o -name ztap-boot.service \) -type l -delete 2>/dev/null || true
    delete /var/lib/ztap "$CACHE" /etc/ztap "$AGAIN" "$STOPPED"
    ;;
esac
