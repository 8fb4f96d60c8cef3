"""What operators see of calls: JSON logs, Prometheus metrics, OpenTelemetry spans. Off until asked for."""
