case $1 in
  configure)
    if [ -e "$AGAIN" ]; then after_return; elif [ -n "$2" ]; then after_upgrade; else after_install; fi
    ;;
  abort-remove | abort-upgrade) start_stopped ;;
esac
