if [ "$1" = 0 ]; then
  rm -rf /var/cache/ztap
  if has_systemd; then systemctl daemon-reload || true; fi
fi
