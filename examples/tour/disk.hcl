# A check of the node, by a script: exit code 0 is passing, 1 warning, everything else critical. Scripts run
# only with -enable-local-script-checks (or enable_local_script_checks = true).
check {
  id       = "disk"
  name     = "room on /"
  args     = ["sh", "-c", "used=$(df --output=pcent / | tr -dc 0-9); echo $used% used; [ $used -lt 90 ] || exit 1"]
  status   = "passing"
  interval = "10s"
  timeout  = "5s"
}
