# A service whose check opens a TCP connection.
service {
  name = "cache"
  port = 8081

  check {
    name     = "port is open"
    tcp      = "127.0.0.1:8081"
    interval = "2s"
    timeout  = "1s"
  }
}
