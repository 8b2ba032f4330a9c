if [ "$1" -gt 1 ]; then after_upgrade; else after_install; fi
