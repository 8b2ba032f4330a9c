if [ "$1" = 0 ]; then
  delete "$CACHE" "$STOPPED"
  if has_systemd; then systemctl daemon-reload || true; fi
fi
