# The configuration of consul-lite: Consul's own keys and meaning. Every *.hcl and *.json file in
# /etc/consul-lite.d is read, in the order of their names. After a change:
#
#   consul-lite validate /etc/consul-lite.d    says whether it is right
#   systemctl reload consul-lite               services, checks, watches, log level, DNS settings
#   systemctl restart consul-lite              everything else

data_dir = "/var/lib/consul-lite"

# All agents of one datacenter name it alike.
datacenter = "dc1"

# How the node is called; by default as the machine.
#node_name = "porch-pi"

# The address other agents reach this one at. By default the machine's only private IPv4 address; a machine that
# has several must choose. A template follows the interface; at boot the agent waits until it has an address.
#bind_addr = "{{ GetInterfaceIP \"eth0\" }}"

# Who may use the HTTP API (port 8500) and DNS (port 8600): by default only this machine.
#client_addr = "127.0.0.1 {{ GetInterfaceIP \"eth0\" }}"

# Where the datacenter is: servers, or any agent in it. Tried until one answers.
#retry_join = ["192.168.1.10", "192.168.1.11"]

# A server keeps the catalog and the key/value store. One server needs no other; three outlive the loss of one.
# `bootstrap_expect` is the number of servers the datacenter starts with.
#server = true
#bootstrap_expect = 1

# Encrypts gossip; the same key everywhere, made by `consul-lite keygen`.
#encrypt = ""

# DNS servers that answer what is not in `.consul`.
#recursors = ["192.168.1.1"]

# DNS on its own port, and on addresses of its own. The unit gives the right to ports below 1024.
#ports { dns = 53 }
#addresses { dns = "127.0.0.1" }

# Checks that run a program are off until they are allowed.
#enable_local_script_checks = true

# Memory that stays with idle HTTP connections is bounded by how many one client may have.
#limits { http_max_conns_per_client = 64 }

# A service of this machine. One file per service keeps them apart.
#service {
#  name = "web"
#  port = 80
#  check {
#    http     = "http://127.0.0.1/"
#    interval = "30s"
#  }
#}
