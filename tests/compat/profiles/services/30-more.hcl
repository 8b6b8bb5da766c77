# Several services in HCL.
services {
  id   = "db1"
  name = "db"
  port = 5432
  tags = ["primary"]
  checks = [
    { name = "tcp", tcp = "$backend", interval = "1s" },
    { name = "ttl", ttl = "100s", status = "passing" },
  ]
}
services {
  id      = "db2"
  name    = "db"
  port    = 5433
  address = "10.0.0.7"
  weights { passing = 5, warning = 1 }
  enable_tag_override = true
  tagged_addresses {
    wan { address = "9.8.7.6", port = 15433 }
  }
}
service {
  name = "script"
  check {
    args     = ["sh", "-c", "echo fine; exit 0"]
    interval = "1s"
    timeout  = "5s"
    notes    = "a script"
  }
}
check {
  id       = "node-check"
  name     = "Node check"
  args     = ["sh", "-c", "exit 1"]
  interval = "1s"
}
