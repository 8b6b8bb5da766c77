//! Counts which services are asked for, under Consul's names.
//!
//! Source: Consul's documentation "Telemetry"; a running Consul 1.8.7.

use crate::sorted;
use crate::structs::ServiceSpecificRequest;
use crate::telemetry;

/// Counts a query for a service's instances; `family` is `catalog` or `health`.
pub(in crate::server) fn count(family: &str, request: &ServiceSpecificRequest, found: usize) {
    let kind = if request.connect {
        "connect"
    } else if request.ingress {
        "ingress"
    } else {
        "service"
    };
    let service = ("service", request.service_name.as_str());
    one(&[family, ".", kind, ".query"], &[service]);
    if !request.service_tag.is_empty() {
        let labels = [service, ("tag", request.service_tag.as_str())];
        one(&[family, ".", kind, ".query-tag"], &labels);
    }
    if let Some(tags) = request.service_tags.as_deref().filter(|t| !t.is_empty()) {
        let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        sorted::sort(&mut tags);
        let mut labels = vec![service];
        labels.extend(tags.into_iter().map(|tag| ("tag", tag)));
        one(&[family, ".", kind, ".query-tags"], &labels);
    }
    if found == 0 {
        one(&[family, ".", kind, ".not-found"], &[service]);
    }
}

fn one(name: &[&str], labels: &[(&str, &str)]) {
    if let Some(counter) = telemetry::counter(name, labels) {
        counter.incr();
    }
}
