# dpkg gives postinst the former version in both cases: an upgrade, and an installation after a removal that kept the configuration.
rm -f "$AGAIN"
if [ "$1" = install ] && [ -n "$2" ]; then touch "$AGAIN"; fi
