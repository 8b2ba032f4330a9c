is_enabled() { has_systemd && systemctl --quiet is-enabled ztap.service; }
if [ "$1" -gt 1 ]; then after_upgrade; elif is_enforced || is_enabled; then after_return; else after_install; fi
