if [ "$1" = 0 ]; then
  stop_agents
  if is_enforced; then
    say "the agent has stopped, and its last policy is still in force."
    say "To end it: install ztap again and run \`ztap enforcement remove\`. A reboot ends it too."
  fi
fi
