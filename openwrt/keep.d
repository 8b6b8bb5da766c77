/etc/consul-lite.d/
/srv/consul-lite/
