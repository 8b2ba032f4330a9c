case $1 in
  remove)
    stop_agents
    if is_enforced; then
      say "the agent has stopped, and its last policy is still in force."
      say "To end it: apt-get purge ztap, or install ztap again and run \`ztap enforcement remove\`."
    fi
    ;;
esac
